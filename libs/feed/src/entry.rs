//! One change, and its form on the wire.

use bytes::Bytes;
use contracts::feed::v1::FeedEntry;
use kernel::{Shard, TenantId};
use uuid::Uuid;

use crate::Error;

/// The longest `data` that [`append`](crate::append) takes. Rows are slim: ids, versions and
/// declared features. Above the longest state of a profile (`aggregate::limit::MAX_BYTES`).
pub const MAX_DATA: usize = 128 * 1024;

/// One change: the absolute state of a subject, not an increment. A handler ignores a version
/// that is not higher than the one it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 1; 0 before it is appended and in a snapshot.
    pub seq: i64,
    /// The shard of the subject, by which lanes are cut.
    pub shard: Shard,
    /// Whose change.
    pub tenant: TenantId,
    /// What changed: a customer, an evidence, a demand …
    pub subject: Uuid,
    /// A value of the owner's `EventKind`.
    pub kind: i16,
    /// The subject's version after the change.
    pub version: i64,
    /// When, in microseconds since 1970 by the database clock; set by the append.
    pub at_us: i64,
    /// The W3C trace context of the call that made the change.
    pub traceparent: Option<String>,
    /// The owner's message for this kind. Never personal data.
    pub data: Bytes,
}

impl Entry {
    /// A change to be appended, in the subject's own shard.
    #[must_use]
    pub fn new(tenant: TenantId, subject: Uuid, kind: i16, version: i64, data: Bytes) -> Self {
        Self {
            seq: 0,
            shard: Shard::of(subject),
            tenant,
            subject,
            kind,
            version,
            at_us: 0,
            traceparent: None,
            data,
        }
    }

    /// The same in another shard, e.g. that of the customer whose evidence the subject is.
    #[must_use]
    pub fn in_shard(self, shard: Shard) -> Self {
        Self { shard, ..self }
    }

    /// The same with the trace context of the call that makes the change.
    #[must_use]
    pub fn traced(self, traceparent: Option<String>) -> Self {
        Self { traceparent, ..self }
    }

    /// About how many bytes it has on the wire.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.data.len() + 128
    }

    /// The message of the contract.
    #[must_use]
    pub fn to_message(&self) -> FeedEntry {
        let seconds = self.at_us.div_euclid(1_000_000);
        let nanos = self.at_us.rem_euclid(1_000_000) as i32 * 1_000;
        FeedEntry {
            seq: self.seq,
            shard: i32::from(self.shard.number()),
            tenant_id: Bytes::copy_from_slice(self.tenant.as_bytes()),
            subject: Bytes::copy_from_slice(self.subject.as_bytes()),
            kind: i32::from(self.kind),
            version: self.version,
            time: Some(prost_types::Timestamp { seconds, nanos }),
            traceparent: self.traceparent.clone().unwrap_or_default(),
            data: self.data.clone(),
        }
    }

    /// Reads the message of the contract.
    ///
    /// # Errors
    /// [`Error::Malformed`] with the field that is not what it should be.
    pub fn from_message(message: FeedEntry) -> Result<Self, Error> {
        let shard = i16::try_from(message.shard).ok().and_then(Shard::from_number);
        let time = message.time.ok_or(Error::Malformed("time"))?;
        let at_us = time.seconds.checked_mul(1_000_000).ok_or(Error::Malformed("time"))?;
        Ok(Self {
            seq: message.seq,
            shard: shard.ok_or(Error::Malformed("shard"))?,
            tenant: TenantId::from_slice(&message.tenant_id)
                .map_err(|_| Error::Malformed("tenant_id"))?,
            subject: Uuid::from_slice(&message.subject).map_err(|_| Error::Malformed("subject"))?,
            kind: i16::try_from(message.kind).map_err(|_| Error::Malformed("kind"))?,
            version: message.version,
            at_us: at_us.saturating_add(i64::from(time.nanos) / 1_000),
            traceparent: (!message.traceparent.is_empty()).then_some(message.traceparent),
            data: message.data,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_survives_the_wire(
            seq in 0..i64::MAX, tenant: u128, subject: u128, kind: i16, version: i64,
            at_us in -62_135_596_800_000_000_i64..253_402_300_800_000_000,
            trace in proptest::option::of("[0-9a-f]{1,20}"), data: Vec<u8>,
        ) {
            let mut entry = Entry::new(
                TenantId::new(Uuid::from_u128(tenant)), Uuid::from_u128(subject), kind, version,
                data.into(),
            ).traced(trace);
            entry.seq = seq;
            entry.at_us = at_us;
            prop_assert_eq!(Entry::from_message(entry.to_message()).ok(), Some(entry));
        }
    }

    #[test]
    fn a_message_with_a_wrong_id_is_refused() {
        let tenant = TenantId::new(Uuid::nil());
        let good = Entry::new(tenant, Uuid::nil(), 1, 1, Bytes::new()).to_message();
        let bad = FeedEntry { subject: Bytes::from_static(b"short"), ..good.clone() };
        assert!(matches!(Entry::from_message(bad), Err(Error::Malformed("subject"))));
        let bad = FeedEntry { shard: 64, ..good };
        assert!(matches!(Entry::from_message(bad), Err(Error::Malformed("shard"))));
    }
}
