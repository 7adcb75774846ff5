//! The RPCs at the gateway, for those who have no gRPC: JSON, server-sent events, gRPC-Web,
//! the view of a customer, tokens for browsers, and whose pages may call.

mod http;
mod views;
mod watches;

use std::io::Write as _;

use contracts::DESCRIPTORS;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use server::auth::{Rule, Table};

use self::http::{call, send};
use crate::world::{World, pool, tenant};

/// On a busy machine.
const NODE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

pub(crate) const PROFILE: &str = "/rapport.profile.v1.ProfileService";
pub(crate) const IDENTITY: &str = "/rapport.identity.v1.IdentityService";

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_by_json_asks_for_a_token_and_names_what_it_cannot_read() {
    let world = World::start().await;
    let token = world.full_token(tenant());
    let table = Table::from_descriptors(DESCRIPTORS).expect("rules");
    let mut wrong = Vec::new();
    let mut tried = 0;
    for method in pool().services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let offered = matches!(table.lookup(&path).rule, Some(Rule::Scope(_) | Rule::Public));
        let bearer = format!("Bearer {token}");
        let stranger = [("content-type", "application/json"), ("accept", "text/event-stream")];
        let caller = [stranger[0], stranger[1], ("authorization", bearer.as_str())];
        let line = format!("POST {path}");
        let unknown = send(&world, &line, &stranger, b"{}").await;
        let garbage = send(&world, &line, &caller, br#"{"noSuchField": 1}"#).await;
        let codes = (unknown.status, garbage.status);
        let expected = match (offered, method.is_client_streaming()) {
            (false, _) => (404, 404),
            (true, true) => (501, 501),
            (true, false) => (401, 400),
        };
        let (unknown, garbage) = (unknown.json().await, garbage.json().await);
        if codes != expected {
            wrong.push(format!("{path}: {codes:?} {unknown} {garbage}"));
        }
        if expected == (401, 400) {
            tried += 1;
            let named =
                garbage["message"].as_str().is_some_and(|text| text.contains("noSuchField"));
            let reasons = (reason(&unknown), reason(&garbage));
            if reasons != ("TOKEN_INVALID", "MALFORMED_MESSAGE") || !named {
                wrong.push(format!("{path}: {unknown} {garbage}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "{tried} RPCs");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_by_json_is_canonical() {
    let world = World::start().await;
    let token = world.full_token(tenant());
    let events = json!({"events": [{
        "message_id": "j1", "type": "EVENT_TYPE_TRACK", "name": "Seen",
        "identifiers": [{"namespace": "user_id", "value": "ada"}],
        "properties": {"deep": {"list": [1, "two", null]}},
    }]});
    let answer =
        call(&world, &format!("{PROFILE}/IngestEvents"), &token, &events.to_string()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let result = answer.json().await["results"][0].clone();
    assert_eq!(result["status"], "EVENT_STATUS_ACCEPTED");
    let version = result["profileVersion"].as_str().expect("a 64-bit number as text");

    let get = format!("{PROFILE}/GetProfile");
    let request = json!({"customer_id": result["customerId"], "atLeastVersion": version});
    let answer = call(&world, &get, &token, &request.to_string()).await.json().await;
    assert_eq!(answer["profile"]["totalEvents"], "1", "{answer}");
    assert_eq!(answer["profile"]["eventCounters"][0]["name"], "Seen");
    let first = answer["profile"]["firstEventTime"].as_str().expect("a time");
    assert!(first.parse::<jiff::Timestamp>().is_ok(), "{first}");

    // A deadline from a header, and the caller's request id in the answer.
    let future = json!({"customerId": result["customerId"], "atLeastVersion": 1_000_000});
    let bearer = format!("Bearer {token}");
    for (name, value) in [("connect-timeout-ms", "200"), ("grpc-timeout", "200m")] {
        let headers = [
            ("content-type", "application/json; charset=utf-8"),
            ("authorization", bearer.as_str()),
            ("x-request-id", "mine-1"),
            (name, value),
        ];
        let body = future.to_string();
        let late = send(&world, &format!("POST {get}"), &headers, body.as_bytes()).await;
        assert_eq!((late.status, late.header("x-request-id")), (504, Some("mine-1")));
        assert_eq!(reason(&late.json().await), "DEADLINE_EXCEEDED");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_request_is_said() {
    let world = World::start().await;
    let token = world.full_token(tenant());
    let get = format!("{PROFILE}/GetProfile");
    let absent = json!({"customerId": uuid::Uuid::new_v4().to_string()}).to_string();
    let answer = call(&world, &get, &token, &absent).await;
    assert_eq!(answer.status, 404);
    let answer = answer.json().await;
    assert_eq!((answer["code"].as_str(), reason(&answer)), (Some("not_found"), "NOT_FOUND"));

    let deep = format!(r#"{{"events":[{{"properties":{}"#, r#"{"a":"#.repeat(10_000));
    let ingest = format!("{PROFILE}/IngestEvents");
    for (path, body, status, expected, word) in [
        (&ingest, r#"{"events":[{"type":7.5}]}"#, 400, "MALFORMED_MESSAGE", "events[0].type"),
        (&ingest, r#"{"events":[{"type":"STROLL"}]}"#, 400, "MALFORMED_MESSAGE", "STROLL"),
        (&ingest, deep.as_str(), 400, "MALFORMED_MESSAGE", "recursion"),
        (&get, "no json", 400, "MALFORMED_MESSAGE", "line 1"),
        (&get, "{}", 400, "INVALID_FIELD", "customer_id"),
    ] {
        let answer = call(&world, path, &token, body).await;
        assert_eq!(answer.status, status, "{word}");
        assert_eq!(answer.header("retry-after"), None, "it would be the same again");
        let answer = answer.json().await;
        assert_eq!(reason(&answer), expected, "{answer}");
        assert!(answer.to_string().contains(word), "{word}: {answer}");
    }
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![b' '; 5 << 20]).expect("compressed");
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
        ("authorization", bearer.as_str()),
    ];
    let line = format!("POST {get}");
    let large = send(&world, &line, &headers, &bomb.finish().expect("compressed")).await;
    assert_eq!(
        (large.status, large.header("retry-after")),
        (429, None),
        "it would be too large again"
    );
    assert_eq!(reason(&large.json().await), "MESSAGE_TOO_LARGE");
    let no_type = send(&world, &format!("POST {get}"), &[], b"{}").await;
    assert_eq!(no_type.status, 415);
    let get_it = send(&world, &format!("GET {get}"), &[], b"").await;
    assert_eq!((get_it.status, get_it.header("allow")), (405, Some("POST")));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_web_in_both_shapes_and_garbage_that_is_the_callers() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.full_token(tenant()));
    let line = format!("POST {PROFILE}/ListTraits");
    let call = async |content_type: &str, body: &[u8]| {
        let headers = [
            ("content-type", content_type),
            ("accept", content_type),
            ("authorization", bearer.as_str()),
        ];
        send(&world, &line, &headers, body).await
    };
    let answer = call("application/grpc-web+proto", &[0; 5]).await;
    assert_eq!(answer.status, 200);
    let body = String::from_utf8_lossy(&answer.body().await).into_owned();
    assert!(body.contains("grpc-status:0"), "{body:?}");
    let answer = call("application/grpc-web-text", b"AAAAAAA=").await;
    assert_eq!(answer.status, 200);
    let garbage = call("application/grpc-web-text", b"!!!!!!!!").await;
    let status = garbage.header("grpc-status").map(str::to_owned);
    let body = garbage.body().await;
    assert_eq!(status.as_deref(), Some("3"), "{}", String::from_utf8_lossy(&body));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clients_of_connect_call_it_as_they_are() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let folder = root.join("clients/typescript");
    let compiled = tokio::process::Command::new(folder.join("node_modules/.bin/tsc"))
        // Apart from what other tests compile at the same time.
        .args(["--outDir", "dist/gateway"])
        .current_dir(&folder)
        .output()
        .await
        .expect("tsc; `make setup` installs it");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stdout));
    let world = World::start().await;
    let node = tokio::process::Command::new("node")
        .args(["--test", "dist/gateway/test/gateway.js"])
        .current_dir(&folder)
        .env("RAPPORT_HTTP", world.suite.http_address())
        .env("TOKEN", world.full_token(tenant()))
        .kill_on_drop(true)
        .output();
    let node = tokio::time::timeout(NODE_PATIENCE, node).await.expect("in time").expect("node");
    assert!(node.status.success(), "{}", String::from_utf8_lossy(&node.stdout));
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_valid_by_the_judgement_of_others() {
    let world = World::start().await;
    let served: Value = send(&world, "GET /openapi.json", &[], b"").await.json().await;
    assert_eq!(served["openapi"], "3.1.0");
    let get = &served["paths"][format!("{PROFILE}/GetProfile")]["post"];
    assert_eq!(get["security"], json!([{"token": ["profile:read"]}]));
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let checked = std::process::Command::new(format!("{root}/tests/python/.venv/bin/python"))
        .args(["-m", "openapi_spec_validator", "--schema", "3.1.0"])
        .arg(format!("{root}/docs/openapi.json"))
        .output()
        .expect("the validator; `make setup` installs it");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    world.stop().await;
}

/// The reason in the details of an error.
pub(crate) fn reason(error: &Value) -> &str {
    let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo");
    info.and_then(|info| info["debug"]["reason"].as_str()).unwrap_or_default()
}
