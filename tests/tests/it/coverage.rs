//! The contracts as promised, for every RPC of the descriptor set: who may call, what another
//! tenant sees, and what becomes of garbage. An RPC that nobody put into the table fails.

mod objects;
mod table;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use contracts::feedback::v1 as feedback;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use rapport::suite::ALL_SCOPES;
use server::auth::{Rule, Table};
use tonic::Code;

use self::objects::Objects;
use self::table::{BESIDES, Entry, TABLE};
use crate::wire::{Answer, call};
use crate::world::{PATIENCE, World, event, identifier, pool, tenant};

/// A watch that is still open after this was let in.
const WATCH_PATIENCE: Duration = Duration::from_millis(400);
const BODY_ABOVE_THE_LIMIT: usize = 5 << 20;

/// An RPC and the scope it asks for; none for internal ones.
struct Rpc {
    name: String,
    scope: Option<String>,
    method: MethodDescriptor,
}

impl Rpc {
    fn path(&self) -> String {
        format!("/{}", self.name)
    }

    fn patience(&self) -> Duration {
        let watches = self.method.is_server_streaming() && !self.method.is_client_streaming();
        if watches { WATCH_PATIENCE } else { PATIENCE }
    }

    fn entry(&self) -> &'static Entry {
        let entry = TABLE.iter().find(|entry| entry.method == self.name);
        entry.unwrap_or_else(|| panic!("{} is not in the table", self.name))
    }
}

/// Every RPC of the suite.
fn rpcs() -> Vec<Rpc> {
    let pool = pool();
    let table = Table::from_descriptors(contracts::DESCRIPTORS).expect("a rule on every RPC");
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods
        .map(|method| {
            let name = format!("{}/{}", method.parent_service().full_name(), method.name());
            let scope = match &table.lookup(&format!("/{name}")).rule {
                Some(Rule::Scope(scope)) => Some(scope.clone()),
                _ => None,
            };
            Rpc { name, scope, method }
        })
        .collect()
}

fn public() -> Vec<Rpc> {
    rpcs().into_iter().filter(|rpc| rpc.scope.is_some()).collect()
}

