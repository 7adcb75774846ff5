//! The routing service of one test, and the words that tests speak to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use contracts::routing::v1::routing_service_client::RoutingServiceClient;
use contracts::routing::v1::*;
use kernel::TenantId;
use server::Peer;
use server::client::{Endpoint, Later};
use server::settings::Layer;
use sqlx::AssertSqlSafe;
use store::Database;
use testkit::{House, TestDatabase};
use tonic::{Status, Streaming};
use tonic_types::StatusExt;
use uuid::Uuid;

/// How long a test waits for what happens in its own time.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// Tests do not wait for minutes.
const SETTINGS: &str = "[routing]
scoring_timeout_ms = 200
rescore_min_ms = 200
retry_min_ms = 200
reoffer_pause_s = 1
lease_ms = 2000";

pub(crate) struct World {
    pub(crate) database: Database,
    pub(crate) endpoint: Endpoint,
    pub(crate) house: House,
    _clone: TestDatabase,
}

impl World {
    /// With scoring away: nobody listens there.
    pub(crate) async fn new() -> Arc<Self> {
        Self::with("", Endpoint::Later(Later::default())).await.shared()
    }

    pub(crate) async fn with(settings: &str, scoring: Endpoint) -> Self {
        let house = House::new(contracts::DESCRIPTORS).unwrap();
        Self::of(house, settings, scoring).await
    }

    pub(crate) async fn of(mut house: House, settings: &str, scoring: Endpoint) -> Self {
        let (clone, database) = house.database("routing", routing::MIGRATIONS).await.unwrap();
        let endpoint = replica(&mut house, &database, settings, scoring).await;
        Self { database, endpoint, house, _clone: clone }
    }

    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// Another replica of the service on the same database.
    pub(crate) async fn replica(&mut self, settings: &str) -> Endpoint {
        let away = Endpoint::Later(Later::default());
        replica(&mut self.house, &self.database, settings, away).await
    }

    /// A client of a tenant that nobody else has.
    pub(crate) fn tenant(&self) -> Client {
        self.client(TenantId::new(Uuid::new_v4()))
    }

    pub(crate) fn client(&self, tenant: TenantId) -> Client {
        self.client_of(&self.endpoint, tenant)
    }

    pub(crate) fn client_of(&self, endpoint: &Endpoint, tenant: TenantId) -> Client {
        Client { tenant, rpc: RoutingServiceClient::new(self.house.peer(endpoint, tenant)) }
    }

    /// Every promise of the service as a query that must find nothing.
    pub(crate) async fn audit(&self) {
        for (promise, sql) in AUDIT {
            let sql = format!("select count(*) from ({sql}) broken");
            let broken: i64 = sqlx::query_scalar(AssertSqlSafe(sql))
                .fetch_one(self.database.pool())
                .await
                .unwrap();
            assert_eq!(broken, 0, "{promise}");
        }
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.database.pool()).await.unwrap()
    }
}

async fn replica(
    house: &mut House,
    database: &Database,
    settings: &str,
    scoring: Endpoint,
) -> Endpoint {
    let deps = routing::Deps {
        database: database.clone(),
        keys: Arc::clone(&house.keys),
        cache: house.cache().await.unwrap(),
        drain: house.drain.clone(),
        peers: routing::Peers { scoring: Peer::new(scoring, house.internal_tokens("routing")) },
    };
    let layers = [Layer::toml("tests", SETTINGS), Layer::toml("test", settings)];
    let config = routing::Config::load(&layers).unwrap();
    let service = routing::build(config, deps, &mut house.registry).await.unwrap();
    house.serve(service.own).unwrap()
}

