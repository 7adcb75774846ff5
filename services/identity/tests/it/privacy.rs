//! Nothing personal at rest in clear.

use contracts::identity::v1::{IdentityRules, MergeCustomersRequest, UpsertIdentityRulesRequest};
use sqlx::{AssertSqlSafe, Row};

use crate::world::{World, identifier};

const TABLES: &str = "select relname::text from pg_class
    where relkind = 'r' and relnamespace = 'public'::regnamespace";

#[tokio::test(flavor = "multi_thread")]
async fn no_column_of_any_table_holds_a_value_in_clear() {
    let world = World::new().await;
    let mut client = world.tenant();
    let rules = IdentityRules {
        blocked: vec![identifier(("email", "blocked.canary@example.cn"))],
        ..Default::default()
    };
    let request = UpsertIdentityRulesRequest { rules: Some(rules), ..Default::default() };
    client.0.upsert_identity_rules(request).await.unwrap();
    let one = client.resolve(&[("email", "canary.li@example.cn"), ("user_id", "canary-7")]).await;
    let other = client.resolve(&[("phone", "13987654321"), ("user_id", "canary-8")]).await;
    let request = MergeCustomersRequest {
        customer_id: one.customer_id.clone(),
        other_customer_id: other.customer_id,
        reason: "canary said so on the phone".to_owned(),
        request_id: uuid::Uuid::new_v4().to_string(),
    };
    client.0.merge_customers(request).await.unwrap();
    client.split(&one.customer_id, &[&other.evidence_id]).await.unwrap();

    let tables: Vec<String> =
        sqlx::query_scalar(TABLES).fetch_all(world.database.pool()).await.unwrap();
    let mut rows_seen = 0;
    for table in &tables {
        let select = AssertSqlSafe(format!("select row_to_json(t)::text from {table} t"));
        for row in sqlx::query(select).fetch_all(world.database.pool()).await.unwrap() {
            let text: String = row.get(0);
            rows_seen += 1;
            for canary in ["canary", "13987654321"] {
                let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
                assert!(!text.contains(canary), "{table}: {text}");
                assert!(!text.contains(&hex), "{table}: {text}");
            }
        }
    }
    assert!(tables.iter().any(|table| table == "evidence") && rows_seen > 15, "{rows_seen} rows");
}
