//! Second act: every closed demand teaches the model that scores the next one.
//!
//! Test-then-train on real calls in the order of time: a call's attributes are ingested,
//! the call becomes a demand that is scored as of its own time, routed, worked on and
//! closed with what really came of it. All three scorers see the same rows at the same
//! moment; the report reads their quality back from feedback.

mod told;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contracts::common::v1::Identifier;
use contracts::feedback::v1 as feedback;
use contracts::feedback::v1::feedback_service_client::FeedbackServiceClient;
use contracts::profile::v1 as profile;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::routing::v1 as routing;
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::scoring::v1 as scoring;
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use futures::StreamExt as _;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use tokio::sync::{Mutex, oneshot};
use uuid::Uuid;

use super::data::Call;
use super::recognition::timestamp;
use super::report;
use crate::client::{Client, patiently};

/// How many calls are on their way at the same time.
const IN_FLIGHT: usize = 48;
const CHUNKS: usize = 8;
const AGENTS: [(&str, [&str; 6]); 3] = [
    ("north", ["ada", "ben", "chen", "dana", "emil", "fang"]),
    ("south", ["gita", "hugo", "ines", "jun", "kofi", "lin"]),
    ("digital", ["mei", "nora", "omar", "pia", "qing", "rui"]),
];

/// The scorers that are compared.
pub const SCORERS: [&str; 3] = ["term-deposit", "term-deposit-frozen", "term-deposit-rules"];

/// What the act found.
#[derive(Debug)]
pub struct Learning {
    calls: u64,
    thinned_from: u64,
    seconds: f64,
    chunks: Vec<Chunk>,
    funnel: feedback::GetFunnelResponse,
    explained: Option<scoring::ExplainScoreResponse>,
}

#[derive(Debug)]
struct Chunk {
    begins: String,
    labels: i64,
    positives: i64,
    /// One per scorer, in the order of [`SCORERS`].
    reports: Vec<feedback::GetModelReportResponse>,
}

/// The offer's id and its agent.
type Offer = (String, String);

/// Where offers from the stream meet the calls that wait for them, by demand.
#[derive(Default)]
struct Desk {
    waiting: HashMap<String, oneshot::Sender<Offer>>,
    early: HashMap<String, Offer>,
}

type Waiting = Arc<Mutex<Desk>>;

/// Runs the calls.
///
/// # Errors
/// When a call fails.
pub async fn run(client: &Client, calls: &[Call], all: usize) -> anyhow::Result<Learning> {
    hire(client).await?;
    let waiting = Waiting::default();
    let offers = tokio::spawn(watch_offers(client.clone(), Arc::clone(&waiting)));
    let started = std::time::Instant::now();
    let bar = report::progress(calls.len(), "calls are scored, routed, closed");
    let size = calls.len().div_ceil(CHUNKS);
    for (number, chunk) in calls.chunks(size).enumerate() {
        let results = futures::stream::iter(chunk.iter().map(|call| {
            let (client, waiting, bar) = (client.clone(), Arc::clone(&waiting), bar.clone());
            async move {
                let done = handle(&client, &waiting, call).await;
                bar.inc(1);
                done.with_context(|| format!("call {}", call.row))
            }
        }))
        .buffered(IN_FLIGHT)
        .collect::<Vec<_>>()
        .await;
        results.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
        if number == 0 {
            freeze(client, chunk.len()).await?;
        }
    }
    bar.finish();
    let seconds = started.elapsed().as_secs_f64();
    labelled(client, calls.len()).await?;
    let chunks = reports(client, calls, size).await?;
    let mut service = FeedbackServiceClient::new(client.service());
    let funnel = service.get_funnel(feedback::GetFunnelRequest::default()).await?.into_inner();
    let explained = explain_last(client).await?;
    offers.abort();
    Ok(Learning {
        calls: calls.len() as u64,
        thinned_from: all as u64,
        seconds,
        chunks,
        funnel,
        explained,
    })
}