const AUDIT: &[(&str, &str)] = &[
    (
        "at most one active assignment per demand",
        "select 1 from assignment where active group by tenant_id, demand_id having count(*) > 1",
    ),
    (
        "an assignment is active exactly while its demand is in the hands of an agent",
        "select 1 from demand d left join assignment a
           on a.tenant_id = d.tenant_id and a.demand_id = d.demand_id and a.active
         where (d.state in (3, 4)) <> (a.agent is not null)
            or (a.agent is not null and (a.agent, a.offer_id) <> (d.agent, d.offer_id))",
    ),
    (
        "an offer is pending exactly while its demand is offered",
        "select 1 from demand d left join offer o
           on o.tenant_id = d.tenant_id and o.demand_id = d.demand_id and o.state = 1
         where (d.state = 2) <> (o.agent is not null)
            or (o.agent is not null and (o.agent, o.offer_id) <> (d.agent, d.offer_id))",
    ),
    (
        "load counts pending offers and active assignments",
        "select 1 from agent_state s where load <>
           (select count(*) from offer o
             where o.tenant_id = s.tenant_id and o.agent = s.agent and o.state = 1)
         + (select count(*) from assignment a
             where a.tenant_id = s.tenant_id and a.agent = s.agent and a.active)",
    ),
    ("nobody is over capacity", "select 1 from agent_state where load > capacity"),
    (
        "a demand that is not closed has a next action",
        "select 1 from demand where state <> 5 and next_action_us is null",
    ),
    (
        "the state is the fold of the transitions",
        "select 1 from demand d cross join lateral (
            select count(*) n, (array_agg(t.state order by t.version desc))[1] last
            from transition t where t.tenant_id = d.tenant_id and t.demand_id = d.demand_id) t
         where t.n <> d.version or t.last <> d.state",
    ),
    (
        "each transition is told once",
        "select 1 from (select count(*) n from feed) f, (select count(*) n from transition) t
         where f.n <> t.n",
    ),
    (
        "each offer has its decision",
        "select 1 from offer o where not exists (select from decision d
            where d.tenant_id = o.tenant_id and d.offer_id = o.offer_id and d.agent = o.agent)",
    ),
];

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) tenant: TenantId,
    pub(crate) rpc: RoutingServiceClient<Peer>,
}

/// The reason word of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// The fields that a refusal complains of.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|request| request.field_violations.clone());
    violations.unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

pub(crate) fn demand() -> CreateDemandRequest {
    CreateDemandRequest {
        customer_id: Uuid::now_v7().to_string(),
        kind: "lead".to_owned(),
        ..Default::default()
    }
}

pub(crate) fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

impl Client {
    pub(crate) async fn team(&mut self) {
        let team = Team { name: "north".to_owned(), ..Default::default() };
        let request = UpsertTeamRequest { team: Some(team), ..Default::default() };
        self.rpc.upsert_team(request).await.unwrap();
    }

    /// An agent of team north, offline.
    pub(crate) async fn agent(&mut self, name: &str, capacity: i32, skills: &[(&str, i32)]) {
        let skills: HashMap<String, i32> =
            skills.iter().map(|(skill, level)| ((*skill).to_owned(), *level)).collect();
        let agent = Agent {
            name: name.to_owned(),
            team: "north".to_owned(),
            capacity,
            skills,
            ..Default::default()
        };
        let request = UpsertAgentRequest { agent: Some(agent), ..Default::default() };
        self.rpc.upsert_agent(request).await.unwrap();
    }

    pub(crate) async fn online(&mut self, name: &str) -> Agent {
        self.presence(name, Presence::Online).await.unwrap()
    }

    pub(crate) async fn presence(
        &mut self,
        name: &str,
        presence: Presence,
    ) -> Result<Agent, Status> {
        let request = SetPresenceRequest { agent: name.to_owned(), presence: presence.into() };
        Ok(self.rpc.set_presence(request).await?.into_inner().agent.unwrap())
    }

    pub(crate) async fn policy(&mut self, policy: RoutingPolicy) -> Result<RoutingPolicy, Status> {
        let request = UpsertPolicyRequest { policy: Some(policy), ..Default::default() };
        Ok(self.rpc.upsert_policy(request).await?.into_inner().policy.unwrap())
    }

