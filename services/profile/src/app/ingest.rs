//! Taking events: recognise, seal, commit, keep what was refused.

use std::collections::HashMap;
use std::sync::Arc;

use ::store::{Committer, blind};
use kernel::{CustomerId, EvidenceId, Shard, TenantId, Violations};
use linkage::EvidenceSet;
use server::{Call, Drain, Peer};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::commit::{self, Committed};
use super::recognise::{Identifiers, Known, Recognise, Unknown, Wanted};
use super::{Shared, seal};
use crate::config::Config;
use crate::domain::event::Event;
use crate::error::Error;
use crate::events;
use crate::store::rejected::{self, Rejected};

/// A checked event with what identifies its person.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) event: Event,
    pub(crate) identifiers: Identifiers,
    pub(crate) set: EvidenceSet,
    /// The event as it came, encoded.
    pub(crate) payload: Vec<u8>,
}

/// An event that cannot be taken.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The event as it came, encoded.
    pub(crate) payload: Vec<u8>,
    /// Its identifiers, if they could be read.
    pub(crate) set: Option<EvidenceSet>,
    /// When it happened, if that could be read.
    pub(crate) occurred_us: Option<i64>,
    pub(crate) violations: Violations,
}

/// A refused event that is to be kept.
struct Kept {
    payload: Vec<u8>,
    violations: Violations,
    /// Whose it would have been: it goes when that one is erased.
    evidence: Option<EvidenceId>,
    occurred_us: i64,
}

/// A good event, its place in the call, and the id of its identifiers as computed here.
struct Waiting {
    at: usize,
    asked: EvidenceId,
    good: Incoming,
}

/// How often evidence is asked for again that is erased meanwhile.
const ATTEMPTS: usize = 4;

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Outcome {
    Accepted(Place),
    Duplicate(Place),
    Rejected(Violations),
}

/// Where an event is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) customer: CustomerId,
    pub(crate) evidence: EvidenceId,
    pub(crate) version: i64,
}

/// The events of one call, to be committed together with those of others.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) rows: Vec<Row>,
    pub(crate) received_us: i64,
    pub(crate) traceparent: Option<String>,
}

/// A chunk in the queue; its caller keeps it, to queue it again when there was no room.
#[derive(Debug)]
pub(crate) struct Queued(pub(crate) Arc<Chunk>);

/// One sealed event.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) tenant: TenantId,
    pub(crate) shard: Shard,
    /// The id as it was computed here.
    pub(crate) asked: EvidenceId,
    pub(crate) known: Known,
    pub(crate) event: Event,
    pub(crate) identifiers: Identifiers,
    pub(crate) set: EvidenceSet,
    pub(crate) payload: Vec<u8>,
}

/// Takes events. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Ingest {
    shared: Shared,
    recognise: Recognise,
    committer: Committer<Queued, Vec<Committed>>,
    /// The part of the queue that streams may fill; they wait here, not in the queue.
    streamed: Arc<Semaphore>,
}

/// Whether the caller waits when too much is queued, or is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A stream: it stops reading meanwhile.
    Waits,
    /// A single call.
    None,
}

/// The stages that keep a worker busy give way after this many events.
const GIVE_WAY: usize = 16;

impl Ingest {
    pub(crate) fn start(shared: Shared, identity: Peer, config: &Config, drain: &Drain) -> Self {
        let writer = shared.clone();
        let committer = Committer::start(
            config.committer(),
            &drain.tracker(),
            drain.token(),
            move |chunks: Vec<Arc<Queued>>| commit::write(writer.clone(), chunks),
        );
        Self {
            recognise: Recognise::new(shared.clone(), identity),
            committer,
            streamed: Arc::new(Semaphore::new(config.queue_rows / 2)),
            shared,
        }
    }