/// Saves the agents and brings them online.
async fn hire(client: &Client) -> anyhow::Result<()> {
    let mut service = RoutingServiceClient::new(client.service());
    for (team, names) in AGENTS {
        for name in names {
            let agent = routing::Agent {
                name: name.to_owned(),
                team: team.to_owned(),
                capacity: 4,
                ..Default::default()
            };
            let request = routing::UpsertAgentRequest { agent: Some(agent), ..Default::default() };
            service.upsert_agent(request).await?;
            let online = routing::SetPresenceRequest {
                agent: name.to_owned(),
                presence: routing::Presence::Online.into(),
            };
            service.set_presence(online).await?;
        }
    }
    Ok(())
}

/// One stream for all agents, as a team's desktop would hold it; reconnects with the
/// resume token.
async fn watch_offers(client: Client, waiting: Waiting) {
    let mut resume_token = String::new();
    loop {
        let mut service = RoutingServiceClient::new(client.service());
        let request = routing::WatchOffersRequest {
            resume_token: resume_token.clone(),
            ..Default::default()
        };
        let Ok(stream) = service.watch_offers(request).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let mut stream = stream.into_inner();
        while let Ok(Some(answer)) = stream.message().await {
            resume_token = answer.resume_token;
            let Some(offer) = answer.offer else { continue };
            if offer.state() != routing::OfferState::Pending {
                continue;
            }
            let Some(demand) = offer.demand else { continue };
            waiting.lock().await.hand_over(demand.demand_id, (offer.offer_id, offer.agent));
        }
    }
}

impl Desk {
    /// Gives an offer to the call that waits for it, or keeps it: the stream may be faster
    /// than the answer to CreateDemand.
    fn hand_over(&mut self, demand: String, offer: Offer) {
        match self.waiting.remove(&demand) {
            Some(sender) => drop(sender.send(offer)),
            None => drop(self.early.insert(demand, offer)),
        }
    }

    fn wait_for(&mut self, demand: &str) -> oneshot::Receiver<Offer> {
        let (sender, receiver) = oneshot::channel();
        match self.early.remove(demand) {
            Some(offer) => drop(sender.send(offer)),
            None => drop(self.waiting.insert(demand.to_owned(), sender)),
        }
        receiver
    }
}

async fn handle(client: &Client, waiting: &Waiting, call: &Call) -> anyhow::Result<()> {
    let (customer_id, profile_version) = ingest(client, call).await?;
    let mut service = RoutingServiceClient::new(client.service());
    let request = routing::CreateDemandRequest {
        customer_id,
        kind: "term-deposit".to_owned(),
        event_time: Some(timestamp(call.time)),
        at_least_profile_version: profile_version,
        request_id: Uuid::new_v4().to_string(),
        ..Default::default()
    };
    let demand = patiently(async || service.create_demand(request.clone()).await).await?.demand;
    let demand_id = demand.context("a demand")?.demand_id;
    let (offer_id, agent) = offer_for(waiting, &demand_id).await?;
    let accept = routing::AcceptOfferRequest { offer_id, agent: agent.clone() };
    patiently(async || service.accept_offer(accept.clone()).await).await?;
    let start = routing::StartWorkRequest { demand_id: demand_id.clone(), agent: agent.clone() };
    patiently(async || service.start_work(start.clone()).await).await?;
    let result =
        if call.subscribed { routing::DemandResult::Won } else { routing::DemandResult::Lost };
    let close = routing::CloseDemandRequest {
        demand_id,
        agent,
        result: result.into(),
        event_time: Some(timestamp(call.time)),
        ..Default::default()
    };
    patiently(async || service.close_demand(close.clone()).await).await?;
    Ok(())
}

async fn ingest(client: &Client, call: &Call) -> anyhow::Result<(String, i64)> {
    let text = |(name, value): &(&'static str, String)| {
        ((*name).to_owned(), Value { kind: Some(Kind::StringValue(value.clone())) })
    };
    let number = |(name, value): &(&'static str, f64)| {
        ((*name).to_owned(), Value { kind: Some(Kind::NumberValue(*value)) })
    };
    let fields = call.words.iter().map(text).chain(call.numbers.iter().map(number)).collect();
    let event = profile::Event {
        message_id: format!("call:{}", call.row),
        r#type: profile::EventType::Identify.into(),
        identifiers: vec![Identifier {
            namespace: "crm_id".to_owned(),
            value: format!("bank:{}", call.row),
        }],
        event_time: Some(timestamp(call.time)),
        traits: Some(Struct { fields }),
        source: "bank".to_owned(),
        ..Default::default()
    };
    let mut service = ProfileServiceClient::new(client.service());
    let request = profile::IngestEventsRequest { events: vec![event] };
    let results = patiently(async || service.ingest_events(request.clone()).await).await?.results;
    let result = results.into_iter().next().context("a result")?;
    super::all_accepted(std::slice::from_ref(&result))?;
    Ok((result.customer_id, result.profile_version))
}

