//! The script for web pages, in a real browser, on a page of another origin.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use contracts::identity::v1 as identity;
use contracts::profile::v1 as profile;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::world::{Desk, PATIENCE, World, identifier, tenant};

const VISIT: Duration = Duration::from_secs(120);

/// What the visitor does, and how often; the views of pages and their dwell are read apart.
const DEEDS: [(&str, usize); 6] = [
    ("Link Clicked", 1),
    ("File Downloaded", 1),
    ("Callback Requested", 1),
    ("Form Submitted", 1),
    ("Written Offline", 1),
    ("Second Tab", 1),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_is_told_whole_and_once() {
    let world = World::start().await;
    let owner = tenant();
    let mut desk = world.desk(owner);
    let write_key = world.token(owner, &["profile:ingest"]);
    visit(&world.suite.http_address(), &write_key).await;

    let events = timeline(&mut desk, "visitor-1").await;
    let named = |name: &str| events.iter().filter(|event| event.name == name).collect::<Vec<_>>();
    for (name, count) in DEEDS {
        assert_eq!(named(name).len(), count, "{name} of {:?}", names(&events));
    }
    // Views: the newsletter's, the one after it in the page, the second tab's, the last one.
    let pages: Vec<_> =
        events.iter().filter(|event| event.r#type() == profile::EventType::Page).collect();
    let mut channels: BTreeMap<&str, usize> = BTreeMap::new();
    for page in &pages {
        let said = below(page.context.as_ref(), "acquisition");
        *channels.entry(text(said, "channel")).or_default() += 1;
    }
    let expected =
        BTreeMap::from([("email", 1), ("internal", 1), ("organic_search", 1), ("direct", 1)]);
    assert_eq!(channels, expected, "{:?}", names(&events));
    let campaign = pages.iter().find_map(|page| below(page.context.as_ref(), "campaign"));
    assert_eq!(text(campaign, "name"), "spring");

    let dwells = named("Page Dwelled");
    let longest = dwells.iter().map(|event| number(event.properties.as_ref(), "duration_ms"));
    assert!(longest.fold(0.0, f64::max) >= 700.0, "{dwells:?}");
    // Addresses lose their query, forms keep what was written into them.
    let link = named("Link Clicked")[0].properties.as_ref();
    assert_eq!(text(link, "url"), "http://elsewhere.example/tents");
    assert_eq!(text(named("Callback Requested")[0].properties.as_ref(), "list"), "tents");
    assert!(!format!("{events:?}").contains("13800138000"), "what was typed into the form");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_is_served_once_to_each_browser() {
    let world = World::start().await;
    let (head, body) = get(&world, "").await;
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/javascript"), "{head}");
    assert!(head.contains("access-control-allow-origin: *") && body.contains("data-write-key"));
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag");
    let (head, body) = get(&world, &format!("if-none-match: {tag}\r\n")).await;
    assert!(head.starts_with("HTTP/1.1 304") && body.is_empty(), "{head}");
    world.stop().await;
}

/// A browser does what `snippet.mjs` says.
async fn visit(host: &str, write_key: &str) {
    let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdks/snippet.mjs");
    let child = Command::new("node")
        .arg(driver)
        .args([host, write_key])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node");
    let output = tokio::time::timeout(VISIT, child.wait_with_output()).await;
    let output = output.expect("a visit takes seconds").expect("an end");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", said(&output.stdout), said(&output.stderr));
}

/// All events of a person, once the last visit of a page is there.
async fn timeline(desk: &mut Desk, user: &str) -> Vec<profile::Event> {
    let key = identity::get_customer_request::Key::Identifier(identifier("user_id", user));
    let request = identity::GetCustomerRequest { key: Some(key) };
    let customer = desk.identity.get_customer(request).await.expect("known").into_inner();
    let customer_id = customer.customer.expect("a customer").customer_id;
    let profile = &desk.profile;
    let events = eventually(PATIENCE, "the views of the visit", || {
        let (mut profile, customer_id) = (profile.clone(), customer_id.clone());
        async move {
            let request =
                profile::GetTimelineRequest { customer_id, page_size: 1_000, ..Default::default() };
            let page = profile.get_timeline(request).await.expect("a timeline").into_inner();
            let events: Vec<_> = page.events.into_iter().filter_map(|event| event.event).collect();
            let seen = events.iter().filter(|event| event.r#type() == profile::EventType::Page);
            (seen.count() >= 4).then_some(events)
        }
    });
    events.await
}

async fn get(world: &World, more: &str) -> (String, String) {
    let address = world.suite.http_address().replace("http://", "");
    let mut stream = TcpStream::connect(&address).await.expect("the gateway");
    let request =
        format!("GET /rapport.js HTTP/1.1\r\nhost: {address}\r\n{more}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

fn names(events: &[profile::Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

fn value<'o>(object: Option<&'o Struct>, field: &str) -> Option<&'o Value> {
    object?.fields.get(field)
}

fn below<'o>(object: Option<&'o Struct>, field: &str) -> Option<&'o Struct> {
    match value(object, field)?.kind.as_ref()? {
        Kind::StructValue(below) => Some(below),
        _ => None,
    }
}

fn text<'o>(object: Option<&'o Struct>, field: &str) -> &'o str {
    match value(object, field).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text,
        _ => "",
    }
}

fn number(object: Option<&Struct>, field: &str) -> f64 {
    match value(object, field).and_then(|value| value.kind.as_ref()) {
        Some(Kind::NumberValue(number)) => *number,
        _ => 0.0,
    }
}
