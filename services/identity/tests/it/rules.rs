//! The tenants' rules.

use contracts::identity::v1::{
    GetIdentityRulesRequest, IdentityRules, IgnoreReason, NamespaceRule, UpsertIdentityRulesRequest,
};
use tonic::{Code, Status};

use crate::world::{Client, World, fields, identifier};

fn rules() -> IdentityRules {
    IdentityRules {
        namespaces: vec![NamespaceRule {
            namespace: "douyin_id".to_owned(),
            unique: true,
            max_companions: 1,
            ignore_case: true,
        }],
        blocked: vec![identifier(("phone", "400 800 1234"))],
        default_region: "CN".to_owned(),
        meta: None,
    }
}

async fn upsert(
    client: &mut Client,
    rules: IdentityRules,
    etag: &str,
    validate_only: bool,
) -> Result<IdentityRules, Status> {
    let etag = etag.to_owned();
    let request = UpsertIdentityRulesRequest {
        rules: Some(rules),
        etag,
        validate_only,
        ..Default::default()
    };
    Ok(client.0.upsert_identity_rules(request).await?.into_inner().rules.unwrap())
}

async fn get(client: &mut Client) -> IdentityRules {
    let request = GetIdentityRulesRequest {};
    client.0.get_identity_rules(request).await.unwrap().into_inner().rules.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_versioned_and_apply_to_what_arrives_from_then_on() {
    let world = World::new().await;
    let mut client = world.tenant();
    let defaults = get(&mut client).await;
    assert_eq!(defaults.meta.unwrap().version, 0);
    assert_eq!(defaults.namespaces.len(), 3);
    let hotline = [("user_id", "u1"), ("phone", "4008001234")];
    assert!(client.resolve(&hotline).await.ignored.is_empty());

    let checked = upsert(&mut client, rules(), "", true).await.unwrap();
    assert_eq!(checked.meta.unwrap().version, 1);
    assert_eq!(get(&mut client).await.meta.unwrap().version, 0, "only checked");
    let saved = upsert(&mut client, rules(), "", false).await.unwrap().meta.unwrap();
    let again = upsert(&mut client, rules(), &saved.etag, false).await.unwrap().meta.unwrap();
    assert_eq!((again.version, &again.etag), (1, &saved.etag), "the same rules change nothing");
    let read = get(&mut client).await;
    assert_eq!((read.blocked, read.namespaces), (rules().blocked, rules().namespaces));

    let after = client.resolve(&hotline).await;
    assert_eq!(after.ignored[0].reason(), IgnoreReason::Blocked);
    let lower = client.who(&[("douyin_id", "AbC")]).await;
    assert_eq!(client.who(&[("douyin_id", "aBc")]).await, lower);

    let stale = upsert(&mut client, IdentityRules::default(), "stale", false).await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let other = upsert(&mut client, IdentityRules::default(), &saved.etag, false).await.unwrap();
    assert_eq!(other.meta.unwrap().version, 2);
    assert!(client.resolve(&hotline).await.ignored.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_rules_is_told() {
    let world = World::new().await;
    let mut client = world.tenant();
    let mut wrong = rules();
    wrong.namespaces[0].namespace = "Bad Name".to_owned();
    wrong.default_region = "Atlantis".to_owned();
    wrong.blocked.push(identifier(("phone", "12")));
    let refused = upsert(&mut client, wrong, "", false).await.unwrap_err();
    let mut fields = fields(&refused);
    fields.sort();
    let expected =
        ["rules.blocked[1].value", "rules.default_region", "rules.namespaces[0].namespace"];
    assert_eq!(fields, expected);
    let empty = UpsertIdentityRulesRequest::default();
    let refused = client.0.upsert_identity_rules(empty).await.unwrap_err();
    assert_eq!(crate::world::fields(&refused), ["rules"]);
}
