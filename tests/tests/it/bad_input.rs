//! Bad input: a clear error that names the field (in a file: the line), the rest goes on,
//! and rejected events are kept with their reason. Garbage bytes and bodies that are too large
//! are tried on every RPC in `coverage`.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use contracts::routing::v1 as routing;
use contracts::scoring::v1 as scoring;
use kernel::TenantId;
use server::token::{Audience, Claims, Grant, ISSUER, Signer};
use testkit::eventually;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::wire::{Answer, call};
use crate::world::{PATIENCE, World, event, identifier, identify, in_seconds, pool, tenant};

const DAY: i64 = 24 * 3_600;

#[tokio::test(flavor = "multi_thread")]
async fn bad_events_fail_alone_and_are_kept_with_their_reason() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    desk.apply("kind: Trait\nname: age_in_years\ntype: number\n").await;
    let who = || vec![identifier("user_id", "u1")];
    let bad = vec![
        ("message_id", event("", "Seen", who())),
        ("identifiers", event("no-ids", "Seen", Vec::new())),
        ("identifiers", event("nobody", "Seen", vec![identifier("email", "unknown")])),
        ("type", profile::Event { r#type: 0, ..event("no-type", "Seen", who()) }),
        (
            "event_time",
            profile::Event {
                event_time: Some(in_seconds(2 * DAY)),
                ..event("future", "Seen", who())
            },
        ),
        (
            "traits.age_in_years",
            identify("wrong-type", identifier("user_id", "u1"), &[("age_in_years", "old")]),
        ),
    ];
    let mut events: Vec<profile::Event> = bad.iter().map(|(_, event)| event.clone()).collect();
    events.push(event("good", "Seen", who()));
    let request = profile::IngestEventsRequest { events };
    let answer = desk.profile.ingest_events(request).await.expect("answered").into_inner();
    let (good, rejected) = answer.results.split_last().expect("results");
    assert_eq!(good.status(), profile::EventStatus::Accepted, "{good:?}");
    for ((field, event), result) in bad.iter().zip(rejected) {
        assert_eq!(result.status(), profile::EventStatus::Rejected, "{}", event.message_id);
        let names_it = result.violations.iter().any(|violation| violation.field.starts_with(field));
        assert!(names_it, "{}: {:?} instead of {field}", event.message_id, result.violations);
    }
    // The events around them arrived.
    let request = profile::GetProfileRequest {
        customer_id: good.customer_id.clone(),
        at_least_version: good.profile_version,
        ..Default::default()
    };
    let profile = desk.profile.get_profile(request).await.expect("a profile").into_inner();
    assert_eq!(profile.profile.expect("a profile").total_events, 1);

    let kept = kept(&desk, bad.len()).await;
    for (field, event) in &bad {
        let as_received = kept.iter().find(|kept| kept.event.as_ref() == Some(event));
        let kept = as_received.unwrap_or_else(|| panic!("{event:?} is not among {kept:?}"));
        assert!(kept.violations.iter().any(|violation| violation.field.starts_with(field)));
    }
    world.stop().await;
}

/// The rejected events, newest first.
async fn kept(desk: &crate::world::Desk, count: usize) -> Vec<profile::RejectedEvent> {
    eventually(PATIENCE, "the rejected events are listed", || {
        let mut profile = desk.profile.clone();
        async move {
            let request = profile::ListRejectedEventsRequest::default();
            let events = profile.list_rejected_events(request).await.ok()?.into_inner().events;
            (events.len() == count).then_some(events)
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_valid_token_of_the_issuer_is_let_in() {
    let world = World::start().await;
    let channel = world.channel();
    let caller = tenant();
    let try_token = async |token: &str| {
        let path = "/rapport.profile.v1.ProfileService/ListTraits";
        call(&channel, path, Some(token), Vec::new(), PATIENCE).await
    };
    let good = world.full_token(caller);
    assert_eq!(try_token(&good).await.code, Code::Ok);

    let signer = world.signer();
    let [header, body, signature] = parts(&good);
    let (stranger, _) = Signer::generate().expect("a key");
    let hour = Duration::from_secs(3_600);
    let grant = Grant {
        audience: Audience::Public,
        tenant: caller,
        subject: "x",
        scopes: &["profile:read"],
        ttl: hour,
    };
    let [_, _, strangers] = parts(&stranger.issue(&grant).expect("signed").0);
    let as_header = |alg: &str| header.replace(r#""EdDSA""#, &format!(r#""{alg}""#));
    let unsigned = format!("{}.{}.", encode(&as_header("none")), encode(&body));
    let symmetric = format!("{}.{}.{signature}", encode(&as_header("HS256")), encode(&body));
    let other_tenant = body.replace(&caller.to_string(), &tenant().to_string());
    assert_ne!(other_tenant, body);
    let sign = |claims: &Claims| signer.sign(claims).expect("signed");
    let bad = [
        ("expired", sign(&Claims { exp: now() - 60, ..claims(caller) })),
        ("not yet", sign(&Claims { nbf: now() + 600, ..claims(caller) })),
        ("another issuer", sign(&Claims { iss: "somebody".to_owned(), ..claims(caller) })),
        ("internal", sign(&Claims { aud: "rapport-internal".to_owned(), ..claims(caller) })),
        ("no tenant", sign(&Claims { tenant: Uuid::nil(), ..claims(caller) })),
        ("unknown key", stranger.sign(&claims(caller)).expect("signed")),
        ("forged", format!("{}.{}.{strangers}", encode(&header), encode(&body))),
        ("another body", format!("{}.{}.{signature}", encode(&header), encode(&other_tenant))),
        ("alg none", unsigned),
        ("alg HS256", symmetric),
        ("not a token", "x".repeat(50)),
    ];
    let refusal = try_token("").await;
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Unauthenticated, "TOKEN_INVALID"));
    for (what, token) in &bad {
        // The same words for each: why helps only those who forge.
        assert_eq!(try_token(token).await, refusal, "{what}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_trait_in_a_predicate_is_named_with_its_field() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    let rule = |name: &str, when: &str| scoring::ScoreRule {
        name: name.to_owned(),
        when: when.to_owned(),
        points: 1.0,
        ..Default::default()
    };
    let rules = vec![
        rule("fine", "orders.count > 1"),
        rule("unknown", r#"traits.no_such_trait == "x""#),
        rule("broken", "orders.count >"),
    ];
    let scorecard = scoring::Scorecard { name: "card".to_owned(), rules, ..Default::default() };
    let request =
        scoring::UpsertScorecardRequest { scorecard: Some(scorecard), ..Default::default() };
    let status = desk.scoring.upsert_scorecard(request).await.expect_err("refused");
    assert_eq!(status.code(), Code::InvalidArgument);
    let bad = status.get_error_details().bad_request().expect("violations").clone();
    let about = |place: &str| {
        let found = bad.field_violations.iter().find(|found| found.field.ends_with(place));
        found.unwrap_or_else(|| panic!("nothing about {place}: {bad:?}")).description.clone()
    };
    assert!(about("rules[1].when").contains("no_such_trait"), "{bad:?}");
    assert!(!about("rules[2].when").is_empty(), "all violations at once");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_a_file_is_said_with_its_line() {
    let misspelt =
        "kind: Team\nname: sales\n---\nkind: Agent\nname: ada\nteam: sales\ncapacty: 3\n";
    let file = Path::new("house.yaml");
    let findings = rapport::apply::read_text(file, misspelt, &pool()).expect_err("misspelt");
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("house.yaml:7:1: "), "{told:?}");
    assert!(told[0].contains("capacty"), "{told:?}");

    let world = World::start().await;
    let mut desk = world.desk(tenant());
    let wrong = "kind: Trait\nname: plan\ntype: string\n---\nkind: Scorecard\nname: card\nrules:\n  \
                 - {name: a, when: 'orders.count > 1', points: 1}\n  \
                 - {name: b, when: 'traits.paln == \"gold\"', points: 1}\n";
    let resources = rapport::apply::read_text(file, wrong, &pool()).expect("valid YAML");
    let findings = rapport::apply::apply(&mut desk.client, &pool(), &resources, false)
        .await
        .expect_err("an unknown trait");
    let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.starts_with("house.yaml:9:")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("paln")), "{told:?}");
    let request = profile::GetTraitRequest { name: "plan".to_owned() };
    let status = desk.profile.get_trait(request).await.expect_err("nothing was saved");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_knows_what_the_same_files_define() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart.yaml");
    let resources = rapport::apply::read(&[file], &pool()).expect("an example that is well formed");
    let checked = rapport::apply::apply(&mut desk.client, &pool(), &resources, true).await;
    let checked = checked.expect("valid before anything of it is there");
    assert_eq!(checked.len(), resources.len());
    let request = routing::GetTeamRequest { name: "sales".to_owned() };
    let status = desk.routing.get_team(request).await.expect_err("nothing was saved");
    assert_eq!(status.code(), Code::NotFound, "{status:?}");

    let saved = rapport::apply::apply(&mut desk.client, &pool(), &resources, false).await;
    assert_eq!(saved.expect("saved").len(), resources.len());
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_call_is_not_blamed_on_the_file() {
    let world = World::start().await;
    let address = world.suite.rpc_address();
    let stranger = world.token(tenant(), &["profile:read"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = format!("http://{}", free.local_addr().expect("an address"));
    drop(free);
    let team = "kind: Team\nname: sales\n";
    let resources = rapport::apply::read_text("a.yaml".as_ref(), team, &pool()).expect("valid");
    let cases = [
        (&address, "not a token", "the token is refused"),
        (&address, &stranger, "the token is refused"),
        (&nobody, &stranger, "nothing answers at http://127.0.0.1:"),
    ];
    for (address, token, said) in cases {
        let mut client = rapport::client::Client::new(address, token).expect("a client");
        let found = rapport::apply::apply(&mut client, &pool(), &resources, false).await;
        let found = found.expect_err("refused");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].to_string().starts_with(said), "{}", found[0]);
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_is_named_by_its_field() {
    let world = World::start().await;
    let mut desk = world.desk(tenant());
    let request = identity::MergeCustomersRequest {
        customer_id: "42".to_owned(),
        reason: "x".repeat(501),
        ..Default::default()
    };
    let status = desk.identity.merge_customers(request).await.expect_err("refused");
    let bad = status.get_error_details().bad_request().expect("violations").clone();
    let mut fields: Vec<&str> =
        bad.field_violations.iter().map(|violation| violation.field.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["customer_id", "other_customer_id", "reason"]);

    let path = "/rapport.profile.v1.ProfileService/NoSuchMethod";
    let token = world.full_token(tenant());
    let answer: Answer = call(&world.channel(), path, Some(&token), Vec::new(), PATIENCE).await;
    assert_eq!(answer.code, Code::Unimplemented);
    world.stop().await;
}

fn claims(tenant: TenantId) -> Claims {
    Claims {
        iss: ISSUER.to_owned(),
        aud: Audience::Public.name().to_owned(),
        sub: "journeys".to_owned(),
        exp: now() + 3_600,
        nbf: now(),
        jti: Uuid::now_v7().to_string(),
        tenant: tenant.uuid(),
        scope: "profile:read".to_owned(),
        browser: None,
    }
}

/// Header and body as JSON, the signature as it is.
fn parts(token: &str) -> [String; 3] {
    let mut parts = token.split('.').map(str::to_owned);
    let mut next = || parts.next().expect("three parts");
    let (header, body, signature) = (next(), next(), next());
    [decode(&header), decode(&body), signature]
}

fn decode(part: &str) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

fn encode(part: &str) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).expect("after 1970")
}
