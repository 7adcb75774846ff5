//! A set of shards: what a subscriber wants to see, what a lane covers.

use kernel::Shard;
use kernel::shard::SHARDS;

use crate::Error;

/// A set of the 64 shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(u64);

impl Shards {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// The part of lane `lane` when there are `lanes`: the lanes partition the shards.
    #[must_use]
    pub fn of_lane(lane: i16, lanes: i16) -> Self {
        let own = (0..SHARDS).filter(|shard| shard % lanes.max(1) == lane);
        Self(own.fold(0, |set, shard| set | 1 << shard))
    }

    /// Reads the numbers of a request; none means all.
    ///
    /// # Errors
    /// [`Error::Malformed`] for a number that is no shard.
    pub fn from_message(numbers: &[i32]) -> Result<Self, Error> {
        if numbers.is_empty() {
            return Ok(Self::ALL);
        }
        let mut set = 0;
        for number in numbers {
            let shard = i16::try_from(*number).ok().and_then(Shard::from_number);
            set |= 1 << shard.ok_or(Error::Malformed("shards"))?.number();
        }
        Ok(Self(set))
    }

    /// The numbers for a request.
    #[must_use]
    pub fn to_message(self) -> Vec<i32> {
        if self == Self::ALL { Vec::new() } else { self.numbers().map(i32::from).collect() }
    }

    /// The numbers, ascending, for `shard = any($1)`.
    pub fn numbers(self) -> impl Iterator<Item = i16> {
        (0..SHARDS).filter(move |shard| self.0 & 1 << shard != 0)
    }

    /// True if the shard is in the set.
    #[must_use]
    pub fn contains(self, shard: Shard) -> bool {
        self.0 & 1 << shard.number() != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_partition_the_shards() {
        for lanes in 1..=SHARDS {
            let parts: Vec<Shards> = (0..lanes).map(|lane| Shards::of_lane(lane, lanes)).collect();
            assert_eq!(parts.iter().fold(0, |all, part| all | part.0), u64::MAX, "{lanes}");
            assert_eq!(parts.iter().map(|part| part.0.count_ones()).sum::<u32>(), 64, "{lanes}");
        }
    }

    #[test]
    fn a_set_survives_the_wire_and_garbage_is_refused() {
        let half = Shards::of_lane(1, 2);
        assert_eq!(Shards::from_message(&half.to_message()).ok(), Some(half));
        assert_eq!(Shards::from_message(&[]).ok(), Some(Shards::ALL));
        assert!(Shards::from_message(&[64]).is_err());
        assert!(Shards::from_message(&[-1]).is_err());
    }
}
