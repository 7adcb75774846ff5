//! What a call meets on its way: deadline, panic, shed, rate, garbage, metrics.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use server::auth::Table;
use tonic::Code;
use tonic_types::StatusExt;

use crate::probe::{Fixture, descriptors};
use crate::wire::{call, eventually, frame, framed, send};

#[tokio::test]
async fn an_expired_deadline_says_so_and_the_work_completes() {
    let fixture = Fixture::new("").await;
    let bearer = format!("Bearer {}", fixture.token(&["probe:write"]));
    let headers = [("authorization", bearer.as_str()), ("grpc-timeout", "50m")];
    let began = Instant::now();
    let answer = send(&fixture.endpoint, "Work", &headers, frame("400")).await;
    assert_eq!(answer.code(), Code::DeadlineExceeded);
    assert_eq!(answer.reason(), "DEADLINE_EXCEEDED");
    assert!(began.elapsed() < Duration::from_millis(400), "answered before the work was done");
    let done = &fixture.probe.done;
    eventually("the work is done", || done.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_deadline_of_the_server_holds_when_the_caller_names_a_longer_one_or_none() {
    let fixture = Fixture::new("default_deadline_ms = 50\nmax_deadline_ms = 80").await;
    let bearer = format!("Bearer {}", fixture.token(&["probe:write"]));
    let longer = [("authorization", bearer.as_str()), ("grpc-timeout", "1H")];
    for headers in [&longer[..1], &longer[..]] {
        let answer = send(&fixture.endpoint, "Work", headers, frame("5000")).await;
        assert_eq!(answer.code(), Code::DeadlineExceeded);
    }
    let gone = [("authorization", bearer.as_str()), ("grpc-timeout", "0m")];
    let answer = send(&fixture.endpoint, "Work", &gone, frame("0")).await;
    assert_eq!(answer.code(), Code::DeadlineExceeded);
    let started = fixture.probe.started.load(Ordering::SeqCst);
    assert_eq!(started, 2, "what has expired is not begun");
}

#[tokio::test]
async fn work_outlives_a_caller_that_leaves() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:write"]);
    let endpoint = fixture.endpoint.clone();
    let caller = tokio::spawn(async move { call(&endpoint, "Work", &token, frame("300")).await });
    let probe = &fixture.probe;
    eventually("the work has begun", || probe.started.load(Ordering::SeqCst) == 1).await;
    caller.abort();
    eventually("the work is done", || probe.done.load(Ordering::SeqCst) == 1).await;
}

#[tokio::test]
async fn a_panic_is_internal_with_a_fixed_text_and_the_process_lives() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:read"]);
    let answer = call(&fixture.endpoint, "Panic", &token, frame("ada@example.com")).await;
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::Internal, "INTERNAL"));
    assert!(answer.status.message().starts_with("internal error; request id "));
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert!(answer.status.message().ends_with(id), "the id leads to the log");
    let next = call(&fixture.endpoint, "Echo", &token, frame("still here")).await;
    assert_eq!((next.code(), &next.body[..]), (Code::Ok, &frame("still here")[..]));
}

#[tokio::test]
async fn a_panic_in_the_middle_of_a_stream_is_internal_after_what_came_before() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:read"]);
    let answer = call(&fixture.endpoint, "Pour", &token, frame("3 ada@example.com 5")).await;
    assert_eq!(&answer.body[..], &frame("xxx")[..]);
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::Internal, "INTERNAL"));
    assert!(!answer.status.message().contains("ada"));
    let next = call(&fixture.endpoint, "Echo", &token, frame("still here")).await;
    assert_eq!(next.code(), Code::Ok);
}