#[test]
fn every_public_rpc_is_in_the_table_and_nothing_else_is() {
    let public = public();
    let promised: BTreeSet<&str> = public.iter().map(|rpc| rpc.name.as_str()).collect();
    let tried: BTreeSet<&str> = TABLE.iter().map(|entry| entry.method).collect();
    assert_eq!(promised.difference(&tried).collect::<Vec<_>>(), Vec::<&&str>::new(), "untried");
    assert_eq!(tried.difference(&promised).collect::<Vec<_>>(), Vec::<&&str>::new(), "unknown");
    let scopes: BTreeSet<&str> = public.iter().filter_map(|rpc| rpc.scope.as_deref()).collect();
    let handed_out: BTreeSet<&str> = ALL_SCOPES.iter().copied().collect();
    assert_eq!(scopes, handed_out, "the scopes of the contracts and of `rapport token`");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_asks_for_a_token_with_its_scope() {
    let world = World::start().await;
    let (channel, objects, caller) = (world.channel(), Objects::absent(), tenant());
    let mut wrong = Vec::new();
    for rpc in public() {
        let request = (rpc.entry().request)(&objects);
        let scope = rpc.scope.as_deref().unwrap_or_default();
        let others: Vec<&str> = ALL_SCOPES.iter().copied().filter(|one| *one != scope).collect();
        let token = world.token(caller, &others);
        let denied = call(&channel, &rpc.path(), Some(&token), request.clone(), PATIENCE).await;
        if (denied.code, denied.reason.as_str()) != (Code::PermissionDenied, "SCOPE_MISSING") {
            wrong.push(format!("{} without {scope}: {denied:?}", rpc.name));
        }
        let unknown = call(&channel, &rpc.path(), None, request, PATIENCE).await;
        if (unknown.code, unknown.reason.as_str()) != (Code::Unauthenticated, "TOKEN_INVALID") {
            wrong.push(format!("{} without a token: {unknown:?}", rpc.name));
        }
    }
    for rpc in rpcs().into_iter().filter(|rpc| rpc.scope.is_none()) {
        let token = world.full_token(caller);
        let refused = call(&channel, &rpc.path(), Some(&token), Vec::new(), PATIENCE).await;
        if !matches!(refused.code, Code::PermissionDenied | Code::Unimplemented) {
            wrong.push(format!("{} is internal: {refused:?}", rpc.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_tenant_is_answered_as_if_the_objects_were_absent() {
    let world = World::start().await;
    let (channel, owner) = (world.channel(), tenant());
    let existing = Objects::of(&world, owner).await;
    let absent = Objects::absent();
    let before = belongings(&world, owner, &existing).await;
    let mut wrong = Vec::new();
    let rpcs = public();
    let tries = rpcs.iter().map(|rpc| (rpc, rpc.entry())).chain(BESIDES.iter().map(|entry| {
        let rpc = rpcs.iter().find(|rpc| rpc.name == entry.method);
        (rpc.expect("an RPC of the contracts"), entry)
    }));
    for (rpc, entry) in tries {
        // A fresh tenant for each call: none sees what the one before has made.
        let answer = async |objects: &Objects| {
            let token = world.full_token(tenant());
            let request = (entry.request)(objects);
            let answer = call(&channel, &rpc.path(), Some(&token), request, rpc.patience()).await;
            (answer.code, described(rpc, objects, &answer))
        };
        let (foreign, stranger) = (answer(&existing).await, answer(&absent).await);
        if foreign != stranger {
            wrong.push(format!("{}\n  foreign: {foreign:?}\n  absent:  {stranger:?}", rpc.name));
        } else if stranger.0 != entry.stranger {
            wrong.push(format!("{}: {stranger:?}, expected {:?}", rpc.name, entry.stranger));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = belongings(&world, owner, &existing).await;
    assert_eq!(before, after, "a foreign tenant changed something");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_shows_the_own_tenant_only() {
    let world = World::start().await;
    let (owner, other) = (tenant(), tenant());
    let (mut owner_desk, mut other_desk) = (world.desk(owner), world.desk(other));
    let mut watch = other_desk
        .profile
        .watch_profiles(profile::WatchProfilesRequest::default())
        .await
        .expect("a watch")
        .into_inner();
    for number in 0..5 {
        let who = vec![identifier("user_id", "same")];
        owner_desk.ingest(event(&format!("foreign-{number}"), "Seen", who)).await;
    }
    let own = other_desk.ingest(event("own", "Seen", vec![identifier("user_id", "same")])).await;
    let change = watch.message().await.expect("open").expect("an answer").change;
    let Some(profile::watch_profiles_response::Change::Profile(change)) = change else {
        panic!("a changed profile, not {change:?}");
    };
    assert_eq!((change.customer_id, change.version), (own.customer_id, own.profile_version));
    drop(watch);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_the_callers_fault_on_every_rpc() {
    let world = World::start().await;
    let (channel, token) = (world.channel(), world.full_token(tenant()));
    let mut wrong = Vec::new();
    let mut without_text = Vec::new();
    for rpc in public() {
        let expect = async |what: &str, body: Vec<u8>, code: Code, reason: &str| {
            let answer = call(&channel, &rpc.path(), Some(&token), body, rpc.patience()).await;
            let seen = (answer.code, answer.reason.as_str());
            (seen != (code, reason)).then(|| format!("{} {what}: {answer:?}", rpc.name))
        };
        let malformed = (Code::InvalidArgument, "MALFORMED_MESSAGE");
        let overlong = expect("0xff…", vec![0xff; 64], malformed.0, malformed.1).await;
        // Field 1 says that it has 100 bytes and has one.
        let cut_off = expect("cut off", vec![0x0a, 100, 1], malformed.0, malformed.1).await;
        let too_large = oversized();
        let large = expect("5 MiB", too_large, Code::ResourceExhausted, "MESSAGE_TOO_LARGE").await;
        wrong.extend([overlong, cut_off, large].into_iter().flatten());
        match bad_text(&rpc.method.input(), 3) {
            Some(body) => wrong.extend(expect("UTF-8", body, malformed.0, malformed.1).await),
            None => without_text.push(rpc.name.clone()),
        }
        for seed in 0..8 {
            let body = noise(seed);
            let answer = call(&channel, &rpc.path(), Some(&token), body, rpc.patience()).await;
            if matches!(answer.code, Code::Internal | Code::Unknown | Code::DataLoss) {
                wrong.push(format!("{} noise {seed}: {answer:?}", rpc.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(without_text, ["rapport.identity.v1.IdentityService/GetIdentityRules"]);
    world.stop().await;
}

/// What a caller may compare of an answer.
fn described(rpc: &Rpc, objects: &Objects, answer: &Answer) -> String {
    let messages: Vec<String> = answer
        .messages
        .iter()
        .map(|bytes| {
            let message = DynamicMessage::decode(rpc.method.output(), Bytes::clone(bytes));
            objects.describe(&message.expect("an answer of the contract"))
        })
        .collect();
    let violations: Vec<String> = answer
        .violations
        .iter()
        .map(|(field, description)| format!("{field}: {}", objects.anonymous(description)))
        .collect();
    format!(
        "{} {:?} {violations:?} {messages:?} open={}",
        answer.reason,
        objects.anonymous(&answer.message),
        answer.open
    )
}

/// Everything that the owner can read of the objects.
async fn belongings(world: &World, owner: kernel::TenantId, objects: &Objects) -> Vec<String> {
    let mut desk = world.desk(owner);
    let key = identity::get_customer_request::Key::CustomerId(objects.customer_id.clone());
    let customer =
        desk.identity.get_customer(identity::GetCustomerRequest { key: Some(key) }).await;
    let profile = profile::GetProfileRequest {
        customer_id: objects.customer_id.clone(),
        as_of_time: Some(crate::world::in_seconds(0)),
        ..Default::default()
    };
    let profile = desk.profile.get_profile(profile).await.expect("the profile").into_inner();
    let profile = profile.profile.map(|profile| (profile.version, profile.total_events));
    let demand = routing::GetDemandRequest { demand_id: objects.demand_id.clone() };
    let agent = routing::GetAgentRequest { name: objects.agent.clone() };
    let funnel = desk.feedback.get_funnel(feedback::GetFunnelRequest::default()).await;
    let funnel: Vec<i64> =
        funnel.expect("a funnel").into_inner().stages.iter().map(|stage| stage.reached).collect();
    vec![
        format!("{:?}", customer.expect("the customer").into_inner()),
        format!("{profile:?}"),
        format!("{:?}", desk.routing.get_demand(demand).await.expect("the demand").into_inner()),
        format!("{:?}", desk.routing.get_agent(agent).await.expect("the agent").into_inner()),
        format!("{funnel:?}"),
    ]
}

/// One unknown field of more than any method takes.
fn oversized() -> Vec<u8> {
    let mut body = vec![0xfa, 0x7f]; // field 2047, length-delimited
    prost::encoding::encode_varint(BODY_ABOVE_THE_LIMIT as u64, &mut body);
    body.resize(body.len() + BODY_ABOVE_THE_LIMIT, 0);
    body
}

/// The same bytes for the same seed.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let length = 1 + next() % 200;
    (0..length).map(|_| next().to_le_bytes()[3]).collect()
}

/// The message with its first text set to bytes that are no UTF-8; none if it has no text.
fn bad_text(message: &MessageDescriptor, depth: usize) -> Option<Vec<u8>> {
    let is_text = |field: &FieldDescriptor| !field.is_map() && field.kind() == Kind::String;
    if let Some(field) = message.fields().find(is_text) {
        return Some(delimited(&field, &[0xff, 0xfe]));
    }
    if depth == 0 {
        return None;
    }
    message.fields().filter(|field| !field.is_map()).find_map(|field| {
        let Kind::Message(inner) = field.kind() else { return None };
        bad_text(&inner, depth - 1).map(|body| delimited(&field, &body))
    })
}

fn delimited(field: &FieldDescriptor, content: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    prost::encoding::encode_varint(u64::from(field.number()) << 3 | 2, &mut body);
    prost::encoding::encode_varint(content.len() as u64, &mut body);
    body.extend_from_slice(content);
    body
}
