//! Feeds: routing's entries in, labels out.

use ::store::Database;
use bytes::Bytes;
use contracts::feedback::v1 as feedback;
use contracts::google::r#type::Money;
use contracts::routing::v1 as routing;
use contracts::routing::v1::DemandState;
use feed::receipt::Part;
use feed::{Entry, Error, HandleError, Shards, SnapshotKey, SnapshotSource};
use kernel::{CustomerId, DemandId};
use prost::Message;
use uuid::Uuid;

use crate::app::record::News;
use crate::domain::Key;
use crate::domain::fact::{Change, Stage, UsedScore};
use crate::domain::outcome::{Label, OutcomeResult, Statement, Value};
use crate::{money, time};

/// Reads an entry of routing's feed; nothing for a kind that is not followed.
pub(crate) fn change(entry: &Entry) -> Result<Option<Change>, HandleError> {
    if i32::from(entry.kind) != routing::EventKind::DemandChanged as i32 {
        return Ok(None);
    }
    read(entry).map(Some).map_err(|what| HandleError::Poison(what.to_owned()))
}

/// The customers that an entry of routing says are gone.
pub(crate) fn erased(entry: &Entry) -> Result<Option<Part>, HandleError> {
    if i32::from(entry.kind) != routing::EventKind::CustomersErased as i32 {
        return Ok(None);
    }
    Ok(Some(Part::read(entry)?))
}

fn read(entry: &Entry) -> Result<Change, &'static str> {
    let changed = routing::DemandChanged::decode(entry.data.clone())
        .map_err(|_| "the entry is no DemandChanged")?;
    let changed_us = time::micros(changed.event_time.as_ref());
    let demand = changed.demand.ok_or("the entry has no demand")?;
    let stage = match demand.state() {
        DemandState::Queued => Stage::Created,
        DemandState::Offered => Stage::Offered,
        DemandState::Accepted => Stage::Accepted,
        DemandState::InProgress => Stage::Started,
        DemandState::Closed => Stage::Closed,
        DemandState::Unspecified => return Err("the demand has no known state"),
    };
    let created_us = time::micros(demand.create_time.as_ref()).ok_or("no create_time")?;
    // The commit says when a stage was reached; a snapshot knows only what the owner says.
    let at_us = if entry.at_us > 0 { entry.at_us } else { changed_us.unwrap_or(created_us) };
    let key = Key { tenant: entry.tenant, demand: DemandId::new(entry.subject) };
    Ok(Change {
        key,
        version: entry.version,
        stage,
        at_us,
        created_us,
        event_us: time::micros(demand.event_time.as_ref()).unwrap_or(created_us),
        customer: demand.customer_id.parse::<CustomerId>().map_err(|_| "no customer_id")?,
        outcome: match stage {
            // Nothing came of it, and nothing is learned of it.
            Stage::Closed if demand.result() == routing::DemandResult::Erased => None,
            Stage::Closed => Some(statement(&demand, changed_us.unwrap_or(at_us))?),
            _ => None,
        },
        scores: demand.scores.into_iter().filter_map(score).collect(),
        kind: demand.kind,
        team: demand.team,
        agent: demand.agent,
        traceparent: entry.traceparent.clone(),
    })
}

/// Numbers that are none would spoil every report they are part of.
fn score(score: routing::UsedScore) -> Option<UsedScore> {
    let probability = score.probability;
    let sound = probability.is_none_or(|probability| (0.0..=1.0).contains(&probability));
    if !score.value.is_finite() || !sound {
        tracing::warn!(event = "score_ignored", scorer = score.scorer);
        return None;
    }
    Some(UsedScore {
        scorer: score.scorer,
        scorer_version: score.scorer_version,
        value: score.value,
        probability,
    })
}

fn statement(demand: &routing::Demand, event_us: i64) -> Result<Statement, &'static str> {
    Ok(Statement {
        result: OutcomeResult::from_number(demand.result).ok_or("closed without a result")?,
        value: demand.value.as_ref().and_then(value),
        reason: demand.result_reason.clone(),
        event_us,
    })
}

/// The outcome counts even if the amount is none that can be kept.
fn value(money: &Money) -> Option<Value> {
    if money.currency_code.is_empty() {
        return None;
    }
    let value = money::value(money);
    if value.is_err() {
        tracing::warn!(event = "value_ignored");
    }
    value.ok()
}

/// The entries of labels.
pub(crate) fn labels(news: &[News]) -> Vec<Entry> {
    let entry = |news: &News| {
        label(news.key, &news.demand_kind, news.label).traced(news.traceparent.clone())
    };
    news.iter().map(entry).collect()
}

fn label(key: Key, demand_kind: &str, label: Label) -> Entry {
    let recorded = feedback::LabelRecorded {
        use_id: Bytes::copy_from_slice(key.demand.as_bytes()),
        positive: label.positive,
        demand_kind: demand_kind.to_owned(),
        event_time: Some(time::timestamp(label.event_us)),
    };
    let kind = feedback::EventKind::LabelRecorded as i16;
    let data = recorded.encode_to_vec().into();
    Entry::new(key.tenant, key.demand.uuid(), kind, label.version, data)
}

/// The labels in force, for consumers that cannot follow the log from where they are.
#[derive(Debug)]
pub(crate) struct Labels(pub(crate) Database);

impl SnapshotSource for Labels {
    async fn snapshot(
        &self,
        shards: Shards,
        after: Option<SnapshotKey>,
        limit: usize,
    ) -> Result<Vec<Entry>, Error> {
        let after =
            after.map_or((Uuid::nil(), Uuid::nil()), |(tenant, subject)| (tenant.uuid(), subject));
        let shards = shards.numbers().collect();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let page = crate::store::label::page(&self.0, shards, after, limit).await?;
        Ok(page.into_iter().map(|(key, kind, told)| label(key, &kind, told)).collect())
    }
}
