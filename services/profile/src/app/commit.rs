//! One transaction for the events of many calls.
//!
//! Locks are taken in one order by every writer of this service: events (by their unique key),
//! fragments, customers, feed; each sorted. The customer comes from the locked fragment: one
//! that was looked up before may have changed by a move.
//!
//! Stored state that does not read back is one evidence's trouble: the transaction is rolled
//! back and repeated without that evidence, whose events are refused.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use aggregate::{Behaviour, Personal};
use kernel::{CustomerId, EvidenceId, TenantId};
use sqlx::PgConnection;

use super::ingest::{Chunk, Place, Queued, Row};
use super::{Shared, seal};
use crate::domain::fold::{self, EvidenceKey, Fragment, NewCustomer};
use crate::error::Error;
use crate::events;
use crate::store::event::{self, NewEvent};
use crate::store::fragment::{self, Folded, Wanted};
use crate::store::{customer, ledger};

/// What became of one event of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Committed {
    Stored {
        place: Place,
        is_new: bool,
    },
    /// What is stored of its evidence, or of that one's customer, is damaged.
    Refused,
    /// Its evidence was erased, or came back, since its key was read: nothing is written.
    Stale,
}

/// Why a batch was not written.
enum Failure {
    /// For these evidences, each with the reason. Never empty.
    Damaged(Vec<(EvidenceKey, ::store::Error)>),
    /// For these evidences: their keys are others by now. Never empty.
    Stale(Vec<EvidenceKey>),
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<::store::Error> for Failure {
    fn from(error: ::store::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<fold::Damaged> for Failure {
    fn from(damaged: fold::Damaged) -> Self {
        let reason = |(key, error)| (key, ::store::Error::damaged(error));
        Self::Damaged(damaged.into_iter().map(reason).collect())
    }
}

impl ::store::FromStore for Failure {
    fn as_store(&self) -> Option<&::store::Error> {
        match self {
            Self::Other(error) => error.as_store(),
            Self::Damaged(_) | Self::Stale(_) => None,
        }
    }
}

/// Commits chunks; answers for each the outcomes of its rows, in order.
pub(crate) async fn write(
    shared: Shared,
    chunks: Vec<Arc<Queued>>,
) -> Result<Vec<Vec<Committed>>, ::store::Error> {
    let mut left_out = LeftOut::new();
    let written = write_readable(&shared, &chunks, &mut left_out).await?;
    if !written.changed.is_empty() {
        shared.tail.wake();
        shared.profiles.forget(&written.changed).await;
    }
    let mut committed = written.committed.into_iter();
    let mut outcome = |row: &Row| match left_out.get(&(row.tenant, row.known.evidence)) {
        Some(why) => *why,
        None => committed.next().unwrap_or(Committed::Refused),
    };
    let of_chunk = |chunk: &Arc<Queued>| chunk.0.rows.iter().map(&mut outcome).collect();
    Ok(chunks.iter().map(of_chunk).collect())
}

/// Evidence whose events are not written, and why.
type LeftOut = HashMap<EvidenceKey, Committed>;

/// Writes the events of all evidence that is not damaged or stale; tells which is. Each
/// repetition leaves out more evidence, so it ends.
async fn write_readable(
    shared: &Shared,
    chunks: &[Arc<Queued>],
    left_out: &mut LeftOut,
) -> Result<Written, ::store::Error> {
    loop {
        let batch = Batch::new(chunks, left_out);
        let written: Result<Written, Failure> =
            ::store::transaction!(&shared.database, async |connection| batch
                .write(connection)
                .await);
        match written {
            Ok(written) => return Ok(written),
            Err(Failure::Other(error)) => return Err(error.into()),
            Err(Failure::Damaged(found)) => {
                for ((tenant, evidence), error) in found {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%tenant, %evidence, error, "stored state cannot be read");
                    left_out.insert((tenant, evidence), Committed::Refused);
                }
            }
            Err(Failure::Stale(found)) => {
                left_out.extend(found.into_iter().map(|key| (key, Committed::Stale)));
            }
        }
    }
}

/// All rows of a batch, in the order of the calls, and their order by key.
struct Batch<'a> {
    rows: Vec<(&'a Row, &'a Chunk)>,
    /// Places in `rows`, sorted by (tenant, shard, evidence, message id); without repetitions.
    distinct: Vec<usize>,
    /// The fragments of the batch, sorted.
    fragments: Vec<EvidenceKey>,
    /// By row: its place in `fragments`.
    fragment_of: Vec<usize>,
}

/// What a batch did.
struct Written {
    committed: Vec<Committed>,
    changed: Vec<(TenantId, CustomerId)>,
}

/// The part of a fragment's change that is personal.
struct Change<'a> {
    behaviour: Behaviour,
    personal: Personal,
    row: &'a Row,
}

