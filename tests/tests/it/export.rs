//! Exports through the public API, read by programs of others.

use std::path::{Path, PathBuf};

use contracts::profile::v1 as profile;
use contracts::scoring::v1 as scoring;
use kernel::TenantId;
use rapport::export::{self, Format, Options, What};
use serde_json::Value;
use testkit::eventually;
use tokio::process::Command;
use uuid::Uuid;

use crate::world::{Desk, PATIENCE, World, event, identifier, identify, tenant};

const RESOURCES: &str = r#"
kind: Trait
name: plan
type: string
---
kind: Trait
name: seats
type: number
---
kind: Scorecard
name: interest
base_points: 12.5
thresholds: [{name: warm, value: 10}]
"#;

/// More than two pages.
const CUSTOMERS: usize = 450;
/// A value that a spreadsheet would calculate.
const FORMULA: &str = "=HYPERLINK(\"http://evil.example\")";

fn options(what: What, format: Format, output: &Path) -> Options {
    Options {
        what,
        format,
        output: output.to_owned(),
        overwrite: false,
        traits: Vec::new(),
        with_personal: false,
        raw: false,
    }
}

/// Files of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("rapport-export-{}", Uuid::new_v4()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).expect("the folder");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("an entry").file_name().to_string_lossy().into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _absent_is_fine = std::fs::remove_dir_all(&self.0);
    }
}

/// What others read in files, by their ending.
async fn read(files: &[PathBuf]) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let output = Command::new(tests.join(".venv/bin/python"))
        .arg(tests.join("export_read.py"))
        .args(files)
        .kill_on_drop(true)
        .output()
        .await
        .expect("python; `make setup` installs what is missing");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn rows(read: &Value, format: &str) -> Vec<Vec<Value>> {
    let rows = read[format]["rows"].as_array().expect("rows");
    rows.iter().map(|row| row.as_array().expect("a row").clone()).collect()
}

/// The place of a column.
fn at(read: &Value, format: &str, name: &str) -> usize {
    let columns = read[format]["columns"].as_array().expect("columns");
    columns.iter().position(|column| column == name).unwrap_or_else(|| panic!("no {name}"))
}

async fn furnish(desk: &mut Desk) -> Vec<String> {
    desk.apply(RESOURCES).await;
    let mut customers = Vec::new();
    let mut events = Vec::new();
    for number in 0..CUSTOMERS {
        let who = identifier("user_id", &format!("export-{number}"));
        let plan = if number == 0 { FORMULA } else { "gold" };
        let mut event = identify(&format!("m-{number}"), who, &[("plan", plan), ("name", "Ada")]);
        let seats = prost_types::value::Kind::NumberValue(number as f64);
        let seats = prost_types::Value { kind: Some(seats) };
        event.traits.as_mut().expect("traits").fields.insert("seats".to_owned(), seats);
        events.push(event);
    }
    let request = profile::IngestEventsRequest { events };
    let answer = desk.profile.ingest_events(request).await.expect("ingested").into_inner();
    for result in answer.results {
        assert_eq!(result.status(), profile::EventStatus::Accepted, "{:?}", result.violations);
        customers.push(result.customer_id);
    }
    eventually(PATIENCE, "everybody is scored", || {
        let mut scoring = desk.scoring.clone();
        async move {
            let (mut scored, mut request) = (0, scoring::ListScoresRequest::default());
            request.page_size = 200;
            loop {
                let page =
                    scoring.list_scores(request.clone()).await.map_err(|it| it.to_string())?;
                let page = page.into_inner();
                scored += page.scores.len();
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    return if scored == CUSTOMERS { Ok(()) } else { Err(scored.to_string()) };
                }
            }
        }
    })
    .await;
    customers.sort();
    customers
}

