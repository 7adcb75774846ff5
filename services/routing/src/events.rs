//! What others hear of demands, one entry per transition, and what routing hears of scores.
//!
//! Nothing personal is in here: ids, states, scores.

use contracts::routing::v1::{DemandChanged, EventKind};
use contracts::scoring::v1::{EventKind as ScoringKind, ScoreChanged};
use feed::receipt::Part;
use feed::{Entry, Error, HandleError, Shards, SnapshotKey, SnapshotSource};
use kernel::CustomerId;
use prost::Message;
use store::Database;

use crate::domain::{Demand, Transition};
use crate::message;
use crate::store::demand::{self, Latest};

/// The entry of one transition; `demand` is as it was after it.
pub(crate) fn changed(
    demand: &Demand,
    transition: &Transition,
    traceparent: Option<String>,
) -> Entry {
    let previous = transition.previous.map(message::demand_state).unwrap_or_default();
    let data = DemandChanged {
        demand: Some(message::demand(demand)),
        previous_state: previous.into(),
        event_time: Some(message::timestamp(transition.event_us)),
        agent: transition.agent.clone(),
        offer_id: transition.offer.map(|offer| offer.to_string()).unwrap_or_default(),
        cause: transition.cause.to_owned(),
    };
    entry(demand, &data).traced(traceparent)
}

fn entry(demand: &Demand, data: &DemandChanged) -> Entry {
    let kind = EventKind::DemandChanged as i16;
    let data = data.encode_to_vec().into();
    Entry::new(demand.tenant, demand.id.uuid(), kind, demand.version, data)
}

/// Reads an own entry.
pub(crate) fn read(entry: &Entry) -> Result<Option<DemandChanged>, Error> {
    if entry.kind != EventKind::DemandChanged as i16 {
        return Ok(None);
    }
    DemandChanged::decode(entry.data.clone()).map(Some).map_err(|_| Error::Malformed("data"))
}

/// Demands as if each had just changed, and erasures.
pub(crate) struct Snapshot(pub(crate) Database);

impl SnapshotSource for Snapshot {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let after = after.map(|(tenant, id)| (tenant.uuid(), id));
        let numbers: Vec<i16> = shards.numbers().collect();
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let latest = demand::snapshot(self.0.pool(), after, &numbers, rows).await?;
        let from = after.unwrap_or_default();
        let erased = feed::receipt::known(self.0.pool(), shards, from, limit).await?;
        let mut entries: Vec<Entry> = latest.into_iter().map(as_if_changed).collect();
        entries.extend(erased.iter().map(customers_erased));
        entries.sort_by_key(|entry| (entry.tenant, entry.subject));
        entries.truncate(limit);
        Ok(entries)
    }
}

fn as_if_changed(latest: Latest) -> Entry {
    let data = DemandChanged {
        demand: Some(message::demand(&latest.demand)),
        previous_state: 0,
        event_time: Some(message::timestamp(latest.event_us)),
        agent: latest.agent,
        offer_id: latest.offer.map(|offer| offer.to_string()).unwrap_or_default(),
        cause: latest.cause,
    };
    entry(&latest.demand, &data)
}

/// Customers are gone for good.
pub(crate) fn customers_erased(part: &Part) -> Entry {
    part.entry(EventKind::CustomersErased as i16)
}

/// The customers that an entry of scoring says are gone.
pub(crate) fn erased(entry: &Entry) -> Result<Option<Part>, HandleError> {
    if entry.kind != ScoringKind::CustomersErased as i16 {
        return Ok(None);
    }
    Ok(Some(Part::read(entry)?))
}

/// A threshold that a customer's score has crossed upwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) customer: CustomerId,
    pub(crate) scorer: String,
    pub(crate) threshold: String,
    /// The customer's score version at which it was crossed: no two crossings share it.
    pub(crate) since: i64,
    pub(crate) at_us: i64,
    pub(crate) profile_version: i64,
}

/// The crossings that an entry of scoring tells of.
pub(crate) fn crossings(entry: &Entry) -> Result<Vec<Crossing>, HandleError> {
    if entry.kind != ScoringKind::ScoreChanged as i16 {
        return Ok(Vec::new());
    }
    let changed = ScoreChanged::decode(entry.data.clone())
        .map_err(|_| HandleError::Poison("ScoreChanged does not decode".to_owned()))?;
    let mut crossings = Vec::new();
    for score in changed.scores {
        for threshold in score.reached {
            if !score.crossed_up.contains(&threshold.name) {
                continue;
            }
            crossings.push(Crossing {
                customer: CustomerId::new(entry.subject),
                scorer: score.scorer.clone(),
                threshold: threshold.name,
                since: threshold.since_version,
                at_us: entry.at_us,
                profile_version: changed.profile_version,
            });
        }
    }
    Ok(crossings)
}
