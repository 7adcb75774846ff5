//! From cause to effect on a stream, at a steady rate: each call is made at its appointed time,
//! whatever became of the ones before.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::profile::v1::{EventStatus, IngestEventsRequest};
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::routing::v1::{CreateDemandRequest, OfferState, WatchOffersRequest};
use contracts::scoring::v1::WatchScoresRequest;
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use tokio::task::{AbortHandle, JoinSet};

use super::ingest::Known;
use super::load::{INTEREST, Population, Random};
use super::process::{Connection, Process, Token, is_refusal};

/// Calls per second.
pub(crate) const RATE: u32 = 500;
const CONNECTIONS: usize = 4;
/// The first second is not measured.
const LEAD_IN: usize = RATE as usize;
const PATIENCE: Duration = Duration::from_secs(15);

/// What the stream showed when: (subject, version).
type Sight = (String, i64, Instant);

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Latencies {
    /// From the acknowledgement to the sight of the effect, in milliseconds.
    pub(crate) effect_ms: Vec<f64>,
    /// From the appointed time of the call to the sight of the effect.
    pub(crate) whole_ms: Vec<f64>,
    /// Calls that the server did not take because it had too much to do.
    pub(crate) refused: usize,
}

/// A call that was answered.
struct Cause {
    subject: String,
    version: i64,
    appointed: Instant,
    acknowledged: Instant,
}

/// Event acknowledged → the customer's new score on WatchScores. Each event is of another of
/// `people`, and the first of its name for that customer, so each moves a score.
pub(crate) async fn scores(
    process: &Process,
    token: &Token,
    population: &Arc<Population>,
    people: &[usize],
) -> anyhow::Result<Latencies> {
    let request = WatchScoresRequest::default();
    let mut scoring = ScoringServiceClient::new(process.connect(token).await?);
    let mut answers = scoring.watch_scores(request).await?.into_inner();
    let sights = Sights::default();
    let seen = sights.clone();
    let watching = watch(async move {
        while let Some(answer) = answers.message().await? {
            if let Some(change) = answer.change {
                seen.add(change.customer_id, change.profile_version);
            }
        }
        bail!("the stream of scores ended")
    });
    let population = Arc::clone(population);
    let causes = at_a_steady_rate(process, token, people, move |connection, person| {
        let event = population.event(person, INTEREST, &mut Random::new(person as u64 + 400_000));
        async move {
            let mut profile = ProfileServiceClient::new(connection);
            let request = IngestEventsRequest { events: vec![event] };
            let results = profile.ingest_events(request).await?.into_inner().results;
            let result = results.into_iter().next().context("no result")?;
            ensure!(result.status() == EventStatus::Accepted, "an event was refused");
            Ok((result.customer_id, result.profile_version))
        }
    })
    .await?;
    sights.join(causes, &watching).await
}

/// Demand created → its offer on WatchOffers.
pub(crate) async fn offers(
    process: &Process,
    token: &Token,
    customers: &[Known],
) -> anyhow::Result<Latencies> {
    let mut routing = RoutingServiceClient::new(process.connect(token).await?);
    let mut answers = routing.watch_offers(WatchOffersRequest::default()).await?.into_inner();
    let sights = Sights::default();
    let seen = sights.clone();
    let watching = watch(async move {
        while let Some(answer) = answers.message().await? {
            let Some(offer) = answer.offer else { continue };
            if let (OfferState::Pending, Some(demand)) = (offer.state(), offer.demand) {
                seen.add(demand.demand_id, 0);
            }
        }
        bail!("the stream of offers ended")
    });
    let causes = at_a_steady_rate(process, token, customers, |connection, known| async move {
        let mut routing = RoutingServiceClient::new(connection);
        let request = CreateDemandRequest {
            customer_id: known.customer_id,
            kind: "lead".to_owned(),
            ..CreateDemandRequest::default()
        };
        let demand = routing.create_demand(request).await?.into_inner().demand;
        Ok((demand.context("no demand")?.demand_id, 0))
    })
    .await?;
    sights.join(causes, &watching).await
}

