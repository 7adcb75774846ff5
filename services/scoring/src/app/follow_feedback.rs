//! Following feedback's feed: outcomes become labels.
//!
//! A corrected outcome whose polarity changed is another label, learned after the first; one
//! that only repeats or refines the outcome is none.

use std::collections::HashMap;
use std::sync::Arc;

use contracts::feedback::v1::{EventKind, LabelRecorded};
use feed::{Entry, HandleError, Handler};
use kernel::{TenantId, UseId};
use prost::Message;
use sqlx::PgConnection;

use super::App;
use crate::store::{self, Label};

/// Applies entries of feedback's feed.
pub(crate) struct FeedbackHandler(pub(crate) Arc<App>);

impl Handler for FeedbackHandler {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        let recorded = EventKind::LabelRecorded as i16;
        let mut labels = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| entry.kind == recorded) {
            labels.push(label(entry)?);
        }
        if labels.is_empty() {
            return Ok(());
        }
        let uses: Vec<_> = labels.iter().map(|label| (label.tenant, label.use_id)).collect();
        let latest = store::latest_of(connection, &uses).await?;
        store::append_labels(connection, &new_ones(labels, latest)).await?;
        Ok(())
    }

    fn committed(&self, _: &[Entry]) {
        self.0.labels.notify_one();
    }
}

fn label(entry: &Entry) -> Result<Label, HandleError> {
    let malformed = |what: &str| HandleError::Poison(format!("{what} is malformed"));
    let message = LabelRecorded::decode(entry.data.clone()).map_err(|_| malformed("data"))?;
    let time = message.event_time.unwrap_or_default();
    Ok(Label {
        tenant: entry.tenant,
        use_id: UseId::from_slice(&message.use_id).map_err(|_| malformed("use_id"))?,
        version: entry.version,
        positive: message.positive,
        demand_kind: message.demand_kind,
        event_us: time
            .seconds
            .saturating_mul(1_000_000)
            .saturating_add(i64::from(time.nanos / 1_000)),
    })
}

/// Those that say something new, given the latest (version, positive) of each use.
fn new_ones(labels: Vec<Label>, mut latest: HashMap<(TenantId, UseId), (i64, bool)>) -> Vec<Label> {
    let mut new = Vec::with_capacity(labels.len());
    for label in labels {
        let known = latest.get(&(label.tenant, label.use_id));
        let says_nothing = known.is_some_and(|(version, positive)| {
            label.version <= *version || label.positive == *positive
        });
        if !says_nothing {
            latest.insert((label.tenant, label.use_id), (label.version, label.positive));
            new.push(label);
        }
    }
    new
}