#[tokio::test]
async fn work_ends_at_its_cap_when_its_caller_has_gone_and_frees_its_place() {
    let lines = "max_in_flight = 1\nmax_deadline_ms = 20\nwork_cap_ms = 150";
    let fixture = Fixture::new(lines).await;
    let token = fixture.token(&["probe:write", "probe:read"]);
    let answer = call(&fixture.endpoint, "Work", &token, frame("60000")).await;
    assert_eq!(answer.code(), Code::DeadlineExceeded);
    let tasks = fixture.server.drain().tracker();
    assert_eq!(tasks.len(), 1, "the work goes on");
    eventually("the work is aborted", || tasks.is_empty()).await;
    assert_eq!(fixture.probe.done.load(Ordering::SeqCst), 0);
    let answer = call(&fixture.endpoint, "Echo", &token, frame("x")).await;
    assert_eq!(answer.code(), Code::Ok);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_refused_and_not_sent() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:read"]);
    let over = (server::server::MAX_RESPONSE_BYTES + 1).to_string();
    for (method, before) in [("Large", 0), ("Pour", frame("xxx").len())] {
        let request = if before > 0 { format!("3 {over}") } else { over.clone() };
        let answer = call(&fixture.endpoint, method, &token, frame(&request)).await;
        assert_eq!(answer.code(), Code::ResourceExhausted, "{method}");
        assert_eq!(answer.reason(), "MESSAGE_TOO_LARGE", "{method}");
        assert!(answer.status.get_details_retry_info().is_none(), "it would be too large again");
        assert!(answer.body.len() <= before, "{method} sent {} bytes", answer.body.len());
    }
    let fits = call(&fixture.endpoint, "Large", &token, frame("5000000")).await;
    assert_eq!((fits.code(), fits.body.len() > 5_000_000), (Code::Ok, true));
}

/// What grpc's own services answer, as anybody may ask.
async fn own_services(fixture: &Fixture, token: &str) -> [Code; 2] {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let health = "grpc.health.v1.Health/Check";
    let reflection = "grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let list_services = framed(&[0x3a, 0x01, b'*']);
    [
        send(&fixture.endpoint, health, &headers, framed(&[])).await.code(),
        send(&fixture.endpoint, reflection, &headers, list_services).await.code(),
    ]
}

