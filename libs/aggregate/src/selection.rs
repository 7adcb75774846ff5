//! A bounded set by name that is the same in whatever order it was filled.
//!
//! Keeps the `CAP` entries of smallest (hash, name). An entry of the final selection is among
//! the smallest of every subset that contains it, so it was never dropped on the way and its
//! value is the exact sum; an entry once dropped can never come back. This is the bottom-k
//! sample of Cohen and Kaplan (2007) used as a cap.

use std::cmp::Ordering;

/// Something that is kept by name.
pub(crate) trait Entry: Clone {
    /// Hash of the name, and the name.
    fn rank(&self) -> (u64, &str);
    /// Adds another entry of the same name; says whether that changed anything.
    fn absorb(&mut self, other: &Self) -> bool;
}

/// Strictly ascending by rank, at most `CAP`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection<T, const CAP: usize>(Vec<T>);

impl<T, const CAP: usize> Default for Selection<T, CAP> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Entry, const CAP: usize> Selection<T, CAP> {
    /// Takes stored entries; `None` unless they are at most `CAP` and strictly ascending.
    pub(crate) fn from_stored(entries: Vec<T>) -> Option<Self> {
        let ascending = entries.is_sorted_by(|a, b| a.rank() < b.rank());
        (ascending && entries.len() <= CAP).then_some(Self(entries))
    }

    fn position(&self, hash: u64, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| match entry.rank().0.cmp(&hash) {
            Ordering::Equal => entry.rank().1.cmp(name),
            unequal => unequal,
        })
    }

    /// The entry of that name, if it is kept.
    pub(crate) fn get(&self, hash: u64, name: &str) -> Option<&T> {
        self.position(hash, name).ok().map(|at| &self.0[at])
    }

    /// Whether a name that is not kept was certainly never seen: had it been, it would be
    /// among the smallest.
    pub(crate) fn excludes(&self, hash: u64, name: &str) -> bool {
        match self.position(hash, name) {
            Ok(_) => false,
            Err(at) => at < CAP,
        }
    }

    /// Changes the entry of that name, or makes room for a new one if it is small enough.
    /// Says whether anything changed.
    pub(crate) fn update(
        &mut self,
        hash: u64,
        name: &str,
        change: impl FnOnce(&mut T) -> bool,
        make: impl FnOnce() -> T,
    ) -> bool {
        match self.position(hash, name) {
            Ok(at) => change(&mut self.0[at]),
            Err(at) if at < CAP => {
                self.0.truncate(CAP - 1);
                self.0.insert(at, make());
                true
            }
            Err(_) => false,
        }
    }

    /// Adds another selection. O(m·(log n + n)) for m added to n, both at most `CAP`.
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for entry in &other.0 {
            let (hash, name) = entry.rank();
            changed |= self.update(hash, name, |kept| kept.absorb(entry), || entry.clone());
        }
        changed
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        // The rank of an entry must not be changed through this.
        self.0.iter_mut()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
