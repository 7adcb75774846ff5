//! What tools for business intelligence see: the views of one tenant, whole and true, through two
//! drivers, and nothing besides.

mod documentation;
mod house;

use std::collections::BTreeSet;
use std::path::Path;
use std::str::FromStr as _;

use contracts::profile::v1 as profile;
use kernel::TenantId;
use rapport::bi::{self, Name, Password, Place, Reader};
use serde_json::Value;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use testkit::PrivateStack;
use tokio::process::Command;

use crate::world::{World, tenant};

/// The addresses of a tenant's reader, in the order of [`bi::SERVICES`].
async fn reader(places: &[Place], name: &str, tenant: TenantId) -> Vec<String> {
    let password = Password::random().expect("randomness");
    let reader = Reader { name: name.parse().expect("a name"), tenant, connections: 4 };
    let addresses = bi::grant(places, &reader, &password).await.expect("a reader");
    addresses.into_iter().map(|address| address.expect("a port")).collect()
}

fn places(stack: &PrivateStack, world: &World) -> Vec<Place> {
    let place = |service: &&str| {
        let (_, database) = world.database_url(service).rsplit_once('/').expect("a name");
        Place::new(&stack.tcp_url(database).expect("a port")).expect("an address")
    };
    bi::SERVICES.iter().map(place).collect()
}

/// Every view by both drivers, which must agree.
async fn read(addresses: &[String]) -> Value {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let output = Command::new(tests.join(".venv/bin/python"))
        .arg(tests.join("bi_read.py"))
        .args(addresses)
        .kill_on_drop(true)
        .output()
        .await
        .expect("python; `make setup` installs what is missing");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let mut readings: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let (psycopg, odbc) = (readings["psycopg"].take(), readings["odbc"].take());
    assert_eq!(psycopg, odbc, "two drivers read the same");
    psycopg
}

fn rows<'a>(views: &'a Value, view: &str) -> &'a Vec<Value> {
    views[view].as_array().unwrap_or_else(|| panic!("no view {view}"))
}

/// All values of columns that are ids.
fn ids(views: &Value) -> BTreeSet<String> {
    let views = views.as_object().expect("views");
    let rows = views.values().flat_map(|rows| rows.as_array().expect("rows"));
    let columns = rows.flat_map(|row| row.as_object().expect("a row"));
    let ids = columns.filter(|(name, value)| name.ends_with("_id") && value.is_string());
    ids.map(|(_, value)| value.as_str().expect("text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_sees_every_view_of_its_tenant_by_two_drivers_and_nothing_of_others() {
    let stack = PrivateStack::start_on_port().await.expect("servers");
    let world = World::start_on(&stack).await;
    let (one, other) = (tenant(), tenant());
    let mut own = house::furnish(&world, one, "one").await;
    let theirs = house::furnish(&world, other, "other").await;
    let places = places(&stack, &world);
    let addresses = reader(&places, "bi_one", one).await;
    let others = reader(&places, "bi_other", other).await;

    let views = read(&addresses).await;
    let strange = read(&others).await;
    for (view, rows) in views.as_object().expect("views") {
        assert_ne!(rows.as_array().map(Vec::len), Some(0), "{view} is empty");
    }
    let common: Vec<String> = ids(&views).intersection(&ids(&strange)).cloned().collect();
    assert_eq!(common, Vec::<String>::new(), "rows of both tenants");
    assert!(ids(&views).contains(&own.buyers[0].customer_id));
    assert!(ids(&strange).contains(&theirs.buyers[0].customer_id));

    own.profiles_agree(rows(&views, "customers"), rows(&views, "customer_revenue")).await;
    own.scores_agree(rows(&views, "scores")).await;
    own.demand_agrees(&views);
    let customers: BTreeSet<String> = ids(&views);
    assert!(!customers.contains(&own.erased), "an erased customer is shown");
    let shown = rows(&views, "customers").iter().map(|row| row["customer_id"].clone());
    assert!(!shown.collect::<Vec<_>>().contains(&Value::from(own.merged.as_str())), "a merged one");
    let redirects = rows(&views, "customer_redirects");
    assert!(redirects.iter().any(|row| row["customer_id"] == own.merged.as_str()));

    refused(&addresses).await;
    leaks_nothing(&addresses, &theirs).await;
    passwords_change(&places, one, &addresses).await;
    world.stop().await;
}

async fn connect(address: &str) -> Result<PgConnection, sqlx::Error> {
    PgConnection::connect_with(&PgConnectOptions::from_str(address)?).await
}

/// What a statement fails with.
async fn failure(connection: &mut PgConnection, sql: &str) -> Option<String> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
    let error = done.err()?;
    let code = error.as_database_error().and_then(|error| error.code());
    Some(code.map_or_else(|| error.to_string(), |code| code.into_owned()))
}

/// What a reader may not do, even after it has lifted the settings that it may lift.
const FORBIDDEN: [&str; 18] = [
    "select * from fragment",
    "select * from event limit 1",
    "select * from bi_reader",
    "select * from feed",
    "select * from tenant_key",
    "select * from resource",
    "insert into bi_reader values ('bi_one', gen_random_uuid())",
    "update bi_reader set tenant_id = gen_random_uuid()",
    "insert into bi.customers (customer_id) values (gen_random_uuid())",
    "delete from bi.customer_redirects",
    "create table bi.mine (x integer)",
    "create table public.mine (x integer)",
    "create temporary table mine (x integer)",
    "select lo_create(0)",
    "select pg_read_file('PG_VERSION')",
    "set role postgres",
    "set session authorization bi_other",
    "alter role bi_one superuser",
];
/// Only in the database of profile, but so in each: it writes with its owner's rights.
const APPEND: &str = "select feed_append('{1}', '{00000000-0000-4000-8000-000000000001}',
    '{00000000-0000-4000-8000-000000000001}', '{1}', '{1}', '{null}', '{\"\"}')";

