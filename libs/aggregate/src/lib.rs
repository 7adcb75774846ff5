//! The folded state of a profile: a commutative monoid over *distinct* events.
//!
//! `of_event` turns one event into a state, `merge` adds two states, `fold` does both in
//! place. Whatever the order, the batching or the tree of merges, the same set of events
//! encodes to the same bytes (DESIGN 6.4). So a fragment is the fold of its events, a
//! customer is the merge of its fragments, and a split is the merge of what stays.
//!
//! Invariants
//! - **Only associative parts.** Counts and sums are unsigned and saturate (saturating
//!   addition of unsigned numbers is associative; of signed numbers it is not), times are
//!   minima and maxima, attributes are the maximum of a total order, and everything that is
//!   capped keeps the entries of smallest frozen hash: what is in the final selection was in
//!   the selection of every part, so its value is exact.
//! - **Time is a value.** Windows, decay, bands and stages are functions of (state, now);
//!   nothing that ages is stored.
//! - **Personal data apart.** [`Behaviour`] is stored in clear and travels in the feed;
//!   attributes that are personal data live in [`Personal`], which the service encrypts.
//! - **Bounded.** See [`limit`]; decoding checks every bound and never panics.
//!
//! Deliberately absent: deduplication (the service admits each event once, by message id),
//! subtraction (remove an event by folding the others), currency conversion, and the list
//! of declared attributes (the service decides what is declared and filters what it shows).

mod behaviour;
mod codec;
mod facts;
mod feature;
mod hash;
mod ledger;
pub mod limit;
mod personal;
mod selection;
mod standing;
mod tile;
mod trait_value;
mod traits;
mod wire;

pub use behaviour::{Behaviour, Counter};
pub use codec::Error;
pub use facts::{Amount, Currency, EventFacts, EventKind, InvalidAmount, LedgerFact, TraitFact};
pub use feature::{EventMeasure, Feature, FeatureView, NotAFeature, Value, ValueType};
pub use ledger::{Ledger, Revenue};
pub use personal::Personal;
pub use standing::{LifeCycleStage, Rfm};
pub use trait_value::{InvalidTraitValue, TraitValue};
pub use traits::{Trait, Traits};
