//! What is there, against what was acknowledged: nothing lost, nothing doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use contracts::feedback::v1 as feedback;
use contracts::feedback::v1::feedback_service_client::FeedbackServiceClient;
use contracts::identity::v1 as identity;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::profile::v1 as profile;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use contracts::routing::v1 as routing;
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::scoring::v1 as scoring;
use contracts::scoring::v1::scoring_service_client::ScoringServiceClient;
use rapport::client::Client;

use super::demands::{AGENTS, MODEL};
use super::events::user_id;
use super::ledger::{Acknowledged, Ledger, Person};
use super::report::Report;

/// How long the feeds may take to bring everything to where it belongs.
const SETTLE_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);
const PAGE: i32 = 1_000;

/// Checks everything.
///
/// # Errors
/// When a call fails.
pub async fn run(client: &Client, ledger: &Ledger, report: &mut Report) -> anyhow::Result<()> {
    report.expect_none("answers that must not be", &ledger.all_wrong());
    people(client, ledger, report).await?;
    let demands = ledger.demands();
    let found = demands_of(client, &demands, report).await?;
    loads(client, &found, report).await?;
    labels(client, &found, report).await
}

/// Each person is one customer whose timeline and counts are the acknowledged events.
async fn people(client: &Client, ledger: &Ledger, report: &mut Report) -> anyhow::Result<()> {
    let people = ledger.people();
    let (mut lost, mut doubled, mut miscounted) = (Vec::new(), Vec::new(), Vec::new());
    let mut total = 0;
    for (number, person) in &people {
        total += person.events.len();
        let count = i64::try_from(person.events.len())?;
        let profile = settled_profile(client, *number, person).await?;
        if profile.total_events != count {
            miscounted.push(format!(
                "person {number}: {} instead of {count} events",
                profile.total_events
            ));
        }
        let mut seen = BTreeSet::new();
        for message_id in timeline(client, &profile.customer_id).await? {
            if !seen.insert(message_id.clone()) || !person.events.contains(&message_id) {
                doubled.push(message_id);
            }
        }
        lost.extend(person.events.difference(&seen).cloned());
    }
    report.note("acknowledged events", total);
    report.expect_none("events lost", &lost);
    report.expect_none("events doubled or of somebody else", &doubled);
    report.expect_none("profiles that count otherwise", &miscounted);
    Ok(())
}