async fn refused(addresses: &[String]) {
    let mut reader = connect(&addresses[0]).await.expect("a session");
    assert_eq!(
        failure(&mut reader, "select lo_create(0)").await.as_deref(),
        Some("42501"),
        "whoever may not write is told so"
    );
    let lifted = "set default_transaction_read_only = off; set statement_timeout = 0;
        set search_path = public, bi";
    assert_eq!(failure(&mut reader, lifted).await, None);
    for sql in FORBIDDEN.iter().chain(&[APPEND]) {
        // 42501 is a lack of privilege, 55000 a view into which nothing can be written at all.
        let code = failure(&mut reader, sql).await;
        assert!(matches!(code.as_deref(), Some("42501" | "55000")), "{sql}: {code:?}");
    }
    reader.close().await.expect("closed");
    let wrong = addresses[0].replacen("bi_one:", "bi_one:x", 1);
    let error = connect(&wrong).await.expect_err("a wrong password");
    assert_eq!(error.as_database_error().and_then(|it| it.code()).as_deref(), Some("28P01"));
    let foreign = addresses[0].replacen("bi_one:", "bi_other:", 1);
    assert!(connect(&foreign).await.is_err(), "the password of another");
}

/// Predicates that would tell of rows that the view filters out, were they evaluated on them.
async fn leaks_nothing(addresses: &[String], theirs: &house::House) {
    let mut reader = connect(&addresses[0]).await.expect("a session");
    // Division by zero for the other tenant's amount and for nobody else's.
    let probe = format!(
        "select count(*) from bi.ledger where 1 / (amount - {}.25) < 1000000",
        house::amount_of(&theirs.name)
    );
    assert_eq!(failure(&mut reader, &probe).await, None);
    let cast = "select count(*) from bi.ledger where case when entry_id like 'other-%'
        then entry_id::integer > 0 else true end";
    assert_eq!(failure(&mut reader, cast).await, None);
    let statistics: i64 =
        sqlx::query_scalar("select count(*) from pg_stats where schemaname in ('public', 'bi')")
            .fetch_one(&mut reader)
            .await
            .expect("readable");
    assert_eq!(statistics, 0, "statistics hold values");
    reader.close().await.expect("closed");
}

/// Granted again there is a new password; dropped there is nobody.
async fn passwords_change(places: &[Place], tenant: TenantId, before: &[String]) {
    let after = reader(places, "bi_one", tenant).await;
    assert!(connect(&before[0]).await.is_err(), "the old password");
    let session = connect(&after[3]).await.expect("the new password");
    session.close().await.expect("closed");

    let name: Name = "bi_one".parse().expect("a name");
    let another = Reader { name: name.clone(), tenant: crate::world::tenant(), connections: 1 };
    let password = Password::random().expect("randomness");
    let error = bi::grant(places, &another, &password).await.expect_err("of another tenant");
    assert!(format!("{error:#}").contains("drop it first"), "{error:#}");
    assert!(bi::drop(places, &name, another.tenant).await.is_err(), "dropped by another tenant");

    assert!(bi::drop(places, &name, tenant).await.expect("dropped"));
    assert!(!bi::drop(places, &name, tenant).await.expect("dropped twice"));
    assert!(connect(&after[0]).await.is_err(), "a dropped role");
}

/// The profile that the API shows.
async fn profile_of(desk: &mut crate::world::Desk, customer_id: &str) -> profile::Profile {
    let request =
        profile::GetProfileRequest { customer_id: customer_id.to_owned(), ..Default::default() };
    let answer = desk.profile.get_profile(request).await.expect("a profile").into_inner();
    answer.profile.expect("a profile")
}