/// What became of all calls.
#[derive(Default)]
struct Causes {
    taken: Vec<Cause>,
    refused: usize,
}

/// A task that ends with its handle.
struct Watching(tokio::task::JoinHandle<anyhow::Result<()>>, AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.1.abort();
    }
}

fn watch(work: impl Future<Output = anyhow::Result<()>> + Send + 'static) -> Watching {
    let task = tokio::spawn(work);
    let abort = task.abort_handle();
    Watching(task, abort)
}

/// Makes a call for each subject, one every 1 ÷ [`RATE`] seconds.
async fn at_a_steady_rate<S, F>(
    process: &Process,
    token: &Token,
    subjects: &[S],
    call: impl Fn(Connection, S) -> F,
) -> anyhow::Result<Causes>
where
    S: Clone,
    F: Future<Output = anyhow::Result<(String, i64)>> + Send + 'static,
{
    let connections = process.connections(CONNECTIONS, token).await?;
    let begin = Instant::now();
    let mut calls = JoinSet::new();
    for (number, subject) in subjects.iter().enumerate() {
        let appointed = begin + Duration::from_secs(1) * u32::try_from(number)? / RATE;
        tokio::time::sleep_until(appointed.into()).await;
        let call = call(connections[number % CONNECTIONS].clone(), subject.clone());
        calls.spawn(async move {
            let (subject, version) = call.await?;
            let acknowledged = Instant::now();
            anyhow::Ok((number, Cause { subject, version, appointed, acknowledged }))
        });
    }
    let mut causes = Causes::default();
    while let Some(call) = calls.join_next().await {
        match call? {
            Ok((number, cause)) if number >= LEAD_IN => causes.taken.push(cause),
            Ok(_) => {}
            Err(error) if is_refusal(&error) => causes.refused += 1,
            Err(error) => return Err(error),
        }
    }
    ensure!(!causes.taken.is_empty(), "all {} calls were refused", causes.refused);
    Ok(causes)
}

#[derive(Debug, Clone, Default)]
struct Sights(Arc<Mutex<Vec<Sight>>>);

impl Sights {
    fn add(&self, subject: String, version: i64) {
        let sight = (subject, version, Instant::now());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sight);
    }

    /// Waits until each cause has its effect, then says how long each took.
    async fn join(self, causes: Causes, watching: &Watching) -> anyhow::Result<Latencies> {
        let limit = Instant::now() + PATIENCE;
        let Causes { taken: causes, refused } = causes;
        loop {
            let first = self.first_sights(&causes);
            let missing = first.iter().filter(|sight| sight.is_none()).count();
            if missing == 0 {
                return Ok(Latencies { refused, ..latencies(&causes, &first) });
            }
            ensure!(!watching.0.is_finished(), "the stream ended early");
            ensure!(
                Instant::now() < limit,
                "{missing} of {} effects were not seen within {} s",
                causes.len(),
                PATIENCE.as_secs()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// When the effect of each cause was first seen.
    fn first_sights(&self, causes: &[Cause]) -> Vec<Option<Instant>> {
        let sights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_subject: HashMap<&str, Vec<(i64, Instant)>> = HashMap::new();
        for (subject, version, at) in sights.iter() {
            by_subject.entry(subject).or_default().push((*version, *at));
        }
        let first = |cause: &Cause| {
            let seen = by_subject.get(cause.subject.as_str())?;
            seen.iter().find(|(version, _)| *version >= cause.version).map(|(_, at)| *at)
        };
        causes.iter().map(first).collect()
    }
}

/// An effect that is seen before its acknowledgement took no time.
fn latencies(causes: &[Cause], sights: &[Option<Instant>]) -> Latencies {
    let millis =
        |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    let pairs = || causes.iter().zip(sights).filter_map(|(cause, at)| Some((cause, (*at)?)));
    Latencies {
        effect_ms: pairs().map(|(cause, at)| millis(cause.acknowledged, at)).collect(),
        whole_ms: pairs().map(|(cause, at)| millis(cause.appointed, at)).collect(),
        refused: 0,
    }
}
