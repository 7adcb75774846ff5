//! Counts per day, coarsened with age.
//!
//! The latest day of a state and the 31 before it have a tile each; older days are summed in
//! blocks of 16 days (aligned to 1970), of which the last 24 are kept. Which tile an event
//! lies in depends on the latest day only. The latest day of a part is never later than that
//! of the whole, so a part never coarsens or drops what the whole would keep: coarsening
//! commutes with merging.

use crate::limit::{BLOCK_DAYS, BLOCKS, DAYS};

/// Microseconds of a day of UTC.
pub(crate) const DAY_US: i64 = 86_400_000_000;

/// The day of UTC, counted from 1970-01-01.
pub(crate) fn day_of(us: i64) -> i32 {
    us.div_euclid(DAY_US) as i32 // at most 1.1e8 for any i64 of microseconds
}

/// When a day begins; the ends of the range of `i64` for days beyond it.
pub(crate) fn start_of(day: i32) -> i64 {
    i64::from(day).saturating_mul(DAY_US)
}

/// First and last time of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
}

impl Span {
    pub(crate) const fn at(us: i64) -> Self {
        Self { first_us: us, last_us: us }
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.first_us = self.first_us.min(other.first_us);
        self.last_us = self.last_us.max(other.last_us);
    }

    /// `None` is the neutral element.
    pub(crate) fn include(span: &mut Option<Self>, other: Self) {
        match span {
            Some(span) => span.extend(other),
            None => *span = Some(other),
        }
    }
}

/// The count of one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) day: i32,
    pub(crate) count: u64,
}

/// Tiles of single days, ascending, each with a count of at least one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Days(Vec<Tile>);

impl Days {
    pub(crate) fn one(day: i32) -> Self {
        Self(vec![Tile { day, count: 1 }])
    }

    pub(crate) fn add(&mut self, tile: Tile) {
        // From the end: most events are of the latest day.
        let at = self.0.iter().rposition(|kept| kept.day <= tile.day);
        match at {
            Some(at) if self.0[at].day == tile.day => {
                self.0[at].count = self.0[at].count.saturating_add(tile.count);
            }
            Some(at) => self.0.insert(at + 1, tile),
            None => self.0.insert(0, tile),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for tile in &other.0 {
            self.add(*tile);
        }
    }

    /// Takes out the days that are too old beside the latest one.
    pub(crate) fn expire(&mut self, latest: i32, mut into: impl FnMut(Tile)) {
        let expired = self.0.partition_point(|tile| tile.day <= latest - DAYS);
        for tile in self.0.drain(..expired) {
            into(tile);
        }
    }

    /// Events of the `days` days that end with `today`.
    pub(crate) fn sum(&self, today: i32, days: i32) -> u64 {
        let in_window = |tile: &&Tile| tile.day > today.saturating_sub(days) && tile.day <= today;
        self.0.iter().filter(in_window).fold(0, |sum, tile| sum.saturating_add(tile.count))
    }

    /// The first day after `today` on which [`sum`](Self::sum) may differ: a tile of a day to
    /// come enters, or one leaves.
    pub(crate) fn next_change(&self, today: i32, days: i32) -> Option<i32> {
        let changes = self.0.iter().flat_map(|tile| [tile.day, tile.day + days]);
        changes.filter(|day| *day > today).min()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Tile> {
        self.0.iter()
    }

    /// One bit per day, the latest lowest, and the counts in the order of the bits.
    pub(crate) fn to_bits(&self, latest: i32) -> (u32, Vec<u64>) {
        let bits = self.0.iter().fold(0, |bits, tile| bits | 1 << (latest - tile.day));
        (bits, self.0.iter().rev().map(|tile| tile.count).collect())
    }

    pub(crate) fn from_bits(bits: u32, counts: &[u64], latest: i32) -> Option<Self> {
        let ages = (0..DAYS).filter(|age| bits & 1 << age != 0);
        let tiles = ages.zip(counts).map(|(age, count)| Tile { day: latest - age, count: *count });
        let mut tiles: Vec<Tile> = tiles.collect();
        tiles.reverse();
        let whole = counts.len() == bits.count_ones() as usize && !counts.contains(&0);
        whole.then_some(Self(tiles))
    }
}

/// The count of 16 days, and how far into the block its events lie in all: the mean day is
/// exact whatever was summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) index: i32,
    pub(crate) count: u64,
    /// Sum over the events of (day − first day of the block).
    pub(crate) offsets: u64,
}

impl Block {
    fn of(tile: Tile) -> Self {
        let index = tile.day.div_euclid(BLOCK_DAYS);
        let offset = tile.day.rem_euclid(BLOCK_DAYS).unsigned_abs();
        let offsets = tile.count.saturating_mul(u64::from(offset));
        Self { index, count: tile.count, offsets }
    }

    /// The mean day of its events.
    pub(crate) fn mean_day(&self) -> f64 {
        f64::from(self.index * BLOCK_DAYS) + self.offsets as f64 / self.count as f64
    }
}

/// The block of the latest day that has no tile of its own.
fn youngest_block(latest: i32) -> i32 {
    (latest - DAYS).div_euclid(BLOCK_DAYS)
}

/// Blocks, ascending.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Blocks(Vec<Block>);

impl Blocks {
    pub(crate) fn add_day(&mut self, tile: Tile) {
        self.add(Block::of(tile));
    }

    fn add(&mut self, block: Block) {
        match self.0.binary_search_by_key(&block.index, |kept| kept.index) {
            Ok(at) => {
                self.0[at].count = self.0[at].count.saturating_add(block.count);
                self.0[at].offsets = self.0[at].offsets.saturating_add(block.offsets);
            }
            Err(at) => self.0.insert(at, block),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for block in &other.0 {
            self.add(*block);
        }
    }

    /// Drops the blocks that are too old beside the latest day.
    pub(crate) fn expire(&mut self, latest: i32) {
        let expired_index = youngest_block(latest) - BLOCKS;
        let expired = self.0.partition_point(|block| block.index <= expired_index);
        self.0.drain(..expired);
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Block> {
        self.0.iter()
    }

    /// One bit per block, the youngest lowest; counts and offsets in the order of the bits.
    pub(crate) fn to_bits(&self, latest: i32) -> (u32, Vec<u64>, Vec<u64>) {
        let youngest = youngest_block(latest);
        let bits = self.0.iter().fold(0, |bits, block| bits | 1 << (youngest - block.index));
        let counts = self.0.iter().rev().map(|block| block.count).collect();
        (bits, counts, self.0.iter().rev().map(|block| block.offsets).collect())
    }

    pub(crate) fn from_bits(
        bits: u32,
        counts: &[u64],
        offsets: &[u64],
        latest: i32,
    ) -> Option<Self> {
        let youngest = youngest_block(latest);
        let ages = (0..BLOCKS).filter(|age| bits & 1 << age != 0);
        let sums = counts.iter().zip(offsets);
        let blocks = ages.zip(sums).map(|(age, (count, offsets))| Block {
            index: youngest - age,
            count: *count,
            offsets: *offsets,
        });
        let mut blocks: Vec<Block> = blocks.collect();
        blocks.reverse();
        let furthest = BLOCK_DAYS.unsigned_abs() - 1;
        let possible = |block: &Block| {
            block.count > 0 && block.offsets <= block.count.saturating_mul(u64::from(furthest))
        };
        let expected = bits.count_ones() as usize;
        let whole = bits >> BLOCKS == 0 && counts.len() == expected && offsets.len() == expected;
        (whole && blocks.iter().all(possible)).then_some(Self(blocks))
    }
}