impl<'a> Batch<'a> {
    fn new(chunks: &'a [Arc<Queued>], left_out: &LeftOut) -> Self {
        let rows: Vec<(&Row, &Chunk)> = chunks
            .iter()
            .flat_map(|chunk| chunk.0.rows.iter().map(move |row| (row, &*chunk.0)))
            .filter(|(row, _)| !left_out.contains_key(&(row.tenant, row.known.evidence)))
            .collect();
        let mut sorted: Vec<usize> = (0..rows.len()).collect();
        // Stable: of two events with one key the first to arrive counts.
        sorted.sort_by(|a, b| key(rows[*a].0).cmp(&key(rows[*b].0)));
        let mut fragments: Vec<EvidenceKey> = Vec::new();
        let mut fragment_of = vec![0; rows.len()];
        for at in &sorted {
            let row = rows[*at].0;
            let key = (row.tenant, row.known.evidence);
            if fragments.last() != Some(&key) {
                fragments.push(key);
            }
            fragment_of[*at] = fragments.len() - 1;
        }
        let mut distinct = sorted;
        distinct.dedup_by(|b, a| key(rows[*a].0) == key(rows[*b].0));
        Self { rows, distinct, fragments, fragment_of }
    }

    async fn write(&self, connection: &mut PgConnection) -> Result<Written, Failure> {
        let new_rows = self.insert_events(connection).await?;
        let mut changes = self.changes(&new_rows);
        let locked = self.lock_fragments(connection, &changes).await?;
        self.check_keys(&locked)?;
        let versions = self.lock_customers(connection, &locked).await?;
        let mut by_customer: HashMap<(TenantId, CustomerId), i64> =
            versions.iter().map(|row| ((row.tenant, row.customer), row.version)).collect();

        let deltas = changes
            .iter_mut()
            .map(|(at, change)| (*at, std::mem::take(&mut change.behaviour)))
            .collect();
        let folded = fold::fold(&locked, deltas)?;
        let siblings = fragment::of_customers(connection, &folded.to_merge(&versions)).await?;
        let customers = folded.customers(&locked, &versions, &siblings)?;
        if !customers.is_empty() {
            let fragments = written_fragments(&folded, &changes, &locked)?;
            fragment::write(connection, &fragments).await?;
            ledger::insert(connection, &self.entries(&new_rows)).await?;
            customer::write(connection, &customers).await?;
            by_customer.extend(customers.iter().map(|c| ((c.tenant, c.customer), c.version)));
            self.append(connection, &customers, &locked).await?;
        }
        let changed = customers.iter().map(|row| (row.tenant, row.customer)).collect();
        Ok(Written { committed: self.committed(&new_rows, &locked, &by_customer), changed })
    }

    /// Says by row whether the event was new.
    async fn insert_events(&self, connection: &mut PgConnection) -> Result<Vec<bool>, Error> {
        let new_event = |at: &usize| {
            let (row, chunk) = self.rows[*at];
            NewEvent {
                tenant: row.tenant,
                evidence: row.known.evidence,
                message_id: &row.event.message_id,
                kind: row.event.kind_number,
                occurred_us: row.event.occurred_us,
                received_us: chunk.received_us,
                sent_us: row.event.sent_us,
                payload: &row.payload,
            }
        };
        let events: Vec<NewEvent<'_>> = self.distinct.iter().map(new_event).collect();
        let inserted = event::insert(connection, &events).await?;
        let mut is_new = vec![false; self.rows.len()];
        for (at, inserted) in self.distinct.iter().zip(inserted) {
            is_new[*at] = inserted;
        }
        Ok(is_new)
    }

