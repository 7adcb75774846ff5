//! Streams of answers at the gateway, and the tokens that pages open them with.

use serde_json::{Value, json};

use super::http::{Reply, call, send};
use super::{PROFILE, reason};
use crate::world::{World, tenant};

const WATCH: &str = "/rapport.profile.v1.ProfileService/WatchProfiles";
const ORIGIN: &str = "https://desk.example";

async fn ingest(world: &World, token: &str, message_id: &str) -> String {
    let events = json!({"events": [{
        "messageId": message_id, "type": "EVENT_TYPE_TRACK", "name": "Seen",
        "identifiers": [{"namespace": "user_id", "value": "ada"}],
    }]});
    let path = format!("{PROFILE}/IngestEvents");
    let answer = call(world, &path, token, &events.to_string()).await.json().await;
    answer["results"][0]["profileVersion"].as_str().expect("a version").to_owned()
}

async fn browser_token(world: &World, token: &str, wanted: Value) -> Reply {
    call(world, "/v1/browser-tokens", token, &wanted.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_watches_resumes_and_hears_of_the_end() {
    let world = World::start().await;
    let token = world.full_token(tenant());
    let bearer = format!("Bearer {token}");
    let headers = [
        ("content-type", "application/json"),
        ("accept", "text/event-stream"),
        ("authorization", bearer.as_str()),
    ];
    let mut watch = send(&world, &format!("POST {WATCH}"), &headers, b"{}").await;
    assert_eq!((watch.status, watch.header("content-type")), (200, Some("text/event-stream")));
    let first = ingest(&world, &token, "w1").await;
    let seen = watch.event().await.expect("a change");
    assert_eq!(seen.data["profile"]["version"], first.as_str(), "{seen:?}");
    assert_eq!(seen.id.as_deref(), seen.data["resumeToken"].as_str());
    drop(watch);

    // What happened meanwhile comes first when an EventSource goes on.
    let second = ingest(&world, &token, "w2").await;
    let wanted = json!({"scopes": ["profile:read"], "origins": [ORIGIN]});
    let issued = browser_token(&world, &token, wanted).await.json().await;
    let page = issued["token"].as_str().expect("a token");
    let line = format!("GET {WATCH}?message=%7B%7D&access_token={page}");
    let last = seen.id.expect("a position");
    let headers = [("last-event-id", last.as_str()), ("origin", ORIGIN)];
    let mut watch = send(&world, &line, &headers, b"").await;
    assert_eq!(watch.status, 200);
    assert_eq!(watch.header("access-control-allow-origin"), Some(ORIGIN));
    let seen = watch.event().await.expect("what was missed");
    assert_eq!(seen.data["profile"]["version"], second.as_str());

    // Only a token that was made for it may stand in an address.
    let line = format!("GET {WATCH}?access_token={token}");
    assert_eq!(send(&world, &line, &[], b"").await.status, 401);

    let (ended, ()) = tokio::join!(watch.event(), world.stop());
    let ended = ended.expect("an end that is said");
    assert_eq!(ended.name.as_deref(), Some("error"), "{ended:?}");
    assert_eq!(
        (ended.data["code"].as_str(), reason(&ended.data)),
        (Some("unavailable"), "UNAVAILABLE")
    );
    assert_eq!(ended.id, seen.id, "the place to resume");
    assert!(watch.event().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_strangers_are_refused() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.full_token(tenant()));
    let line = format!("POST {PROFILE}/ListTraits");
    let from = |origin| {
        [
            ("origin", origin),
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
        ]
    };
    let friendly = send(&world, &line, &from(ORIGIN), b"{}").await;
    assert_eq!(friendly.status, 200);
    assert_eq!(friendly.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(friendly.header("vary"), Some("origin"));
    for hostile in
        ["https://desk.example.evil.com", "https://evil.com", "http://desk.example", "null"]
    {
        let refused = send(&world, &line, &from(hostile), b"{}").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
        assert_eq!(reason(&refused.json().await), "ORIGIN_REFUSED");
        let asked = [("origin", hostile), ("access-control-request-method", "POST")];
        let preflight = line.replacen("POST", "OPTIONS", 1);
        let refused = send(&world, &preflight, &asked, b"").await;
        assert_eq!((refused.status, refused.header("access-control-allow-origin")), (403, None));
    }
    let asked = [("origin", ORIGIN), ("access-control-request-method", "POST")];
    let allowed = send(&world, &line.replacen("POST", "OPTIONS", 1), &asked, b"").await;
    assert_eq!(allowed.status, 204);
    let headers = allowed.header("access-control-allow-headers").unwrap_or_default();
    assert!(headers.contains("authorization") && headers.contains("x-grpc-web"), "{headers}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_gets_less_than_its_back_end_has() {
    let world = World::start().await;
    let owner = tenant();
    let token = world.full_token(owner);
    let wanted = json!({"scopes": ["profile:read"], "ttlSeconds": 60});
    let issued = browser_token(&world, &token, wanted.clone()).await;
    assert_eq!(issued.header("cache-control"), Some("no-store"));
    let issued = issued.json().await;
    let page = issued["token"].as_str().expect("a token");
    let traits = format!("{PROFILE}/ListTraits");
    assert_eq!(call(&world, &traits, page, "{}").await.status, 200);
    let denied = call(&world, &format!("{PROFILE}/IngestEvents"), page, r#"{"events":[]}"#).await;
    assert_eq!(denied.status, 403);
    assert_eq!(
        browser_token(&world, page, wanted.clone()).await.status,
        403,
        "no more of its kind"
    );
    assert_eq!(browser_token(&world, "forged", wanted).await.status, 401);

    let reader = world.token(owner, &["profile:read"]);
    for (token, wanted, field) in [
        (&token, json!({"scopes": []}), "scopes"),
        (&token, json!({"scopes": ["profile:admin"]}), "scopes[0]"),
        (&reader, json!({"scopes": ["profile:read", "profile:ingest"]}), "scopes[1]"),
        (&token, json!({"scopes": ["profile:read"], "ttlSeconds": 3601}), "ttlSeconds"),
        (
            &token,
            json!({"scopes": ["profile:read"], "origins": ["https://evil.com"]}),
            "origins[0]",
        ),
    ] {
        let refused = browser_token(&world, token, wanted).await;
        assert_eq!(refused.status, 400, "{field}");
        let refused = refused.json().await.to_string();
        assert!(refused.contains(&format!("\"field\":\"{field}\"")), "{refused}");
    }
    world.stop().await;
}
