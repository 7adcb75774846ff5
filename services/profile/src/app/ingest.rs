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
use super::recognise::{Identifiers, Known, Recognise};
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
    pub(crate) violations: Violations,
}

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
    pub(crate) known: Known,
    pub(crate) event: Event,
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
            recognise: Recognise::new(shared.clone(), identity, config.known_evidence),
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
        let lookup = self.shared.lookup.tenant(call.tenant())?;
        let mut asked = Vec::with_capacity(events.len());
        for (at, event) in events.iter().enumerate() {
            let good = event.as_ref().ok();
            asked.push(good.map(|good| good.set.evidence_id(lookup.evidence_key())));
            give_way(at).await;
        }
        let mut wanted = HashMap::with_capacity(events.len());
        for (id, event) in asked.iter().zip(&events) {
            if let (Some(id), Ok(good)) = (id, event) {
                wanted.entry(*id).or_insert(&good.identifiers);
            }
        }
        let recognised = self.recognise.all(call, wanted).await?;

        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(events.len());
        let mut refused = Vec::new();
        let mut rows = Vec::with_capacity(events.len());
        for (at, (id, event)) in asked.into_iter().zip(events).enumerate() {
            give_way(at).await;
            let known = id.and_then(|id| recognised.get(&id));
            match (event, known) {
                (Ok(good), Some(Ok(known))) => {
                    rows.push(sealed(call.tenant(), known, good)?);
                    outcomes.push(None);
                }
                (Ok(good), reason) => {
                    let reason = match reason {
                        Some(Err(reason)) => reason.as_str(),
                        _ => "must hold at least one that identifies somebody",
                    };
                    let violations = Violations::of("identifiers", reason);
                    outcomes.push(Some(Outcome::Rejected(violations.clone())));
                    refused.push(Refused { payload: good.payload, violations });
                }
                (Err(bad), _) => {
                    outcomes.push(Some(Outcome::Rejected(bad.violations.clone())));
                    refused.push(bad);
                }
            }
        }
        self.keep(call.tenant(), refused, received_us).await?;
        let traceparent = server::layers::trace::traceparent();
        let chunk = Arc::new(Chunk { rows, received_us, traceparent });
        let committed = self.commit(&chunk, patience).await?;
        self.keep(call.tenant(), unreadable(&chunk, &committed)?, received_us).await?;
        Ok(self.joined(outcomes, committed))
    }

    /// Puts what was committed into the places of the events that were good.
    fn joined(&self, outcomes: Vec<Option<Outcome>>, committed: Vec<Committed>) -> Vec<Outcome> {
        let mut committed = committed.into_iter();
        let metrics = &self.shared.metrics;
        let mut all = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let outcome = outcome.or_else(|| {
                Some(match committed.next()? {
                    Committed::Stored { place, is_new: true } => Outcome::Accepted(place),
                    Committed::Stored { place, is_new: false } => Outcome::Duplicate(place),
                    Committed::Refused => Outcome::Rejected(damaged()),
                })
            });
            match &outcome {
                Some(Outcome::Accepted(_)) => metrics.accepted.inc(),
                Some(Outcome::Duplicate(_)) => metrics.duplicates.inc(),
                Some(Outcome::Rejected(_)) => metrics.rejected.inc(),
                None => continue, // one output per row: `commit::write` promises it
            };
            all.extend(outcome);
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
        refused: Vec<Refused>,
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
            rows.push(Rejected { id, received_us, wrapped_key, sealed });
        }
        Ok(rejected::insert(&self.shared.database, tenant, &mut rows).await?)
    }
}

fn sealed(tenant: TenantId, known: &Known, good: Incoming) -> Result<Row, Error> {
    let place = (tenant, known.evidence);
    let payload = seal::event(&known.key, place, &good.event.message_id, &good.payload)?;
    let shard = Shard::of(known.evidence.uuid());
    Ok(Row { tenant, shard, known: known.clone(), event: good.event, payload })
}

/// What the caller of an event hears whose profile cannot be read.
pub(super) const DAMAGED: &str =
    "what is stored under these is damaged; send the event again once that is repaired";

fn damaged() -> Violations {
    Violations::of("identifiers", DAMAGED)
}

/// The events of a chunk that were refused at the commit, opened, to be kept.
fn unreadable(chunk: &Chunk, committed: &[Committed]) -> Result<Vec<Refused>, Error> {
    let mut refused = Vec::new();
    for (row, committed) in chunk.rows.iter().zip(committed) {
        if let Committed::Refused = committed {
            let place = (row.tenant, row.known.evidence);
            let (key, id) = (&row.known.key, &row.event.message_id);
            let payload = seal::open_event(key, place, id, &row.payload)?;
            refused.push(Refused { payload, violations: damaged() });
        }
    }
    Ok(refused)
}

pub(crate) async fn give_way(at: usize) {
    if at % GIVE_WAY == GIVE_WAY - 1 {
        tokio::task::yield_now().await;
    }
}
