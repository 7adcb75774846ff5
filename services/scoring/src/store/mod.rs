//! The tables, one file per aggregate, each statement beside its method.

mod codec;
mod erase;
mod label;
mod locked;
mod model;
mod ruleset;
mod subject;
mod usage;

pub(crate) use erase::erase;
pub(crate) use label::after as labels_after;
pub(crate) use label::{Known, Label, LearnableLabel, append as append_labels, latest_of, waiting};
pub(crate) use locked::{Locked, due_tenants, lock_after, lock_due, put_off};
pub(crate) use model::{Behind, Learned, Lease, Progress};
pub(crate) use model::{acquire, behind, checkpoint, declare, forget, load, release, versions};
pub(crate) use ruleset::{
    DeclaredTrait, apply_traits, begin_sweep, bump, hold, next_sweep, sweep_on, sweep_position,
    traits,
};
pub(crate) use subject::{
    Key, Reading, Subject, after as scored_after, known, lock, read, read_many, snapshot, write,
};
pub(crate) use usage::{Answer, NewUse, Use, find as find_use, insert as insert_uses};

use kernel::{CustomerId, TenantId};
use uuid::Uuid;

fn uuids(ids: &[TenantId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.uuid()).collect()
}

fn customer(id: Uuid) -> CustomerId {
    CustomerId::new(id)
}
