//! The shard of a subject: which of 64 parts of a tenant-independent key space it lies in.
//! Tables carry it as their second key column, feeds filter by it, leases cover sets of it.

use uuid::Uuid;

/// How many shards there are, for ever: the number is part of stored keys.
pub const SHARDS: i16 = 64;

/// 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(i16);

impl Shard {
    /// The shard of a UUID: FNV-1a over its bytes, folded to six bits. Frozen.
    ///
    /// UUID v7 begins with the time, so bits cannot be taken as they are.
    #[must_use]
    pub fn of(uuid: Uuid) -> Self {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in uuid.as_bytes() {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        let folded = hash ^ (hash >> 32);
        let six_bits = ((folded >> 16) ^ folded) & 63;
        Self(six_bits as i16)
    }

    /// The shard of a stored number; nothing when it is not 0 to 63.
    #[must_use]
    pub const fn from_number(number: i16) -> Option<Self> {
        if number >= 0 && number < SHARDS { Some(Self(number)) } else { None }
    }

    /// The number, as it is stored.
    #[must_use]
    pub const fn number(self) -> i16 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_frozen_and_evenly_filled() {
        assert_eq!(Shard::of(Uuid::nil()).number(), 3);
        assert_eq!(Shard::of(Uuid::from_u128(1)).number(), 20);
        let mut filled = [0_u32; SHARDS as usize];
        for n in 0..64_000_u128 {
            let time_ordered = Uuid::from_u128((n << 80) | 0x7000_8000_0000_0000_0000);
            filled[Shard::of(time_ordered).number() as usize] += 1;
        }
        assert!(filled.iter().all(|count| (800..1_200).contains(count)), "{filled:?}");
    }
}