async fn offer_for(waiting: &Waiting, demand_id: &str) -> anyhow::Result<Offer> {
    let receiver = waiting.lock().await.wait_for(demand_id);
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, receiver)
        .await
        .context("no offer within 60 s")?
        .map_err(Into::into)
}

/// Freezes the twin once it has learned the first chunk.
async fn freeze(client: &Client, labels: usize) -> anyhow::Result<()> {
    let mut service = ScoringServiceClient::new(client.service());
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let request = scoring::ListModelsRequest::default();
        let models = service.list_models(request).await?.into_inner().models;
        let twin = models
            .into_iter()
            .find(|model| model.policy.as_ref().is_some_and(|policy| policy.name == SCORERS[1]))
            .context("the twin model")?;
        if twin.labels_learned >= labels as i64 {
            let mut policy = twin.policy.context("its policy")?;
            policy.learning = scoring::LearningMode::Frozen.into();
            policy.meta = None;
            let request =
                scoring::UpsertModelPolicyRequest { policy: Some(policy), ..Default::default() };
            service.upsert_model_policy(request).await?;
            return Ok(());
        }
        anyhow::ensure!(std::time::Instant::now() < deadline, "the labels do not arrive");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn reports(client: &Client, calls: &[Call], size: usize) -> anyhow::Result<Vec<Chunk>> {
    let mut service = FeedbackServiceClient::new(client.service());
    let mut chunks = Vec::new();
    let starts: Vec<_> = calls.chunks(size).map(|chunk| chunk[0].time).collect();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).map(|next| timestamp(*next));
        let mut reports = Vec::new();
        for scorer in SCORERS {
            let request = feedback::GetModelReportRequest {
                scorer: scorer.to_owned(),
                start_time: Some(timestamp(*start)),
                end_time: end,
                ..Default::default()
            };
            let report =
                patiently(async || service.get_model_report(request.clone()).await).await?;
            reports.push(report);
        }
        chunks.push(Chunk {
            begins: start.strftime("%b %Y").to_string(),
            labels: reports[0].labels,
            positives: reports[0].positives,
            reports,
        });
    }
    Ok(chunks)
}

/// Waits until feedback has joined every outcome to its scores: closing a demand returns
/// before the change log has brought it there.
async fn labelled(client: &Client, calls: usize) -> anyhow::Result<()> {
    let mut service = FeedbackServiceClient::new(client.service());
    let request =
        feedback::GetModelReportRequest { scorer: SCORERS[0].to_owned(), ..Default::default() };
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let report = patiently(async || service.get_model_report(request.clone()).await).await?;
        if report.labels >= calls as i64 {
            return Ok(());
        }
        let arrived = report.labels;
        anyhow::ensure!(
            std::time::Instant::now() < deadline,
            "only {arrived} of {calls} outcomes arrived within a minute"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn explain_last(client: &Client) -> anyhow::Result<Option<scoring::ExplainScoreResponse>> {
    let mut service = RoutingServiceClient::new(client.service());
    let request = routing::ListDemandsRequest { page_size: 200, ..Default::default() };
    let demands = service.list_demands(request).await?.into_inner().demands;
    let won = demands.iter().find(|demand| demand.result() == routing::DemandResult::Won);
    let Some(demand) = won.or(demands.first()) else { return Ok(None) };
    let request = scoring::ExplainScoreRequest {
        scorer: SCORERS[0].to_owned(),
        subject: Some(scoring::explain_score_request::Subject::UseId(demand.demand_id.clone())),
        as_of_time: None,
    };
    let mut service = ScoringServiceClient::new(client.service());
    Ok(Some(service.explain_score(request).await?.into_inner()))
}