async fn exported(
    world: &World,
    owner: TenantId,
    folder: &Folder,
    what: What,
    change: impl Fn(&mut Options),
) -> Value {
    let client = world.suite.client(owner).expect("a client");
    let mut files = Vec::new();
    for (format, ending) in
        [(Format::Csv, "csv"), (Format::Xlsx, "xlsx"), (Format::Parquet, "parquet")]
    {
        let file = folder.file(&format!("{}.{ending}", Uuid::new_v4()));
        let mut options = options(what, format, &file);
        change(&mut options);
        let summary = export::run(&options, &client).await.expect("exported");
        assert_eq!(summary.rows, CUSTOMERS as u64);
        files.push(file);
    }
    read(&files).await
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_read_by_programs_of_others_and_say_the_same_in_each_format() {
    let world = World::start().await;
    let (owner, folder) = (tenant(), Folder::new());
    let mut desk = world.desk(owner);
    let customers = furnish(&mut desk).await;

    let read = exported(&world, owner, &folder, What::Profiles, |_| ()).await;
    let id = at(&read, "csv", "customer_id");
    for format in ["csv", "xlsx", "parquet"] {
        let found: Vec<String> = rows(&read, format)
            .iter()
            .map(|row| row[id].as_str().expect("id").to_owned())
            .collect();
        assert_eq!(found, customers, "{format}: everybody once, in order");
        assert_eq!(read[format]["columns"], read["csv"]["columns"], "{format}");
    }
    let columns = read["csv"]["columns"].to_string();
    assert!(columns.contains("traits.plan") && !columns.contains("traits.name"), "{columns}");
    assert_eq!(rows(&read, "xlsx").len(), rows(&read, "parquet").len());
    same_values(&read, &["life_cycle_stage", "events", "first_seen_at", "orders", "traits.seats"]);
    let types = &read["parquet"]["types"];
    let told = ["events", "first_seen_at", "revenue", "engagement", "traits.plan", "traits.seats"]
        .map(|name| types[name].as_str().expect("a type"));
    let expected =
        ["BIGINT", "TIMESTAMP WITH TIME ZONE", "DECIMAL(38,9)", "DOUBLE", "VARCHAR", "DOUBLE"];
    assert_eq!(told, expected);
    formulas_are_text(&read);

    let read = exported(&world, owner, &folder, What::Scores, |_| ()).await;
    let (id, value) = (at(&read, "csv", "customer_id"), at(&read, "csv", "value"));
    for format in ["xlsx", "parquet"] {
        let rows = rows(&read, format);
        let found: Vec<&str> = rows.iter().map(|row| row[id].as_str().expect("an id")).collect();
        assert_eq!(found, customers, "{format}");
        assert!(rows.iter().all(|row| row[value].as_f64() == Some(12.5)), "{format}");
    }
    let read = exported(&world, owner, &folder, What::Profiles, |options| {
        options.with_personal = true;
        options.traits = vec!["name".to_owned()];
    })
    .await;
    let columns = read["csv"]["columns"].as_array().expect("columns");
    assert_eq!(columns.last(), Some(&Value::from("traits.name")));
    let name = at(&read, "parquet", "traits.name");
    assert!(rows(&read, "parquet").iter().all(|row| row[name] == "Ada"));
    world.stop().await;
}

/// Parquet and Excel tell of each customer the same.
fn same_values(read: &Value, names: &[&str]) {
    for name in names {
        let place = at(read, "parquet", name);
        let column = |format| rows(read, format).into_iter().map(move |row| row[place].clone());
        let number = |value: Value| value.as_f64().map_or(value, Value::from);
        let excel: Vec<Value> = column("xlsx").map(number).collect();
        let parquet: Vec<Value> = column("parquet").map(number).collect();
        assert_eq!(excel, parquet, "{name}");
    }
}

fn formulas_are_text(read: &Value) {
    let place = at(read, "csv", "traits.plan");
    let found = |format, text: &str| rows(read, format).iter().any(|row| row[place] == text);
    assert!(found("xlsx", FORMULA) && found("parquet", FORMULA), "kept as it is");
    assert!(found("csv", &format!("'{FORMULA}")), "behind an apostrophe");
    let kinds = read["xlsx"]["kinds"].as_array().expect("kinds");
    assert!(!kinds.contains(&Value::from("f")), "a cell is a formula: {kinds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_fails_leaves_no_file_and_says_what_to_do() {
    let world = World::start().await;
    let (owner, folder) = (tenant(), Folder::new());
    let mut desk = world.desk(owner);
    desk.apply(RESOURCES).await;
    desk.ingest(event("one", "Seen", vec![identifier("user_id", "one")])).await;
    let client = world.suite.client(owner).expect("a client");
    let output = folder.file("profiles.csv");
    let failing = async |change: fn(&mut Options), client: &rapport::client::Client| {
        let mut options = options(What::Profiles, Format::Csv, &output);
        change(&mut options);
        format!("{:#}", export::run(&options, client).await.expect_err("refused"))
    };

    let said = failing(|options| options.traits = vec!["plam".to_owned()], &client).await;
    assert!(said.contains("plam") && said.contains("plan"), "{said}");
    let said = failing(|options| options.traits = vec!["name".to_owned()], &client).await;
    assert!(said.contains("--with-personal"), "{said}");
    let said = failing(|options| options.what = What::Outcomes, &reader(&world, owner)).await;
    assert!(said.contains("feedback:read"), "{said}");
    let said = failing(|options| options.with_personal = true, &reader(&world, owner)).await;
    assert!(said.contains("profile:admin"), "{said}");
    assert_eq!(folder.names(), Vec::<String>::new());

    std::fs::write(&output, "mine").expect("written");
    let said = failing(|_| (), &client).await;
    assert!(said.contains("--overwrite"), "{said}");
    assert_eq!(std::fs::read_to_string(&output).expect("kept"), "mine");
    let mut again = options(What::Profiles, Format::Csv, &output);
    again.overwrite = true;
    export::run(&again, &client).await.expect("replaced");
    assert_eq!(std::fs::read_to_string(&output).expect("read").lines().count(), 2);
    assert_eq!(folder.names(), ["profiles.csv"]);
    world.stop().await;
}

/// A client that may only read profiles.
fn reader(world: &World, owner: TenantId) -> rapport::client::Client {
    let token = world.token(owner, &["profile:read"]);
    rapport::client::Client::new(&world.suite.rpc_address(), &token).expect("a client")
}