    /// Folds the new events by fragment.
    fn changes(&self, is_new: &[bool]) -> BTreeMap<usize, Change<'a>> {
        let mut changes: BTreeMap<usize, Change<'a>> = BTreeMap::new();
        for at in self.distinct.iter().filter(|at| is_new[**at]) {
            let row = self.rows[*at].0;
            let change = changes.entry(self.fragment_of[*at]).or_insert_with(|| Change {
                behaviour: Behaviour::default(),
                personal: Personal::default(),
                row,
            });
            row.event.with_facts(row.known.evidence, |facts| {
                change.behaviour.fold(facts);
                change.personal.fold(facts);
            });
        }
        changes
    }

    async fn lock_fragments(
        &self,
        connection: &mut PgConnection,
        changes: &BTreeMap<usize, Change<'_>>,
    ) -> Result<Vec<Fragment>, Error> {
        let mut wanted = Vec::with_capacity(self.fragments.len());
        for (at, key) in self.fragments.iter().enumerate() {
            let change = changes.get(&at);
            let personal = change.is_some_and(|change| !change.personal.is_empty());
            wanted.push(Wanted { key: *key, state: change.is_some(), personal });
        }
        Ok(fragment::lock(connection, &wanted).await?)
    }

    /// Under the locks of the fragments: whoever erases holds them too. An event that was sealed
    /// under a key that is gone would be lost, and one of before would bring somebody back.
    fn check_keys(&self, locked: &[Fragment]) -> Result<(), Failure> {
        let mut stale = Vec::new();
        for (at, (row, _)) in self.rows.iter().enumerate() {
            let fragment = &locked[self.fragment_of[at]];
            if fragment.is_void() || fragment.erased_us != row.known.erased_us {
                stale.push((row.tenant, row.known.evidence));
            }
        }
        if stale.is_empty() { Ok(()) } else { Err(Failure::Stale(stale)) }
    }

    async fn lock_customers(
        &self,
        connection: &mut PgConnection,
        locked: &[Fragment],
    ) -> Result<Vec<fold::Customer>, Error> {
        let sorted = |fragments: &mut dyn Iterator<Item = &Fragment>| {
            let mut keys: Vec<_> = fragments.map(|row| (row.tenant, row.customer)).collect();
            keys.sort_unstable_by_key(|key| customer::key_order(*key));
            keys.dedup();
            keys
        };
        let first = sorted(&mut locked.iter().filter(|fragment| fragment.version == 0));
        customer::insert(connection, &first).await?;
        let all = sorted(&mut locked.iter());
        Ok(customer::lock(connection, &all).await?)
    }

    fn entries(&self, is_new: &[bool]) -> Vec<ledger::NewEntry<'a>> {
        let mut entries = Vec::new();
        for at in self.distinct.iter().filter(|at| is_new[**at]) {
            let row = self.rows[*at].0;
            let Some(entry) = &row.event.ledger else { continue };
            entries.push(ledger::NewEntry {
                key: (row.tenant, row.known.evidence),
                message_id: &row.event.message_id,
                kind: entry.kind_number,
                entry_id: &entry.entry_id,
                occurred_us: row.event.occurred_us,
                fact: entry.fact,
            });
        }
        entries
    }

    /// The last statement before COMMIT. Each entry carries the trace of a call that changed
    /// the customer.
    async fn append(
        &self,
        connection: &mut PgConnection,
        customers: &[NewCustomer],
        locked: &[Fragment],
    ) -> Result<(), Error> {
        let mut traces: HashMap<(TenantId, CustomerId), &str> = HashMap::new();
        for (at, (_, chunk)) in self.rows.iter().enumerate() {
            if let Some(trace) = &chunk.traceparent {
                let fragment = &locked[self.fragment_of[at]];
                traces.insert((fragment.tenant, fragment.customer), trace);
            }
        }
        let entry = |row: &NewCustomer| {
            let trace = traces.get(&(row.tenant, row.customer)).map(|trace| (*trace).to_owned());
            events::profile_changed(row.tenant, row.customer, row.version, row.state())
                .traced(trace)
        };
        let entries: Vec<feed::Entry> = customers.iter().map(entry).collect();
        feed::append(connection, &entries).await?;
        Ok(())
    }

    fn committed(
        &self,
        is_new: &[bool],
        locked: &[Fragment],
        versions: &HashMap<(TenantId, CustomerId), i64>,
    ) -> Vec<Committed> {
        let committed = |at: usize| {
            let fragment = &locked[self.fragment_of[at]];
            let customer = fragment.customer;
            let version = versions.get(&(fragment.tenant, customer)).copied().unwrap_or_default();
            let place = Place { customer, evidence: fragment.evidence, version };
            Committed::Stored { place, is_new: is_new[at] }
        };
        (0..self.rows.len()).map(committed).collect()
    }
}

/// The order in which events are inserted, and with it that of fragments.
fn key(row: &Row) -> (TenantId, kernel::Shard, EvidenceId, &str) {
    (row.tenant, row.shard, row.known.evidence, &row.event.message_id)
}

/// The folded fragments with their personal parts.
fn written_fragments<'a>(
    folded: &'a fold::Folded,
    changes: &BTreeMap<usize, Change<'_>>,
    locked: &[Fragment],
) -> Result<Vec<Folded<'a>>, Failure> {
    let mut fragments = Vec::with_capacity(folded.fragments.len());
    let mut damaged = Vec::new();
    for new in &folded.fragments {
        let old = &locked[new.at];
        let key = (old.tenant, old.evidence);
        let personal = match changes.get(&new.at).map(|change| personal(change, old)) {
            Some(Ok(personal)) => personal,
            Some(Err(error)) if error.blames_one_row() => {
                damaged.push((key, error));
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
            None => None,
        };
        let (version, behaviour, shown) = (old.version + 1, &new.behaviour, new.shown);
        fragments.push(Folded { key, version, behaviour, shown, personal });
    }
    if damaged.is_empty() { Ok(fragments) } else { Err(Failure::Damaged(damaged)) }
}

/// The new personal part, sealed; nothing if it stays as it is.
fn personal(change: &Change<'_>, old: &Fragment) -> Result<Option<Vec<u8>>, ::store::Error> {
    if change.personal.is_empty() {
        return Ok(None);
    }
    let place = (old.tenant, old.evidence);
    let key = &change.row.known.key;
    let mut state = match &old.personal {
        Some(sealed) => Personal::decode(&seal::open_personal(key, place, sealed)?)
            .map_err(::store::Error::damaged)?,
        None => Personal::default(),
    };
    if !state.merge(&change.personal) {
        return Ok(None);
    }
    Ok(Some(seal::personal(key, place, &state.encode())?))
}
