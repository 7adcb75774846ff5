//! Finding out shared values: how many different values of each unique namespace a value
//! was seen with.
//!
//! Only the first k + 1 companions of a value in a namespace are kept, since one more than
//! k decides. So the verdict does not depend on order while evidence is only added. When
//! evidence is erased, what it had contributed is not known any more: recount the values
//! it carried from the evidence that is left, with a fresh [`Ledger`].

use super::{ByValue, Value, ValueKey};
use crate::{Namespace, Rules};

/// One row of the bookkeeping: `value` was seen together with `companion`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// The value.
    pub value: ValueKey,
    /// The unique namespace of the companion.
    pub namespace: Namespace,
    /// A value of that namespace.
    pub companion: ValueKey,
}

#[derive(Debug, Default)]
struct Entry {
    was_shared: bool,
    is_shared: bool,
    seen: Vec<(Namespace, ValueKey)>,
}

/// What is known of the values that a transaction touches, and what it adds.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: ByValue<Entry>,
    added: Vec<Companion>,
    turned: Vec<ValueKey>,
}

impl Ledger {
    /// Starts from the stored rows and shared values of everything that may be asked for.
    #[must_use]
    pub fn new(
        known: impl IntoIterator<Item = Companion>,
        shared: impl IntoIterator<Item = ValueKey>,
    ) -> Self {
        let mut ledger = Self::default();
        for row in known {
            ledger.entries.entry(row.value).or_default().seen.push((row.namespace, row.companion));
        }
        ledger.mark_shared(shared);
        ledger
    }

    /// Adds values that are stored as shared, found while loading the neighbourhood.
    pub fn mark_shared(&mut self, shared: impl IntoIterator<Item = ValueKey>) {
        for key in shared {
            let entry = self.entries.entry(key).or_default();
            (entry.was_shared, entry.is_shared) = (true, true);
        }
    }

    /// Notes the values of one new piece of evidence. Idempotent. O(values²), at most 16².
    pub fn observe(&mut self, values: &[Value], rules: &Rules) {
        for value in values {
            let limit = usize::from(rules.of(&value.namespace).max_companions);
            let entry = self.entries.entry(value.key).or_default();
            for other in values {
                let tells_persons_apart =
                    other.namespace != value.namespace && rules.of(&other.namespace).unique;
                let companion = (other.namespace.clone(), other.key);
                if entry.is_shared || !tells_persons_apart || entry.seen.contains(&companion) {
                    continue;
                }
                let seen_before =
                    entry.seen.iter().filter(|(space, _)| *space == other.namespace).count();
                entry.seen.push(companion);
                self.added.push(Companion {
                    value: value.key,
                    namespace: other.namespace.clone(),
                    companion: other.key,
                });
                if seen_before >= limit {
                    entry.is_shared = true;
                    self.turned.push(value.key);
                }
            }
        }
    }

    /// True if the value links nothing, with everything that was observed.
    #[must_use]
    pub fn is_shared(&self, key: &ValueKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.is_shared)
    }

    /// True if the value linked nothing before anything was observed.
    #[must_use]
    pub fn was_shared(&self, key: &ValueKey) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.was_shared)
    }

    /// Rows to store.
    #[must_use]
    pub fn added(&self) -> &[Companion] {
        &self.added
    }

    /// Values to store as shared from now on.
    #[must_use]
    pub fn turned(&self) -> &[ValueKey] {
        &self.turned
    }
}
