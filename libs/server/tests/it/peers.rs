//! One service calls another: what travels along, and what is repeated.

use std::time::Duration;

use opentelemetry::trace::TraceContextExt;
use server::{Call, Peer};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;
use tracing::Instrument;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::probe::{Fixture, tenant};

async fn unary(peer: Peer, method: &str, text: &str) -> Result<String, Status> {
    let mut grpc = tonic::client::Grpc::new(peer);
    grpc.ready().await?;
    let path = format!("/rapport.probe.v1.ProbeService/{method}").parse().unwrap();
    let codec = ProstCodec::<String, String>::default();
    Ok(grpc.unary(Request::new(text.to_owned()), path, codec).await?.into_inner())
}

#[tokio::test]
async fn tenant_deadline_request_id_and_trace_travel_along() {
    let fixture = Fixture::new("").await;
    let call = Call::background(tenant()).within(Duration::from_millis(900));
    let span = tracing::info_span!("caller");
    let trace = span.context().span().span_context().trace_id();
    let answer = unary(fixture.peer().during(&call), "Describe", "").instrument(span).await;
    let answer = answer.unwrap();
    let words: Vec<&str> = answer.split(' ').collect();
    assert_eq!(words[0], tenant().to_string());
    assert_eq!(words[1], "true", "the deadline");
    assert!(!words[2].is_empty(), "the request id");
    assert_eq!(words[3], trace.to_string());
}

#[tokio::test]
async fn without_a_connection_a_call_passes_the_same_layers() {
    let fixture = Fixture::new("").await;
    let call = Call::background(tenant()).within(Duration::from_millis(900));
    let answer = unary(fixture.direct_peer().during(&call), "Describe", "").await.unwrap();
    let words: Vec<&str> = answer.split(' ').collect();
    assert_eq!((words[0], words[1]), (tenant().to_string().as_str(), "true"));

    let reader = fixture.direct_peer().bearing(fixture.token(&["probe:read"]).into());
    let error = unary(reader.during(&call), "Work", "0").await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let nobody = fixture.direct_peer().bearing("".into());
    let error = unary(nobody, "Echo", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
    let short = Call::background(tenant()).within(Duration::from_millis(50));
    let error = unary(fixture.direct_peer().during(&short), "Work", "60000").await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn without_a_connection_there_is_no_call_after_the_drain_either() {
    let fixture = Fixture::new("").await;
    let peer = fixture.direct_peer();
    assert_eq!(unary(peer.clone(), "Echo", "x").await.unwrap(), "x");
    fixture.server.drain().run(fixture.server.health()).await;
    assert_eq!(unary(peer, "Echo", "x").await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_callers_own_token_travels_in_place_of_an_internal_one() {
    let fixture = Fixture::new("").await;
    let call = Call::background(tenant());
    let bearing = |token: String| fixture.peer().during(&call).bearing(token.into());
    let reader = || bearing(fixture.token(&["probe:read"]));
    assert_eq!(unary(reader(), "Echo", "x").await.unwrap(), "x");
    // An internal token would pass both.
    let error = unary(reader(), "Work", "0").await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let error = unary(reader(), "Describe", "").await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn a_peer_that_is_too_slow_is_deadline_exceeded() {
    let fixture = Fixture::new("").await;
    let call = Call::background(tenant()).within(Duration::from_millis(50));
    let error = unary(fixture.peer().during(&call), "Work", "60000").await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn only_idempotent_calls_are_repeated() {
    let call = Call::background(tenant());
    let once = Fixture::new("").await;
    let error = unary(once.peer().during(&call), "Flaky", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let thrice = Fixture::new("").await;
    let answer = unary(thrice.peer().during(&call).idempotent(), "Flaky", "x").await;
    assert_eq!(answer.unwrap(), "x");
}

#[tokio::test]
async fn a_peer_that_is_away_is_unavailable() {
    let fixture = Fixture::new("").await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = unary(fixture.tcp_peer(address), "Echo", "x").await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error:?}");
}