    /// Takes the events of one call; the answer follows the commit. One outcome per event,
    /// in order.
    ///
    /// # Errors
    /// When identity, the database or the queue fails: then nothing is known of the events,
    /// and repeating is harmless.
    pub(crate) async fn take(
        &self,
        call: &Call,
        events: Vec<Result<Incoming, Refused>>,
        received_us: i64,
        patience: Patience,
    ) -> Result<Vec<Outcome>, Error> {
        let tenant = call.tenant();
        let lookup = self.shared.lookup.tenant(tenant)?;
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(events.len());
        let mut refused = Vec::new();
        let mut waiting = Vec::with_capacity(events.len());
        for (at, event) in events.into_iter().enumerate() {
            give_way(at).await;
            outcomes.push(match event {
                Ok(good) => {
                    let asked = good.set.evidence_id(lookup.evidence_key());
                    waiting.push(Waiting { at, asked, good });
                    None
                }
                Err(bad) => {
                    let evidence =
                        bad.set.as_ref().map(|set| set.evidence_id(lookup.evidence_key()));
                    let violations = bad.violations.clone();
                    refused.push(Kept {
                        payload: bad.payload,
                        violations: bad.violations,
                        evidence,
                        occurred_us: bad.occurred_us.unwrap_or(received_us),
                    });
                    Some(Outcome::Rejected(violations))
                }
            });
        }
        let traceparent = server::layers::trace::traceparent();
        for _ in 0..ATTEMPTS {
            if waiting.is_empty() {
                break;
            }
            let (places, rows, stale) =
                self.seal_all(call, waiting, (&mut outcomes, &mut refused)).await?;
            self.keep(tenant, std::mem::take(&mut refused), received_us).await?;
            let chunk = Arc::new(Chunk { rows, received_us, traceparent: traceparent.clone() });
            let committed = self.commit(&chunk, patience).await?;
            waiting = stale;
            for ((at, row), committed) in places.into_iter().zip(&chunk.rows).zip(committed) {
                outcomes[at] = Some(match committed {
                    Committed::Stored { place, is_new: true } => Outcome::Accepted(place),
                    Committed::Stored { place, is_new: false } => Outcome::Duplicate(place),
                    Committed::Refused => {
                        refused.push(unreadable(row)?);
                        Outcome::Rejected(damaged())
                    }
                    Committed::Stale => {
                        self.recognise.forget(tenant, row.asked).await;
                        waiting.push(Waiting { at, asked: row.asked, good: reopened(row)? });
                        continue;
                    }
                });
            }
        }
        self.keep(tenant, refused, received_us).await?;
        if !waiting.is_empty() {
            let cause = "a customer is being erased: send the events again";
            return Err(::store::Error::Conflict(::store::Cause::new(cause)).into());
        }
        Ok(self.counted(outcomes))
    }

    /// Recognises and seals; what is refused is put aside. The places of the rows, the rows, and
    /// what has to be asked again.
    async fn seal_all(
        &self,
        call: &Call,
        waiting: Vec<Waiting>,
        (outcomes, refused): (&mut [Option<Outcome>], &mut Vec<Kept>),
    ) -> Result<(Vec<usize>, Vec<Row>, Vec<Waiting>), Error> {
        let mut wanted: HashMap<EvidenceId, Wanted<'_>> = HashMap::with_capacity(waiting.len());
        for Waiting { asked, good, .. } in &waiting {
            let event_us = good.event.occurred_us;
            let first = Wanted { identifiers: &good.identifiers, event_us };
            let wanted = wanted.entry(*asked).or_insert(first);
            wanted.event_us = wanted.event_us.max(event_us);
        }
        let recognised = self.recognise.all(call, wanted).await?;
        let mut rows = Vec::with_capacity(waiting.len());
        let mut places = Vec::with_capacity(waiting.len());
        let mut stale = Vec::new();
        for (count, one) in waiting.into_iter().enumerate() {
            give_way(count).await;
            let Waiting { at, asked, good } = one;
            let reason = match recognised.get(&asked) {
                Some(Ok(known)) if known.is_void(good.event.occurred_us) => {
                    outcomes[at] = Some(Outcome::Rejected(erased()));
                    continue;
                }
                Some(Ok(known)) => {
                    places.push(at);
                    rows.push(sealed(call.tenant(), (asked, known), good)?);
                    continue;
                }
                Some(Err(Unknown::Erased)) => {
                    outcomes[at] = Some(Outcome::Rejected(erased()));
                    continue;
                }
                Some(Err(Unknown::Stale)) => {
                    stale.push(Waiting { at, asked, good });
                    continue;
                }
                Some(Err(Unknown::Refused(reason))) => reason.as_str(),
                None => "must hold at least one that identifies somebody",
            };
            let violations = Violations::of("identifiers", reason);
            outcomes[at] = Some(Outcome::Rejected(violations.clone()));
            let (payload, occurred_us) = (good.payload, good.event.occurred_us);
            refused.push(Kept { payload, violations, evidence: Some(asked), occurred_us });
        }
        Ok((places, rows, stale))
    }