#[tokio::test]
async fn too_much_at_once_is_shed_and_health_and_reflection_still_answer() {
    let fixture = Fixture::new("max_in_flight = 1\nmax_streams = 0").await;
    let token = fixture.token(&["probe:write", "probe:read"]);
    let (endpoint, busy) = (fixture.endpoint.clone(), token.clone());
    let caller = tokio::spawn(async move { call(&endpoint, "Work", &busy, frame("60000")).await });
    let started = &fixture.probe.started;
    eventually("one is at work", || started.load(Ordering::SeqCst) == 1).await;
    let answer = call(&fixture.endpoint, "Echo", &token, frame("x")).await;
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert!(answer.status.get_details_retry_info().is_some());
    let answer = call(&fixture.endpoint, "Chat", &token, frame("x")).await;
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::ResourceExhausted, "OVERLOADED"));
    assert_eq!(own_services(&fixture, &token).await, [Code::Ok, Code::Ok]);
    caller.abort();
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_free_its_place_before_the_work_is_done() {
    let fixture = Fixture::new("max_in_flight = 1\nmax_deadline_ms = 20").await;
    let token = fixture.token(&["probe:write", "probe:read"]);
    let answer = call(&fixture.endpoint, "Work", &token, frame("60000")).await;
    assert_eq!(answer.code(), Code::DeadlineExceeded);
    let answer = call(&fixture.endpoint, "Echo", &token, frame("x")).await;
    assert_eq!(answer.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_principal_has_its_rate() {
    let fixture = Fixture::new("rate_per_second = 1\nrate_burst = 2").await;
    let token = fixture.token(&["probe:read"]);
    let mut codes = Vec::new();
    for _ in 0..3 {
        codes.push(call(&fixture.endpoint, "Echo", &token, frame("x")).await.code());
    }
    assert_eq!(codes, [Code::Ok, Code::Ok, Code::ResourceExhausted]);
    for _ in 0..3 {
        assert_eq!(own_services(&fixture, &token).await, [Code::Ok, Code::Ok], "not rated");
    }
}

#[tokio::test]
async fn client_garbage_is_never_internal() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:read"]);
    let compressed = [&[1], &frame("x")[1..]].concat();
    let odd_flag = [&[7], &frame("x")[1..]].concat();
    let mut truncated = frame("hello");
    truncated.truncate(7);
    let garbage = [
        ("bad varint", framed(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
        ("bad UTF-8", framed(&[0x0a, 0x02, 0xc3, 0x28])),
        ("truncated", truncated),
        ("nothing", Vec::new()),
        ("compressed without saying", compressed),
        ("odd flag", odd_flag),
    ];
    for (what, body) in garbage {
        for method in ["Echo", "Chat"] {
            let answer = call(&fixture.endpoint, method, &token, body.clone()).await;
            if body.is_empty() && method == "Chat" {
                assert_eq!(answer.code(), Code::Ok, "an empty stream is fine");
                continue;
            }
            assert_eq!(answer.code(), Code::InvalidArgument, "{what} to {method}");
            assert_eq!(answer.reason(), "MALFORMED_MESSAGE", "{what} to {method}");
        }
    }
    let large = frame(&"x".repeat(server::server::MAX_REQUEST_BYTES + 1));
    let answer = call(&fixture.endpoint, "Echo", &token, large).await;
    assert_eq!(answer.code(), Code::ResourceExhausted);
    assert_eq!(answer.reason(), "MESSAGE_TOO_LARGE");
}

#[tokio::test]
async fn an_internal_error_of_a_library_loses_its_text() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:read"]);
    let answer = call(&fixture.endpoint, "Fail", &token, frame("row of ada@example.com")).await;
    assert_eq!((answer.code(), answer.reason().as_str()), (Code::Internal, "INTERNAL"));
    assert!(!answer.status.message().contains("ada"));
}

#[tokio::test]
async fn a_callers_request_id_comes_back_if_it_is_decent() {
    let fixture = Fixture::new("").await;
    for (given, kept) in [("abc-123", true), ("not decent", false)] {
        let headers = [("x-request-id", given)];
        let answer = send(&fixture.endpoint, "Open", &headers, frame("x")).await;
        assert_eq!(answer.headers["x-request-id"] == given, kept, "{given}");
    }
}

#[tokio::test]
async fn calls_are_measured_by_method_and_code_and_unknown_methods_are_one() {
    let fixture = Fixture::new("").await;
    let token = fixture.token(&["probe:read"]);
    call(&fixture.endpoint, "Echo", &token, frame("x")).await;
    call(&fixture.endpoint, "Echo", "forged", frame("x")).await;
    for n in 0..5 {
        let answer = call(&fixture.endpoint, &format!("Made/Up{n}"), &token, frame("x")).await;
        assert_eq!(answer.code(), Code::Unimplemented);
    }
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &fixture.registry).unwrap();
    let count = |method: &str, code: &str| {
        let series = format!(
            "rpc_server_call_duration_seconds_count{{rpc_method=\"{method}\",\
             rpc_response_status_code=\"{code}\"}} "
        );
        text.lines().find_map(|line| line.strip_prefix(&series)?.parse::<u64>().ok())
    };
    let echo = "rapport.probe.v1.ProbeService/Echo";
    assert_eq!(count(echo, "OK"), Some(1), "{text}");
    assert_eq!(count(echo, "UNAUTHENTICATED"), Some(1));
    assert_eq!(count("_other", "UNIMPLEMENTED"), Some(5));
    assert!(text.contains("rpc_server_calls_in_flight 0"), "{text}");
}

#[test]
fn every_rpc_without_a_rule_is_named() {
    let bytes = descriptors();
    let table = Table::from_descriptors(&bytes).unwrap();
    assert_eq!(table.methods().iter().filter(|m| m.name.starts_with("rapport.")).count(), 11);
    assert!(table.lookup("/rapport.probe.v1.ProbeService/Chat").streaming);
    // The same service once more, with two rules left out.
    let mut set = prost_reflect::DescriptorPool::decode(bytes.as_slice()).unwrap();
    let probe = set.get_file_by_name("probe.proto").unwrap();
    let mut bare = probe.file_descriptor_proto().clone();
    for method in &mut bare.service[0].method[..2] {
        method.options = None;
    }
    bare.name = Some("bare.proto".to_owned());
    bare.package = Some("rapport.bare.v1".to_owned());
    set.add_file_descriptor_proto(bare).unwrap();
    let error = Table::from_descriptors(&set.encode_to_vec()).unwrap_err().to_string();
    assert!(error.contains("rapport.bare.v1.ProbeService/Echo"), "{error}");
    assert!(error.contains("rapport.bare.v1.ProbeService/Work"), "{error}");
}