    pub(crate) async fn create(&mut self, request: CreateDemandRequest) -> Demand {
        self.try_create(request).await.unwrap()
    }

    pub(crate) async fn try_create(
        &mut self,
        request: CreateDemandRequest,
    ) -> Result<Demand, Status> {
        Ok(self.rpc.create_demand(request).await?.into_inner().demand.unwrap())
    }

    pub(crate) async fn get(&mut self, id: &str) -> GetDemandResponse {
        let request = GetDemandRequest { demand_id: id.to_owned() };
        self.rpc.get_demand(request).await.unwrap().into_inner()
    }

    pub(crate) async fn causes(&mut self, id: &str) -> Vec<String> {
        self.get(id).await.history.into_iter().map(|transition| transition.cause).collect()
    }

    /// Waits until the demand is in the state, and answers it.
    pub(crate) async fn until(&mut self, id: &str, state: DemandState) -> Demand {
        let what = format!("the demand to be {state:?}");
        testkit::eventually(LIMIT, &what, async || {
            let demand = self.clone().get(id).await.demand.unwrap();
            if demand.state() == state { Ok(demand) } else { Err(demand.state()) }
        })
        .await
    }

    pub(crate) async fn watch(
        &mut self,
        agent: &str,
        token: &str,
    ) -> Streaming<WatchOffersResponse> {
        let request =
            WatchOffersRequest { agent: agent.to_owned(), resume_token: token.to_owned() };
        self.rpc.watch_offers(request).await.unwrap().into_inner()
    }

    pub(crate) async fn accept(&mut self, offer: &str, agent: &str) -> Result<Demand, Status> {
        let request = AcceptOfferRequest { offer_id: offer.to_owned(), agent: agent.to_owned() };
        Ok(self.rpc.accept_offer(request).await?.into_inner().demand.unwrap())
    }

    pub(crate) async fn decline(&mut self, offer: &str, agent: &str) -> Result<Demand, Status> {
        let request = DeclineOfferRequest {
            offer_id: offer.to_owned(),
            agent: agent.to_owned(),
            reason: "busy".to_owned(),
        };
        Ok(self.rpc.decline_offer(request).await?.into_inner().demand.unwrap())
    }

    pub(crate) async fn start(&mut self, demand: &str, agent: &str) -> Result<Demand, Status> {
        let request = StartWorkRequest { demand_id: demand.to_owned(), agent: agent.to_owned() };
        Ok(self.rpc.start_work(request).await?.into_inner().demand.unwrap())
    }

    pub(crate) async fn close(
        &mut self,
        demand: &str,
        agent: &str,
        result: DemandResult,
    ) -> Result<Demand, Status> {
        let request = CloseDemandRequest {
            demand_id: demand.to_owned(),
            agent: agent.to_owned(),
            result: result.into(),
            ..Default::default()
        };
        Ok(self.rpc.close_demand(request).await?.into_inner().demand.unwrap())
    }

    pub(crate) async fn decisions(&mut self, demand: &str) -> Vec<Decision> {
        let request = ExplainDecisionRequest { demand_id: demand.to_owned() };
        self.rpc.explain_decision(request).await.unwrap().into_inner().decisions
    }

    /// The offer that a demand's last decision led to.
    pub(crate) async fn last_offer(&mut self, demand: &str) -> String {
        self.decisions(demand).await.pop().unwrap().offer_id
    }
}

/// The next message with an offer in it.
pub(crate) async fn next_offer(stream: &mut Streaming<WatchOffersResponse>) -> (String, Offer) {
    let next = async {
        loop {
            let message = stream.message().await.unwrap().expect("the stream goes on");
            if let Some(offer) = message.offer {
                return (message.resume_token, offer);
            }
        }
    };
    tokio::time::timeout(LIMIT, next).await.expect("an offer")
}
