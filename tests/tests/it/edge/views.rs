//! Everything about a customer in one answer.

use serde_json::{Value, json};

use super::http::{Reply, call, send};
use super::{IDENTITY, PROFILE, reason};
use crate::world::{World, tenant};

async fn view(world: &World, token: &str, path: &str) -> Reply {
    let bearer = format!("Bearer {token}");
    send(world, &format!("GET /v1/customers{path}"), &[("authorization", &bearer)], b"").await
}

async fn ingest(world: &World, token: &str, user: &str) -> String {
    let events = json!({"events": [{
        "messageId": user, "type": "EVENT_TYPE_TRACK", "name": "Seen",
        "identifiers": [{"namespace": "email", "value": format!("{user}@example.com")}],
    }]});
    let path = format!("{PROFILE}/IngestEvents");
    let answer = call(world, &path, token, &events.to_string()).await.json().await;
    answer["results"][0]["customerId"].as_str().expect("a customer").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_seen_whole_by_id_by_identifier_and_after_a_merge() {
    let world = World::start().await;
    let owner = tenant();
    let token = world.full_token(owner);
    let ada = ingest(&world, &token, "ada").await;

    let whole = view(&world, &token, &format!("/{ada}")).await;
    assert_eq!((whole.status, whole.header("cache-control")), (200, Some("no-store")));
    let whole = whole.json().await;
    assert_eq!(whole["customer"]["customerId"], ada.as_str(), "{whole}");
    assert_eq!(whole["profile"]["totalEvents"], "1");
    assert_eq!((&whole["scores"], &whole["openDemands"]), (&json!([]), &json!([])), "{whole}");
    assert_eq!(whole["errors"], Value::Null);
    let found = view(&world, &token, "?namespace=email&value=Ada%40Example.com").await.json().await;
    assert_eq!(found["customer"], whole["customer"]);

    let other = ingest(&world, &token, "grace").await;
    let merge = json!({"customerId": ada, "otherCustomerId": other}).to_string();
    let path = format!("{IDENTITY}/MergeCustomers");
    assert_eq!(call(&world, &path, &token, &merge).await.status, 200);
    for id in [&ada, &other] {
        let merged =
            testkit::eventually(crate::world::PATIENCE, "the merged profile", async || {
                let merged = view(&world, &token, &format!("/{id}")).await.json().await;
                if merged["profile"]["totalEvents"] == "2" { Ok(merged) } else { Err(merged) }
            })
            .await;
        assert_eq!(merged["customer"]["customerId"], ada.as_str());
        assert_eq!(merged["profile"]["customerId"], ada.as_str());
    }
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_said_stands_beside_the_rest() {
    let world = World::start().await;
    let owner = tenant();
    let ada = ingest(&world, &world.full_token(owner), "ada").await;
    let some = world.token(owner, &["identity:read", "profile:read"]);
    let partly = view(&world, &some, &format!("/{ada}")).await;
    assert_eq!(partly.status, 200);
    let partly = partly.json().await;
    assert_eq!(partly["profile"]["totalEvents"], "1");
    for part in ["scores", "openDemands"] {
        assert_eq!(reason(&partly["errors"][part]), "SCOPE_MISSING", "{partly}");
        assert_eq!(partly[part], Value::Null);
    }

    let nothing = world.token(owner, &["routing:work"]);
    assert_eq!(view(&world, &nothing, &format!("/{ada}")).await.status, 403);
    let stranger = world.full_token(tenant());
    assert_eq!(view(&world, &stranger, &format!("/{ada}")).await.status, 404);
    assert_eq!(view(&world, &stranger, "?namespace=email&value=ada@example.com").await.status, 404);
    assert_eq!(view(&world, &stranger, "/nobody").await.status, 400);
    assert_eq!(view(&world, &stranger, "?namespace=email").await.status, 400);
    assert_eq!(view(&world, "", &format!("/{ada}")).await.status, 401);
    world.stop().await;
}