/// The profile once it has all evidence, or as it is at the end of the patience.
async fn settled_profile(
    client: &Client,
    number: usize,
    person: &Person,
) -> anyhow::Result<profile::Profile> {
    let mut identity = IdentityServiceClient::new(client.service());
    let mut service = ProfileServiceClient::new(client.service());
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let key = identity::get_customer_request::Key::Identifier(user_id(number));
        let request = identity::GetCustomerRequest { key: Some(key) };
        let customer = identity.get_customer(request).await?.into_inner().customer;
        let customer = customer.context("a customer")?;
        let request =
            profile::GetProfileRequest { customer_id: customer.customer_id, ..Default::default() };
        let profile = service.get_profile(request).await?.into_inner().profile;
        let profile = profile.context("a profile")?;
        let is_whole = usize::try_from(profile.total_events)? == person.events.len();
        if is_whole || Instant::now() > deadline {
            return Ok(profile);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn timeline(client: &Client, customer_id: &str) -> anyhow::Result<Vec<String>> {
    let mut service = ProfileServiceClient::new(client.service());
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let customer_id = customer_id.to_owned();
        let request = profile::GetTimelineRequest { customer_id, page_size: PAGE, page_token };
        let page = service.get_timeline(request).await?.into_inner();
        found.extend(page.events.into_iter().filter_map(|one| Some(one.event?.message_id)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}

/// Every acknowledged demand exists, was assigned once, and is where it was said to be; there
/// are no others.
async fn demands_of(
    client: &Client,
    demands: &[Acknowledged],
    report: &mut Report,
) -> anyhow::Result<Vec<routing::Demand>> {
    let mut service = RoutingServiceClient::new(client.service());
    let (mut lost, mut wrong) = (Vec::new(), Vec::new());
    for demand in demands {
        let request = routing::GetDemandRequest { demand_id: demand.demand_id.clone() };
        match service.get_demand(request).await {
            Ok(found) => wrong.extend(differs(demand, found.into_inner())),
            Err(status) => lost.push(format!("{}: {status}", demand.demand_id)),
        }
    }
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            routing::ListDemandsRequest { page_size: PAGE, page_token, ..Default::default() };
        let page = service.list_demands(request).await?.into_inner();
        found.extend(page.demands);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    report.note("acknowledged demands", demands.len());
    report.expect_none("demands lost", &lost);
    report.expect_none("demands not where they were said to be, or assigned twice", &wrong);
    report.expect_equal("no demand besides these", &demands.len(), &found.len());
    Ok(found)
}

fn differs(expected: &Acknowledged, found: routing::GetDemandResponse) -> Option<String> {
    let demand = found.demand.unwrap_or_default();
    // By cause: a reminder is a transition too, and leaves the state as it is.
    let times = |cause: &str| found.history.iter().filter(|it| it.cause == cause).count();
    let accepted = times("accepted");
    let closed = times("closed");
    let state = match expected.result {
        Some(_) => routing::DemandState::Closed,
        None => routing::DemandState::Accepted,
    };
    let versions: Vec<i64> = found.history.iter().map(|transition| transition.version).collect();
    let is_counted = versions.iter().zip(1..).all(|(version, expected)| *version == expected);
    let is_right = demand.state() == state
        && demand.result() == expected.result.unwrap_or_default()
        && accepted == 1
        && closed == usize::from(expected.result.is_some())
        && is_counted
        && found.history.iter().any(|transition| {
            transition.state() == routing::DemandState::Accepted
                && transition.agent == expected.agent
        });
    (!is_right).then(|| {
        format!(
            "{}: {:?} {:?}, accepted {accepted}×, closed {closed}×, versions {versions:?}",
            expected.demand_id,
            demand.state(),
            demand.result()
        )
    })
}

/// An agent's load is the number of demands that are with the agent, and within capacity.
async fn loads(
    client: &Client,
    demands: &[routing::Demand],
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut service = RoutingServiceClient::new(client.service());
    let mut counted: BTreeMap<&str, i32> = BTreeMap::new();
    for demand in demands {
        let is_with_agent = matches!(
            demand.state(),
            routing::DemandState::Offered
                | routing::DemandState::Accepted
                | routing::DemandState::InProgress
        );
        if is_with_agent {
            *counted.entry(&demand.agent).or_default() += 1;
        }
    }
    let mut wrong = Vec::new();
    for name in AGENTS {
        let request = routing::GetAgentRequest { name: name.to_owned() };
        let agent = service.get_agent(request).await?.into_inner().agent.context("the agent")?;
        let count = counted.get(name).copied().unwrap_or_default();
        if agent.load != count || agent.load > agent.capacity {
            wrong.push(format!("{name}: load {} of {}, has {count}", agent.load, agent.capacity));
        }
    }
    report.expect_none("agents whose load is not what they have", &wrong);
    Ok(())
}

/// One label per closed demand that was scored, each learned once.
async fn labels(
    client: &Client,
    demands: &[routing::Demand],
    report: &mut Report,
) -> anyhow::Result<()> {
    let closed: Vec<&routing::Demand> =
        demands.iter().filter(|demand| demand.state() == routing::DemandState::Closed).collect();
    let was_scored = |demand: &&&routing::Demand| demand.scores.iter().any(|s| s.scorer == MODEL);
    let is_won = |demand: &&&routing::Demand| demand.result() == routing::DemandResult::Won;
    let scored = i64::try_from(closed.iter().filter(was_scored).count())?;
    let won = i64::try_from(closed.iter().filter(was_scored).filter(is_won).count())?;
    let mut scoring = ScoringServiceClient::new(client.service());
    let deadline = Instant::now() + SETTLE_LIMIT;
    let learned = loop {
        let models = scoring.list_models(scoring::ListModelsRequest::default()).await?;
        let model = models.into_inner().models.into_iter().next().context("the model")?;
        let learned = (model.labels_learned, model.positive_labels, model.labels_waiting);
        if learned == (scored, won, 0) || Instant::now() > deadline {
            break learned;
        }
        tokio::time::sleep(POLL).await;
    };
    report.note("closed demands that were scored", format!("{scored} of {}", closed.len()));
    report.expect_equal("labels learned, positive, waiting", &(scored, won, 0), &learned);

    let mut service = FeedbackServiceClient::new(client.service());
    let request = feedback::GetFunnelRequest::default();
    let funnel = service.get_funnel(request).await?.into_inner();
    let reached = |name: &str| {
        let stage = funnel.stages.iter().find(|stage| stage.name == name);
        stage.map_or(-1, |stage| stage.reached)
    };
    let expected = (i64::try_from(demands.len())?, i64::try_from(closed.len())?);
    report.expect_equal(
        "the funnel counts created and closed demands",
        &expected,
        &(reached("created"), reached("closed")),
    );
    let request =
        feedback::GetModelReportRequest { scorer: MODEL.to_owned(), ..Default::default() };
    let quality = service.get_model_report(request).await?.into_inner();
    report.expect_equal("the model report counts the labels", &scored, &quality.labels);
    Ok(())
}
