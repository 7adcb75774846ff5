//! `rapport import` into a running suite: what arrives, what a second run changes, what is
//! refused and where it says so, and what a kill in between costs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use contracts::profile::v1::{EventType, GetProfileRequest, GetTimelineRequest, Profile};
use kernel::TenantId;
use rapport::client::Client;
use rapport::import::{self, Options, Summary};
use tokio::process::Command;
use uuid::Uuid;

use crate::world::{Desk, PATIENCE, World, event, identifier, tenant};

/// A directory of its own, gone with the test.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rapport-import-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("written");
        path
    }

    fn options(&self, file: PathBuf, mapping: PathBuf) -> Options {
        Options {
            file,
            mapping,
            rejects: Some(self.0.join("rejects.csv")),
            state: Some(self.0.join("state.json")),
            resume: false,
            sheet: None,
            encoding: None,
            patience: PATIENCE,
        }
    }

    /// Line, column and reason of what was refused.
    fn rejects(&self) -> Vec<(u64, String, String)> {
        let mut reader = csv::Reader::from_path(self.0.join("rejects.csv")).expect("rejects");
        let rows = reader.deserialize().map(|row| {
            let (line, column, _, reason, _): (u64, String, String, String, String) =
                row.expect("a row");
            (line, column, reason)
        });
        rows.collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _absent_is_fine = std::fs::remove_dir_all(&self.0);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn example(name: &str) -> PathBuf {
    root().join("examples/import").join(name)
}

async fn run(world: &World, tenant: TenantId, options: &Options) -> anyhow::Result<Summary> {
    let token = world.full_token(tenant);
    let client = Client::new(&world.suite.rpc_address(), &token).expect("a client");
    import::run(options, &client, &token).await
}

/// The profile of whom an identifier belongs to; asking leaves one event behind.
async fn profile_of(desk: &mut Desk, namespace: &str, value: &str) -> Profile {
    let probe = event(&Uuid::new_v4().to_string(), "Probe", vec![identifier(namespace, value)]);
    let placed = desk.ingest(probe).await;
    let request = GetProfileRequest {
        customer_id: placed.customer_id,
        at_least_version: placed.profile_version,
        ..Default::default()
    };
    let answer = desk.profile.get_profile(request).await.expect("a profile").into_inner();
    answer.profile.expect("a profile")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_meet_in_one_profile_and_a_second_run_changes_nothing() {
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut desk = world.desk(tenant);
    let customers = place.options(example("customers_gbk.csv"), example("customers.yaml"));
    let first = run(&world, tenant, &customers).await.expect("imported");
    assert_eq!((first.counts.rows, first.counts.accepted), (24, 24), "{first:?}");
    let orders = place.options(example("orders.csv"), example("orders.yaml"));
    let first = run(&world, tenant, &orders).await.expect("imported");
    assert_eq!((first.counts.accepted, first.counts.skipped_rows), (39, 1), "{first:?}");
    assert!(first.rejects.is_none() && !place.0.join("state.json").exists(), "{first:?}");

    for options in [&customers, &orders] {
        let again = run(&world, tenant, options).await.expect("imported");
        assert_eq!(again.counts.accepted, 0, "a second run changed something: {again:?}");
        assert_eq!(again.counts.duplicates, again.counts.rows - again.counts.skipped_rows);
    }
    // The phone stands in the GBK file, the orders in the other one.
    let text = std::fs::read(example("customers_gbk.csv")).expect("the example");
    let orders = std::fs::read_to_string(example("orders.csv")).expect("the example");
    let expected = orders.lines().filter(|line| line.contains(",K0007,")).count() as i64;
    assert!(!text.is_empty() && expected > 0);
    let profile = profile_of(&mut desk, "crm_id", "shop:K0007").await;
    let ledger = profile.ledger.expect("a ledger");
    let refunded = orders.lines().any(|line| line.contains(",K0007,") && line.contains("-¥"));
    let cancelled =
        orders.lines().any(|line| line.contains(",K0007,") && line.contains("cancelled"));
    assert_eq!(ledger.orders, expected - i64::from(refunded) - i64::from(cancelled));
    assert_eq!(ledger.revenue[0].currency_code, "CNY");
    assert!(profile.traits.contains_key("name") && profile.traits.contains_key("city"));
    world.stop().await;
}

const ORDERS: &str = "\
source: shop
zone: UTC
currency: EUR
ledger:
  - type: order_completed
    entry: order
    amount: amount
    time: {column: at, as: time, format: \"%d/%m/%Y\"}
    identifiers: {email: email}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_stands_in_a_file_with_line_column_and_reason() {
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut text = b"order,email,at,amount\n".to_vec();
    // More lines are UTF-8 than GBK.
    for row in [
        &b"1,a@shop.example,01/02/2026,10.00"[..],
        b"2,b@shop.example,31/02/2026 \xe2\x80\x93,10.00",
        b"3,c@shop.example,01/02/2026,fr\xc3\xa9e",
        b"4,d@shop.example,01/02/2026",
        b"5,\xcd\xf5\xb7\xbc@shop.example,01/02/2026,10.00",
        b"6,e@shop.example,01/02/2099,10.00",
        b"7,n/a,01/02/2026,10.00",
        b"1,a@shop.example,01/02/2026,11.00",
        b"8,\"f@shop.example,01/02/2026,10.00",
        b"9,g@shop.example,01/02/2026,\"1,000.00\"",
    ] {
        text.extend_from_slice(row);
        text.extend_from_slice(b"\r\n");
    }
    let options = place.options(place.write("o.csv", text), place.write("m.yaml", ORDERS));
    let done = run(&world, tenant, &options).await.expect("the rest is imported");
    assert_eq!((done.counts.rows, done.counts.accepted), (10, 2), "{done:?}");
    assert_eq!((done.counts.rejected_rows, done.rejects.is_some()), (8, true), "{done:?}");
    let rejects = place.rejects();
    let expected = [
        (3, "at", "%d/%m/%Y"),
        (4, "amount", "must be an amount"),
        (5, "", "has 3 columns"),
        (6, "email", "GB18030"),
        (7, "at", "24 hours ahead"),
        (8, "email", "no identifier"),
        (9, "", "line 2 has the same natural key"),
        (10, "", "quote"),
    ];
    assert_eq!(rejects.len(), expected.len(), "{rejects:#?}");
    for ((line, column, reason), (at, on, part)) in rejects.iter().zip(expected) {
        assert_eq!((*line, column.as_str()), (at, on), "{reason}");
        assert!(reason.contains(part), "line {line}: {reason}");
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_in_a_later_file_is_not_taken_for_the_order_of_its_number() {
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut desk = world.desk(tenant);
    let mapping = place
        .write("m.yaml", ORDERS.replace("amount: amount", "amount: amount\n    negative: refund"));
    let head = "order,email,at,amount\n";
    let october =
        format!("{head}7,a@shop.example,01/10/2026,100\n8,a@shop.example,02/10/2026,50\n");
    let november = format!("{head}7,a@shop.example,01/11/2026,-100\n");
    let october = place.options(place.write("october.csv", october), mapping.clone());
    let november = place.options(place.write("november.csv", november), mapping);
    for (options, expected) in [(&october, 2), (&november, 1)] {
        let done = run(&world, tenant, options).await.expect("imported");
        assert_eq!((done.counts.accepted, done.counts.duplicates), (expected, 0), "{done:?}");
        let again = run(&world, tenant, options).await.expect("imported");
        assert_eq!((again.counts.accepted, again.counts.duplicates), (0, expected), "{again:?}");
    }
    let ledger = profile_of(&mut desk, "email", "a@shop.example").await.ledger.expect("a ledger");
    assert_eq!((ledger.orders, ledger.revenue[0].units), (2, 50), "{ledger:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn customers_and_orders_of_one_shop_meet_by_what_is_proposed() {
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut desk = world.desk(tenant);
    let customers = "Customer ID,Name,City\nK7,Ann,Berlin\nK8,Bo,Bonn\n";
    let orders = "Order ID,Customer ID,Order Date,Total\n\
        A-1,K7,01/31/2026,$20.00\nA-2,K8,02/28/2026,$5.00\n";
    for (name, text) in [("customers", customers), ("orders", orders)] {
        let file = place.write(&format!("{name}.csv"), text);
        let proposal = import::infer(&file, None, None).expect("a proposal");
        let options = place.options(file, place.write("m.yaml", &proposal));
        let done = run(&world, tenant, &options).await.expect("imported");
        assert_eq!(done.counts.accepted, 2, "{proposal}\n{done:?}");
    }
    let profile = profile_of(&mut desk, "crm_id", "crm:K7").await;
    assert!(profile.traits.contains_key("name"), "{profile:?}");
    assert_eq!(profile.ledger.expect("a ledger").orders, 1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_arrives_by_the_mapping_that_is_inferred_from_it() {
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut desk = world.desk(tenant);
    let data = root().join("tests/data/import");
    let file = data.join("orders.xlsx");
    let mapping = import::infer(&file, None, None).expect("a proposal");
    let options = place.options(file, place.write("m.yaml", &mapping));
    let done = run(&world, tenant, &options).await.expect("imported");
    assert_eq!((done.counts.rows, done.counts.accepted), (5, 3), "{mapping}\n{done:?}");
    let lines: Vec<u64> = place.rejects().iter().map(|reject| reject.0).collect();
    assert_eq!(lines, [8, 9], "a formula without a value, and an error");

    // Number, text and formula are what the sheet shows.
    let profile = profile_of(&mut desk, "phone", "13900010003").await;
    let revenue = &profile.ledger.as_ref().expect("a ledger").revenue[0];
    assert_eq!((revenue.units, revenue.nanos), (2_127, 500_000_000));
    let request = GetTimelineRequest { customer_id: profile.customer_id, ..Default::default() };
    let timeline = desk.profile.get_timeline(request).await.expect("a timeline").into_inner();
    let order = timeline.events.into_iter().filter_map(|found| found.event);
    let order = order.filter(|found| found.r#type() == EventType::Track && found.name != "Probe");
    let times: Vec<i64> = order.filter_map(|found| Some(found.event_time?.seconds)).collect();
    assert_eq!(times, [1_775_145_600], "midnight of Shanghai");

    // The older format holds the same orders.
    let older = place.options(data.join("orders.xls"), place.0.join("m.yaml"));
    let again = run(&world, tenant, &older).await.expect("imported");
    assert_eq!((again.counts.accepted, again.counts.duplicates), (0, 2), "{again:?}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_killed_goes_on_where_it_was_acknowledged() {
    const ROWS: u64 = 12_000;
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut text = "order,email,at,amount\n".to_owned();
    for row in 0..ROWS {
        let broken = if row % 1_000 == 999 { "x" } else { "" };
        text.push_str(&format!("{row},p{}@shop.example,01/02/2026,{broken}5\n", row % 500));
    }
    let (file, mapping) = (place.write("o.csv", text), place.write("m.yaml", ORDERS));
    let state = place.0.join("state.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_suite"));
    command.arg("import").arg(&file).arg("--mapping").arg(&mapping).arg("--state").arg(&state);
    command.arg("--rejects").arg(place.0.join("rejects.csv"));
    command.args(["--address", &world.suite.rpc_address(), "--token", &world.full_token(tenant)]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().expect("started");
    let rows = |text: &str| {
        let state: serde_json::Value = serde_json::from_str(text).expect("whole at any time");
        state["rows"].as_u64().expect("a count")
    };
    let deadline = Instant::now() + PATIENCE;
    let acknowledged = loop {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        if !text.is_empty() && rows(&text) > 0 {
            break rows(&text);
        }
        assert!(Instant::now() < deadline, "nothing was acknowledged");
        assert!(child.try_wait().expect("a state").is_none(), "it ended before it was killed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    child.kill().await.expect("killed");
    assert!(acknowledged < ROWS, "killed too late");

    let mut options = place.options(file, mapping);
    options.resume = true;
    let done = run(&world, tenant, &options).await.expect("resumed");
    assert_eq!(done.counts.rows, ROWS, "{done:?}");
    // What was sent, but not acknowledged when it was killed, is known by now.
    assert_eq!(done.counts.accepted + done.counts.duplicates, ROWS - 12, "{done:?}");
    assert_eq!((done.counts.rejected_rows, place.rejects().len()), (12, 12), "{done:?}");
    assert!(!state.exists(), "a finished import keeps no position");
    options.resume = false;
    let again = run(&world, tenant, &options).await.expect("imported");
    assert_eq!((again.counts.accepted, again.counts.duplicates), (0, ROWS - 12), "{again:?}");
    options.resume = true;
    let nothing = run(&world, tenant, &options).await.expect_err("nothing to resume");
    assert!(nothing.to_string().contains("nothing to resume"), "{nothing:#}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_away_or_a_token_that_is_refused_is_said_with_what_to_do() {
    let (world, place, tenant) = (World::start().await, Place::new(), tenant());
    let mut options = place.options(example("orders.csv"), example("orders.yaml"));
    options.patience = Duration::from_secs(1);
    let token = world.full_token(tenant);
    let nobody = Client::new("http://127.0.0.1:9", &token).expect("a client");
    let away = import::run(&options, &nobody, &token).await.expect_err("nobody answers");
    let away = format!("{away:#}");
    assert!(away.contains("rapport up") && away.contains("--resume"), "{away}");
    let stranger = Client::new(&world.suite.rpc_address(), "x.y.z").expect("a client");
    let refused = import::run(&options, &stranger, "x.y.z").await.expect_err("refused");
    assert!(format!("{refused:#}").contains("rapport token"), "{refused:#}");
    let reader = world.token(tenant, &["profile:read"]);
    let client = Client::new(&world.suite.rpc_address(), &reader).expect("a client");
    let refused = import::run(&options, &client, &reader).await.expect_err("no scope");
    assert!(format!("{refused:#}").contains("profile:ingest"), "{refused:#}");
    // Where it stopped belongs to another tenant than this one.
    options.resume = true;
    let other = run(&world, crate::world::tenant(), &options).await.expect_err("another target");
    assert!(format!("{other:#}").contains("without --resume"), "{other:#}");
    world.stop().await;
}

#[test]
fn a_proposal_imports_the_file_it_was_made_from_unchanged() {
    let place = Place::new();
    let us = "Order ID,Email,Order Date,Total\nA-1,a@shop.example,01/02/2026,\"$1,200.00\"\n\
        A-2,b@shop.example,03/31/2026,$5.50\n";
    let german = "Kunde;E-Mail;Umsatz;Stand\nMüller;m@shop.example;1.234,50;31.01.2026 08:00\n\
        Weiß;w@shop.example;7,25;01.02.2026 09:30\n";
    let lines = "{\"user_id\": \"u1\", \"event\": \"Signed Up\", \"timestamp\": \
        \"2026-01-31T08:00:00Z\", \"plan\": {\"name\": \"pro\"}}\n";
    let files = [
        (example("orders.csv"), "negative: refund"),
        (example("customers_gbk.csv"), "crm_id: {column: 客户编号"),
        (place.write("us.csv", us), "format: \"%m/%d/%Y\""),
        (place.write("german.csv", german), "decimal: \",\""),
        (place.write("lines.jsonl", lines), "name: {column: event}"),
    ];
    for (file, part) in files {
        let proposal = import::infer(&file, None, None).expect("a proposal");
        assert!(proposal.contains(part), "{part}\n{proposal}");
        let options = place.options(file, place.write("m.yaml", &proposal));
        let found = import::dry_run(&options).expect("a mapping that can be read");
        assert_eq!(found.counts.rejected_rows, 0, "{proposal}\n{}", found.report);
        assert_eq!(found.events, found.counts.rows - found.counts.skipped_rows, "{proposal}");
    }
}

#[test]
fn a_mapping_without_a_source_is_warned_of() {
    let place = Place::new();
    let file = place.write("orders.csv", "order,email,at,amount\n1,a@shop.example,01/02/2026,5\n");
    let bare = ORDERS.replace("source: shop\n", "");
    for (mapping, is_warned) in [(ORDERS.to_owned(), false), (bare, true)] {
        let options = place.options(file.clone(), place.write("m.yaml", mapping));
        let report = import::dry_run(&options).expect("read").report;
        assert_eq!(
            report.contains("no `source:`, so the file's name (orders)"),
            is_warned,
            "{report}"
        );
    }
}

#[test]
fn files_that_are_none_end_with_one_sentence() {
    let place = Place::new();
    let mapping = place.write("m.yaml", ORDERS);
    let broken_zip = b"PK\x03\x04 this is no workbook".to_vec();
    for (name, content, part) in [
        ("empty.csv", Vec::new(), "is empty"),
        ("header.csv", b"order,email,at,amount\n".to_vec(), "only a header"),
        ("other.csv", b"ordr,email,at,amount\n1,a,b,c\n".to_vec(), "did you mean `ordr`?"),
        ("broken.xlsx", broken_zip, "no Excel workbook"),
        ("lines.jsonl", b"[1]\n".to_vec(), "no line is a JSON object"),
    ] {
        let options = place.options(place.write(name, content), mapping.clone());
        let error = import::dry_run(&options).expect_err(name);
        assert!(format!("{error:#}").contains(part), "{name}: {error:#}");
    }
    let absent = place.options(place.0.join("absent.csv"), mapping);
    assert!(format!("{:#}", import::dry_run(&absent).expect_err("absent")).contains("absent.csv"));
}

#[test]
fn the_reference_of_mappings_lists_every_key() {
    let text = std::fs::read_to_string(root().join("docs/import.md")).expect("docs/import.md");
    let reference = import::reference();
    assert!(
        text.contains(&reference),
        "docs/import.md must contain this, between its own words:\n{reference}"
    );
}