    /// Counts and hands out the outcomes: each event has one by then.
    fn counted(&self, outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
        let metrics = &self.shared.metrics;
        let mut all = Vec::with_capacity(outcomes.len());
        for outcome in outcomes.into_iter().flatten() {
            match &outcome {
                Outcome::Accepted(_) => metrics.accepted.inc(),
                Outcome::Duplicate(_) => metrics.duplicates.inc(),
                Outcome::Rejected(_) => metrics.rejected.inc(),
            };
            all.push(outcome);
        }
        all
    }

    async fn commit(
        &self,
        chunk: &Arc<Chunk>,
        patience: Patience,
    ) -> Result<Vec<Committed>, Error> {
        let weight = chunk.rows.len();
        if weight == 0 {
            return Ok(Vec::new());
        }
        if patience == Patience::None {
            return Ok(self.committer.submit(Queued(Arc::clone(chunk)), weight).await?);
        }
        let permits = u32::try_from(weight).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _place = self.streamed.acquire_many(permits).await;
        loop {
            match self.committer.submit(Queued(Arc::clone(chunk)), weight).await {
                // Single calls filled the rest.
                Err(::store::Error::Full { retry_after }) => tokio::time::sleep(retry_after).await,
                result => return Ok(result?),
            }
        }
    }

    /// Keeps refused events, sealed, with the reasons.
    async fn keep(
        &self,
        tenant: TenantId,
        refused: Vec<Kept>,
        received_us: i64,
    ) -> Result<(), Error> {
        if refused.is_empty() {
            return Ok(());
        }
        let tenant_key = self.shared.tenant_keys.get(tenant).await?;
        let lookup = self.shared.lookup.tenant(tenant)?;
        let mut rows = Vec::with_capacity(refused.len());
        for refused in refused {
            let plain = events::encode_rejected(&refused.payload, &refused.violations);
            let id = Uuid::new_v8(blind::short_index(&lookup, "rejected_event", &plain));
            let (wrapped_key, sealed) = seal::rejected(tenant, &tenant_key, id, &plain)?;
            let event_us = refused.occurred_us.min(received_us);
            let evidence = refused.evidence;
            rows.push(Rejected { id, evidence, received_us, event_us, wrapped_key, sealed });
        }
        Ok(rejected::insert(&self.shared.database, tenant, &mut rows).await?)
    }
}

fn sealed(
    tenant: TenantId,
    (asked, known): (EvidenceId, &Known),
    good: Incoming,
) -> Result<Row, Error> {
    let place = (tenant, known.evidence);
    let payload = seal::event(&known.key, place, &good.event.message_id, &good.payload)?;
    let shard = Shard::of(known.evidence.uuid());
    let (event, identifiers, known) = (good.event, good.identifiers, known.clone());
    Ok(Row { tenant, shard, asked, known, event, identifiers, set: good.set, payload })
}

/// What the caller of an event hears whose profile cannot be read.
pub(super) const DAMAGED: &str =
    "what is stored under these is damaged; send the event again once that is repaired";

fn damaged() -> Violations {
    Violations::of("identifiers", DAMAGED)
}

/// What the caller of an event hears whose customer was erased after it.
fn erased() -> Violations {
    Violations::of("event_time", "is not after the erasure of the customer: the event is void")
}

fn opened(row: &Row) -> Result<Vec<u8>, Error> {
    let place = (row.tenant, row.known.evidence);
    Ok(seal::open_event(&row.known.key, place, &row.event.message_id, &row.payload)?)
}

/// An event that was refused at the commit, opened, to be kept.
fn unreadable(row: &Row) -> Result<Kept, Error> {
    Ok(Kept {
        payload: opened(row)?,
        violations: damaged(),
        evidence: Some(row.known.evidence),
        occurred_us: row.event.occurred_us,
    })
}

/// An event that was sealed under a key that is gone, as it was before.
fn reopened(row: &Row) -> Result<Incoming, Error> {
    Ok(Incoming {
        payload: opened(row)?,
        event: row.event.clone(),
        identifiers: row.identifiers.clone(),
        set: row.set.clone(),
    })
}

pub(crate) async fn give_way(at: usize) {
    if at % GIVE_WAY == GIVE_WAY - 1 {
        tokio::task::yield_now().await;
    }
}
