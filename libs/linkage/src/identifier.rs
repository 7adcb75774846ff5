//! One normalised identifier, and why a raw one is none.

use std::fmt;

use aws_lc_rs::hmac;

use crate::Namespace;
use crate::graph::ValueKey;

/// Keeps value keys apart from evidence ids that were made with the same key.
const VALUE_KEY_LABEL: &[u8] = b"rapport value key 1\0";

/// Why an identifier was not used. The same as in the proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IgnoreReason {
    /// `unknown`, `null`, `test@test.com`, all zeros and their like.
    Placeholder,
    /// Digits or letters were replaced, e.g. 138****8000.
    Masked,
    /// Not a value of its namespace.
    Malformed,
    /// The rules block it.
    Blocked,
    /// It stands in the set already.
    Duplicate,
}

/// A normalised identifier: equal ones are the same thing. Made by [`crate::Rules::read`] only, or
/// read back from what [`crate::EvidenceSet::encode`] wrote. Ordered by name, then value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier {
    namespace: Namespace,
    value: Box<str>,
}

impl Identifier {
    pub(crate) fn of_normalised(namespace: Namespace, value: impl Into<Box<str>>) -> Self {
        Self { namespace, value: value.into() }
    }

    /// What kind of value it is.
    #[must_use]
    pub const fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The normalised value: personal data.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Appends the canonical form: both parts, each after its length in bytes (u32,
    /// big-endian). Frozen.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        for part in [self.namespace.as_str(), &*self.value] {
            out.extend_from_slice(&(part.len() as u32).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// The blind index of the value: the first 16 bytes of HMAC-SHA256 over label and
    /// canonical form, so values of different namespaces never share a key. Frozen.
    #[must_use]
    pub fn value_key(&self, key: &[u8; 32]) -> ValueKey {
        let mut input = VALUE_KEY_LABEL.to_vec();
        self.encode_into(&mut input);
        ValueKey::new(keyed_hash(key, &input))
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:…", self.namespace)
    }
}

/// The first 16 bytes of HMAC-SHA256.
pub(crate) fn keyed_hash(key: &[u8; 32], input: &[u8]) -> [u8; 16] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), input);
    let mut first = [0; 16];
    for (to, from) in first.iter_mut().zip(tag.as_ref()) {
        *to = *from;
    }
    first
}
