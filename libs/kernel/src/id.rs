//! Typed ids: UUIDs and names that cannot be mixed up.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Text that is not the id it should be. Does not repeat the text: it may be personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID such as 0195b6a0-7c1e-7000-8000-000000000001")]
pub struct NotAnId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that is known to be one of these.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes of the UUID.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads 16 bytes, as they stand in feed messages.
            ///
            /// # Errors
            /// [`NotAnId`] when there are not exactly 16.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, NotAnId> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| NotAnId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;
            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }
    };
}

uuid_id!(
    /// The isolation boundary. Comes from the verified token only.
    TenantId
);
uuid_id!(
    /// A resolved person: stable for life, the older survives a merge (UUID v7, so ids order by age).
    CustomerId
);
uuid_id!(
    /// The keyed hash of a normalised set of identifiers (UUID v8): deterministic, immutable.
    EvidenceId
);
uuid_id!(
    /// A merge or split that somebody decided.
    DecisionId
);
uuid_id!(
    /// A customer's need that someone must handle.
    DemandId
);
uuid_id!(
    /// A reservation of a demand for an agent.
    OfferId
);
uuid_id!(
    /// One use of a score, with the features it was made from.
    UseId
);
uuid_id!(
    /// What came of a demand.
    OutcomeId
);
uuid_id!(
    /// Chosen by the caller so that a repeated mutation has one effect.
    RequestId
);

/// Text that is not a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 63 of a-z, 0-9, '-' and '_', and begin with a letter")]
pub struct NotAName;

/// True for names of resources: 1 to 63 of a-z, 0-9, '-', '_', beginning with a letter.
#[must_use]
pub fn is_resource_name(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    text.len() <= 63
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
        && text.bytes().all(allowed)
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAName;
            fn from_str(text: &str) -> Result<Self, NotAName> {
                if is_resource_name(text) { Ok(Self(text.to_owned())) } else { Err(NotAName) }
            }
        }
    };
}

name_id!(
    /// A human who handles demands.
    AgentName
);
name_id!(
    /// A group of agents.
    TeamName
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_prints() {
        let id = CustomerId::new(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(CustomerId::from_slice(id.as_bytes()), Ok(id));
        assert!("customer-7".parse::<CustomerId>().is_err());
        assert!(CustomerId::from_slice(&[0; 15]).is_err());
    }

    #[test]
    fn resource_names_are_short_lower_case_words() {
        for good in ["a", "win-back", "team_1"] {
            assert!(is_resource_name(good), "{good}");
        }
        for bad in ["", "1a", "-a", "A", "a b", "ä", &"a".repeat(64)] {
            assert!(!is_resource_name(bad), "{bad}");
        }
    }
}
