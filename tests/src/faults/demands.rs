//! Drivers that carry demands from creation to their end, each step until it is acknowledged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use contracts::routing::v1 as routing;
use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use prost_reflect::DescriptorPool;
use rapport::client::{Client, WithToken};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};
use uuid::Uuid;

use super::events::PEOPLE;
use super::ledger::{Acknowledged, Ledger};

const DRIVERS: usize = 8;
/// Every so many demands one is accepted and kept: somebody's load is not zero at the end.
const KEPT_EVERY: usize = 10;
const MOST_KEPT: usize = 5;
const PAUSE: Duration = Duration::from_millis(20);
const CALL_LIMIT: Duration = Duration::from_secs(6);

/// The scorer whose labels are counted.
pub const MODEL: &str = "will-buy";

/// The agents.
pub const AGENTS: [&str; 4] = ["ada", "ben", "chen", "dana"];

const HOUSE: &str = "
kind: ModelPolicy
name: will-buy
features: [events.total, orders.count]
learning: on
---
kind: Team
name: sales
---
kind: RoutingPolicy
name: default
offer_timeout: 30s
";

type Service = RoutingServiceClient<InterceptedService<Channel, WithToken>>;

/// Saves the configuration and brings the agents online.
///
/// # Errors
/// When a call fails.
pub async fn set_up(client: &Client) -> anyhow::Result<()> {
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS)?;
    let told = |found: Vec<rapport::apply::Finding>| {
        anyhow::anyhow!("{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    let file = std::path::Path::new("faults.yaml");
    let resources = rapport::apply::read_text(file, HOUSE, &pool).map_err(told)?;
    rapport::apply::apply(&mut client.clone(), &pool, &resources, false).await.map_err(told)?;
    let mut service = RoutingServiceClient::new(client.service());
    for name in AGENTS {
        let agent = routing::Agent {
            name: name.to_owned(),
            team: "sales".to_owned(),
            capacity: 10,
            ..Default::default()
        };
        let request = routing::UpsertAgentRequest { agent: Some(agent), ..Default::default() };
        service.upsert_agent(request).await.context("saving an agent")?;
        let online = routing::SetPresenceRequest {
            agent: name.to_owned(),
            presence: routing::Presence::Online.into(),
        };
        service.set_presence(online).await.context("bringing an agent online")?;
    }
    Ok(())
}

/// Starts the drivers.
pub fn spawn(client: &Client, ledger: &Arc<Ledger>, stop: &CancellationToken, tasks: &TaskTracker) {
    for driver in 0..DRIVERS {
        let worker = Worker {
            service: RoutingServiceClient::new(client.service()),
            ledger: Arc::clone(ledger),
        };
        let stop = stop.clone();
        tasks.spawn(async move {
            let mut number = driver;
            while !stop.is_cancelled() {
                let known = worker.ledger.customer_of(number % PEOPLE).filter(|id| !id.is_empty());
                let Some(customer_id) = known else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                worker.carry(customer_id, number).await;
                number += DRIVERS;
            }
        });
    }
}

struct Worker {
    service: Service,
    ledger: Arc<Ledger>,
}

impl Worker {
    /// One demand, from creation to its end.
    async fn carry(&self, customer_id: String, number: usize) {
        let request = routing::CreateDemandRequest {
            customer_id,
            kind: "lead".to_owned(),
            request_id: Uuid::new_v4().to_string(),
            ..Default::default()
        };
        let Some(demand_id) = self.create(&request).await else { return };
        if number.is_multiple_of(5) && self.create(&request).await.as_ref() != Some(&demand_id) {
            self.ledger.wrong(format!("a repeated request made another demand than {demand_id}"));
        }
        let agent = self.accept(&demand_id).await;
        let mut done = Acknowledged { demand_id, agent, result: None };
        let is_kept = number.is_multiple_of(KEPT_EVERY) && number / KEPT_EVERY < MOST_KEPT;
        if !is_kept {
            let is_won = number.is_multiple_of(3);
            done.result = Some(self.finish(&done, is_won).await);
        }
        self.ledger.demand(done);
    }

    async fn create(&self, request: &routing::CreateDemandRequest) -> Option<String> {
        let call =
            |mut service: Service, request| async move { service.create_demand(request).await };
        let created = self.until_answered("create", request, call).await?;
        Some(created.demand.unwrap_or_default().demand_id)
    }

    /// Waits for an offer and takes it; one that has gone in the meantime is followed by another.
    async fn accept(&self, demand_id: &str) -> String {
        loop {
            let Some((offer_id, agent)) = self.open_offer(demand_id).await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let request = routing::AcceptOfferRequest { offer_id, agent: agent.clone() };
            let call =
                |mut service: Service, request| async move { service.accept_offer(request).await };
            match self.repeated(&request, call).await {
                Ok(_taken) => return agent,
                // Timed out while the suite was away.
                Err(status) if status.code() == Code::FailedPrecondition => {}
                Err(status) => self.ledger.wrong(format!("accept {demand_id}: {status}")),
            }
        }
    }

    async fn open_offer(&self, demand_id: &str) -> Option<(String, String)> {
        let request = routing::GetDemandRequest { demand_id: demand_id.to_owned() };
        let call = |mut service: Service, request| async move { service.get_demand(request).await };
        let demand = self.until_answered("get", &request, call).await?.demand?;
        if demand.state() != routing::DemandState::Offered {
            return None;
        }
        let request = routing::ExplainDecisionRequest { demand_id: demand_id.to_owned() };
        let call =
            |mut service: Service, request| async move { service.explain_decision(request).await };
        let decision = self.until_answered("explain", &request, call).await?.decisions.pop()?;
        Some((decision.offer_id, decision.agent))
    }

    async fn finish(&self, demand: &Acknowledged, is_won: bool) -> routing::DemandResult {
        let result = if is_won { routing::DemandResult::Won } else { routing::DemandResult::Lost };
        let start = routing::StartWorkRequest {
            demand_id: demand.demand_id.clone(),
            agent: demand.agent.clone(),
        };
        let call = |mut service: Service, request| async move { service.start_work(request).await };
        self.until_answered("start", &start, call).await;
        let close = routing::CloseDemandRequest {
            demand_id: demand.demand_id.clone(),
            agent: demand.agent.clone(),
            result: result.into(),
            ..Default::default()
        };
        let call =
            |mut service: Service, request| async move { service.close_demand(request).await };
        self.until_answered("close", &close, call).await;
        result
    }

    /// The answer; a refusal, which none of these calls deserves, is written down.
    async fn until_answered<R, T, F, A>(&self, what: &str, request: &R, call: F) -> Option<T>
    where
        R: Clone,
        F: Fn(Service, R) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        match self.repeated(request, call).await {
            Ok(answer) => Some(answer),
            Err(status) => {
                self.ledger.wrong(format!("{what}: {status}"));
                None
            }
        }
    }

    /// Repeats what was not acknowledged; an answer that is not about being away is final.
    async fn repeated<R, T, F, A>(&self, request: &R, call: F) -> Result<T, Status>
    where
        R: Clone,
        F: Fn(Service, R) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        loop {
            let called = call(self.service.clone(), request.clone());
            let called = tokio::time::timeout(CALL_LIMIT, called).await;
            match called {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if is_refusal(status.code()) => return Err(status),
                Ok(Err(_)) | Err(_) => self.ledger.repeat(),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether the suite has understood the call and does not want it.
fn is_refusal(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
            | Code::OutOfRange
            | Code::AlreadyExists
    )
}
