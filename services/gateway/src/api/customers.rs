//! `GET /v1/customers/{id}` and `GET /v1/customers?namespace=email&value=…`: who a customer is,
//! what is known, what the scores say and what is open, in one answer.
//!
//! The services are asked at the same time, each with the caller's own token. What cannot be
//! said (a service is away, a scope is missing) stands under `errors` beside the rest. A merged
//! id is answered with the customer that is in force.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use bytes::Bytes;
use contracts::common::v1::Identifier;
use contracts::identity::v1::{GetCustomerRequest, get_customer_request::Key};
use contracts::profile::v1::GetProfileRequest;
use contracts::routing::v1::{DemandState, ListDemandsRequest};
use contracts::scoring::v1::GetScoresRequest;
use prost::Message;
use serde_json::{Map, Value, json};
use tonic::{Code, Status};

use super::call::Caller;
use super::failure::{self, Refusal};
use super::watch::in_query;
use super::{Api, message};

const CUSTOMER: &str = "/rapport.identity.v1.IdentityService/GetCustomer";
const PROFILE: &str = "/rapport.profile.v1.ProfileService/GetProfile";
const SCORES: &str = "/rapport.scoring.v1.ScoringService/GetScores";
const DEMANDS: &str = "/rapport.routing.v1.RoutingService/ListDemands";
const OPEN: [DemandState; 4] =
    [DemandState::Queued, DemandState::Offered, DemandState::Accepted, DemandState::InProgress];
const MAX_DEMANDS: i32 = 100;

/// By id, also by one that was merged into another.
pub(crate) async fn by_id(
    State(api): State<Arc<Api>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    answer(view_by_id(&api, &headers, id).await)
}

/// By an identifier.
pub(crate) async fn by_identifier(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let field = |name: &str| in_query(&uri, name).map(Cow::into_owned);
    let (namespace, value) = (field("namespace"), field("value"));
    answer(match (namespace, value) {
        (Some(namespace), Some(value)) => {
            view_by_identifier(&api, &headers, Identifier { namespace, value }).await
        }
        (None, _) => Err(Refusal::invalid("namespace", "must be set, e.g. email").into()),
        (_, None) => Err(Refusal::invalid("value", "must be set").into()),
    })
}

fn answer(view: Result<Value, Status>) -> Response {
    let view = match view {
        Ok(view) => view,
        Err(status) => return failure::response(&status),
    };
    let mut response = Response::new(Body::from(view.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn view_by_id(api: &Api, headers: &HeaderMap, id: String) -> Result<Value, Status> {
    let caller = Caller::of(headers)?;
    let key = Key::CustomerId(id.clone());
    let (customer, parts) = tokio::join!(customer(api, &caller, key), parts(api, &caller, &id));
    match customer {
        Err(status) if is_final(&status) => Err(status),
        Err(status) => assemble(Err(status), parts),
        Ok(customer) => {
            let in_force = customer["customerId"].as_str().filter(|in_force| *in_force != id);
            let parts = match in_force {
                Some(in_force) => self::parts(api, &caller, in_force).await,
                None => parts,
            };
            assemble(Ok(customer), parts)
        }
    }
}

async fn view_by_identifier(
    api: &Api,
    headers: &HeaderMap,
    identifier: Identifier,
) -> Result<Value, Status> {
    let caller = Caller::of(headers)?;
    let customer = customer(api, &caller, Key::Identifier(identifier)).await?;
    let id = customer["customerId"].as_str().unwrap_or_default();
    let parts = parts(api, &caller, id).await;
    assemble(Ok(customer), parts)
}

/// Says something about the whole request.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::InvalidArgument | Code::Unauthenticated)
}

/// What is known besides who it is.
struct Parts {
    profile: Result<Option<Value>, Status>,
    scores: Result<Option<Value>, Status>,
    demands: Result<Option<Value>, Status>,
}

async fn customer(api: &Api, caller: &Caller, key: Key) -> Result<Value, Status> {
    let request = GetCustomerRequest { key: Some(key) };
    let answer = ask(api, caller, CUSTOMER, request.encode_to_vec(), "customer").await?;
    answer.ok_or_else(|| server::not_found("the customer"))
}

async fn parts(api: &Api, caller: &Caller, id: &str) -> Parts {
    let customer_id = id.to_owned();
    let profile = GetProfileRequest { customer_id: customer_id.clone(), ..Default::default() }
        .encode_to_vec();
    let scores = GetScoresRequest { customer_id: customer_id.clone() }.encode_to_vec();
    let demands = ListDemandsRequest {
        customer_id,
        states: OPEN.into_iter().map(i32::from).collect(),
        page_size: MAX_DEMANDS,
        ..Default::default()
    };
    let (profile, scores, demands) = tokio::join!(
        ask(api, caller, PROFILE, profile, "profile"),
        ask(api, caller, SCORES, scores, "scores"),
        ask(api, caller, DEMANDS, demands.encode_to_vec(), "demands"),
    );
    // Who has no event yet has no profile and no scores: that is no failure.
    Parts { profile: known(profile), scores: known(scores), demands: known(demands) }
}

fn known(answer: Result<Option<Value>, Status>) -> Result<Option<Value>, Status> {
    match answer {
        Err(status) if status.code() == Code::NotFound => Ok(None),
        other => other,
    }
}

/// One field of one answer, as canonical JSON; none when it is not set.
async fn ask(
    api: &Api,
    caller: &Caller,
    path: &str,
    request: Vec<u8>,
    field: &str,
) -> Result<Option<Value>, Status> {
    let rpc = api.methods.get(path).ok_or_else(|| Status::unimplemented(path))?;
    let answer = caller.unary(api, rpc, Bytes::from(request)).await?;
    let json = message::to_json(&rpc.output, answer).await?;
    let mut whole: Value = serde_json::from_slice(&json).unwrap_or_default();
    Ok(whole.get_mut(field).map(Value::take))
}

/// All that could be said; an error if that is nothing.
fn assemble(customer: Result<Value, Status>, parts: Parts) -> Result<Value, Status> {
    let mut view = Map::new();
    let mut errors = Map::new();
    let mut first = None;
    let fields = [
        ("customer", customer.map(Some), None),
        ("profile", parts.profile, None),
        ("scores", parts.scores, Some(json!([]))),
        ("openDemands", parts.demands, Some(json!([]))),
    ];
    for (name, answer, empty) in fields {
        match answer.map(|answer| answer.or(empty)) {
            Ok(Some(value)) => drop(view.insert(name.to_owned(), value)),
            Ok(None) => {}
            Err(status) => {
                errors.insert(name.to_owned(), failure::error(&status));
                first.get_or_insert(status);
            }
        }
    }
    if let Some(status) = first.filter(|_| view.is_empty()) {
        return Err(status);
    }
    if !errors.is_empty() {
        view.insert("errors".to_owned(), errors.into());
    }
    Ok(view.into())
}
