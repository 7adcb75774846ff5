//! Nothing personal in clear: not in any column of any table.

use contracts::common::v1::Identifier;
use contracts::profile::v1 as wire;

use crate::world::{BASE_US, World, record, text, track};

const CANARIES: [&str; 6] =
    ["canaryid", "canaryprop", "canaryname", "canaryother", "canarycontext", "canaryrejected"];

#[tokio::test]
async fn no_table_holds_anything_personal_in_clear() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut event = track(1, "m-1", "Signed In", BASE_US);
    event.identifiers =
        vec![Identifier { namespace: "email".into(), value: "canaryid@example.org".into() }];
    event.properties = Some(record(&[("note", text("canaryprop"))]));
    event.traits = Some(record(&[("name", text("canaryname")), ("secret", text("canaryother"))]));
    event.context = Some(record(&[("page", text("canarycontext"))]));
    let taken = client.take(event.clone()).await;
    let mut refused = event;
    refused.message_id = String::new();
    refused.properties = Some(record(&[("note", text("canaryrejected"))]));
    let results = client.ingest(vec![refused]).await;
    assert_eq!(results[0].status, wire::EventStatus::Rejected as i32);
    let profile = client.get(&taken.customer_id).await.unwrap();
    assert!(profile.traits.contains_key("name"), "it can be read");

    let pool = world.database.pool();
    let sql = "select table_name::text from information_schema.tables
        where table_schema = 'public' and table_type = 'BASE TABLE'";
    let tables: Vec<String> = sqlx::query_scalar(sql).fetch_all(pool).await.unwrap();
    assert!(tables.iter().any(|table| table == "event"), "{tables:?}");
    for table in tables {
        let sql = format!(r#"select t::text from "{table}" t"#);
        let rows: Vec<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_all(pool).await.unwrap();
        for row in rows {
            for canary in CANARIES {
                // Bytes are shown in hexadecimal.
                let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
                let leaks = row.contains(canary) || row.contains(&hex);
                assert!(!leaks, "{canary} stands in {table}");
            }
        }
    }
}
