//! Evidence: the identifiers that were seen together, as a set with a deterministic id.

use kernel::{EvidenceId, Violations};
use uuid::Uuid;

use crate::identifier::keyed_hash;
use crate::normalise::VERSION;
use crate::{Identifier, IgnoreReason, Namespace, Rules};

/// How many identifiers one set may have.
pub const MAX_IDENTIFIERS: usize = 16;

/// Bytes that [`EvidenceSet::encode`] did not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the canonical form of a set of identifiers")]
pub struct NotCanonical;

/// Identifiers of the request that were not used: place in the request and reason.
pub type Ignored = Vec<(usize, IgnoreReason)>;

/// 1 to 16 different normalised identifiers in canonical order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EvidenceSet(Vec<Identifier>);

impl EvidenceSet {
    /// Reads pairs of namespace and raw value; what identifies nobody is left out and told.
    ///
    /// # Errors
    /// Unknown forms of namespaces, too many identifiers, or none that is left.
    pub fn from_raw<N: AsRef<str>, V: AsRef<str>>(
        raw: &[(N, V)],
        rules: &Rules,
    ) -> Result<(Self, Ignored), Violations> {
        if raw.len() > MAX_IDENTIFIERS {
            let description = format!("must be at most {MAX_IDENTIFIERS}");
            return Err(Violations::of("identifiers", description));
        }
        let mut violations = Violations::new();
        let mut ignored = Vec::new();
        let mut identifiers = Vec::with_capacity(raw.len());
        for (index, (namespace, value)) in raw.iter().enumerate() {
            let namespace = match namespace.as_ref().parse::<Namespace>() {
                Ok(namespace) => namespace,
                Err(error) => {
                    violations.add(format!("identifiers[{index}].namespace"), error.to_string());
                    continue;
                }
            };
            match rules.read(&namespace, value.as_ref()) {
                Ok(known) if identifiers.contains(&known) => {
                    ignored.push((index, IgnoreReason::Duplicate));
                }
                Ok(identifier) => identifiers.push(identifier),
                Err(reason) => ignored.push((index, reason)),
            }
        }
        if identifiers.is_empty() && violations.is_empty() {
            violations.add("identifiers", "must hold at least one that identifies somebody");
        }
        identifiers.sort_unstable();
        violations.into_result((Self(identifiers), ignored))
    }

    /// In canonical order: by name of the namespace, then value.
    #[must_use]
    pub fn identifiers(&self) -> &[Identifier] {
        &self.0
    }

    /// The id: a UUID v8 made of HMAC-SHA256 over [`Self::encode`]. Frozen.
    #[must_use]
    pub fn evidence_id(&self, key: &[u8; 32]) -> EvidenceId {
        EvidenceId::new(Uuid::new_v8(keyed_hash(key, &self.encode())))
    }

    /// The canonical form: the version of the normalisation, then each identifier as name
    /// and value, each after its length (u32, big-endian). Personal data; for storage
    /// under encryption.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for identifier in &self.0 {
            identifier.encode_into(&mut bytes);
        }
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`NotCanonical`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotCanonical> {
        let Some((&VERSION, mut rest)) = bytes.split_first() else { return Err(NotCanonical) };
        let mut identifiers = Vec::new();
        while !rest.is_empty() {
            let namespace = take_text(&mut rest)?.parse().map_err(|_| NotCanonical)?;
            let value = take_text(&mut rest)?;
            identifiers.push(Identifier::of_normalised(namespace, value));
        }
        let is_sorted = identifiers.is_sorted_by(|left, right| left < right);
        let fits = (1..=MAX_IDENTIFIERS).contains(&identifiers.len());
        if is_sorted && fits { Ok(Self(identifiers)) } else { Err(NotCanonical) }
    }
}

/// Takes one length and the text after it.
fn take_text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, NotCanonical> {
    let (length, after) = rest.split_first_chunk::<4>().ok_or(NotCanonical)?;
    let length = u32::from_be_bytes(*length) as usize;
    let (text, after) = after.split_at_checked(length).ok_or(NotCanonical)?;
    *rest = after;
    std::str::from_utf8(text).map_err(|_| NotCanonical)
}
