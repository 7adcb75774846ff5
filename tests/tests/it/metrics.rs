//! Every metric that alerts, panels and autoscalers in `k8s/` read is one that a running suite
//! shows. `scripts/k8s-check` compares `k8s/metrics.txt` with what they read.

use std::collections::BTreeSet;
use std::path::Path;

use prometheus_client::registry::Registry;
use testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{PATIENCE, World, event, identifier, tenant};

/// The names in the list: those that a suite shows by itself are alone on their line, others
/// stand behind a word that says whose they are.
fn relied_on(whose: Option<&str>) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/metrics.txt");
    let text = std::fs::read_to_string(path).expect("the list");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let parts = lines.map(|line| match line.split_once(' ') {
        Some((whose, name)) => (Some(whose), name),
        None => (None, line),
    });
    let names = parts.filter(|(owner, _)| *owner == whose).map(|(_, name)| name.to_owned());
    let names: BTreeSet<String> = names.collect();
    assert!(!names.is_empty(), "the list is read");
    names
}

/// What Prometheus would store, histograms by the name of the whole.
fn shown(scrape: &str) -> BTreeSet<String> {
    let samples = scrape.lines().filter(|line| !line.starts_with('#'));
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    let names: BTreeSet<String> = samples.map(name).collect();
    let histograms: Vec<_> =
        names.iter().filter_map(|name| name.strip_suffix("_bucket")).map(str::to_owned).collect();
    names.into_iter().chain(histograms).collect()
}

/// What an address answers to a request.
pub(crate) async fn http(address: &str, request: &str) -> String {
    let host = address.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(host).await.expect("connected");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_suite_shows_every_metric_that_is_relied_on() {
    let world = World::start().await;
    let owner = tenant();
    let mut desk = world.desk(owner);
    desk.ingest(event("m1", "Seen", vec![identifier("user_id", "m1")])).await;
    let token = world.full_token(owner);
    let body = r#"{"batch": [{"type": "track", "event": "Seen", "userId": "m2"}]}"#;
    for (line, body) in [("POST /v1/batch", body), ("GET /v1/customers/nobody", "")] {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        http(&world.suite.http_address(), &request).await;
    }
    let relied_on = relied_on(None);
    let admin = world.suite.admin_address();
    // Feeds and tasks show theirs when they begin, which is soon after the start.
    eventually(PATIENCE, "every metric of k8s/metrics.txt", async || {
        let scrape =
            http(&admin, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
        let shown = shown(&scrape);
        let absent: Vec<_> = relied_on.difference(&shown).cloned().collect();
        if absent.is_empty() { Ok(()) } else { Err(format!("absent: {absent:?}")) }
    })
    .await;
    world.stop().await;
}

#[test]
fn scheduled_backups_show_every_metric_that_is_relied_on() {
    let mut registry = Registry::default();
    rapport::backup::Metrics::default().register(&mut registry);
    let mut scrape = String::new();
    prometheus_client::encoding::text::encode(&mut scrape, &registry).expect("text");
    let shown = shown(&scrape);
    let absent: Vec<_> = relied_on(Some("scheduled")).difference(&shown).cloned().collect();
    assert!(absent.is_empty(), "absent: {absent:?}");
}
