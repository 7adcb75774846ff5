//! Declaring attributes.

use contracts::profile::v1 as wire;
use prost_types::value::Kind;
use tonic::Code;

use crate::world::{BASE_US, Client, World, record, text, text_of, track};

fn definition(name: &str, r#type: wire::TraitType, personal: bool) -> wire::TraitDefinition {
    wire::TraitDefinition {
        name: name.to_owned(),
        r#type: r#type as i32,
        personal,
        ..wire::TraitDefinition::default()
    }
}

async fn upsert(
    client: &mut Client,
    definition: wire::TraitDefinition,
    etag: &str,
) -> Result<wire::TraitDefinition, tonic::Status> {
    let request = wire::UpsertTraitRequest {
        r#trait: Some(definition),
        etag: etag.to_owned(),
        ..Default::default()
    };
    Ok(client.profile.upsert_trait(request).await?.into_inner().r#trait.unwrap())
}

async fn list(client: &mut Client, page_size: i32) -> Vec<wire::TraitDefinition> {
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = wire::ListTraitsRequest { page_size, page_token };
        let page = client.profile.list_traits(request).await.unwrap().into_inner();
        all.extend(page.traits);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return all;
        }
    }
}

#[tokio::test]
async fn a_declared_trait_enters_profiles_from_then_on_until_it_is_deleted() {
    let world = World::new().await;
    let mut client = world.tenant();
    let with_plan = |id: &str, plan: Kind| {
        let traits = Some(record(&[("plan", plan)]));
        wire::Event { traits, ..track(1, id, "Signed In", BASE_US) }
    };
    let taken = client.take(with_plan("m-1", text("gold"))).await;
    let customer = taken.customer_id;
    assert_eq!(text_of(&client.get(&customer).await.unwrap(), "plan"), None, "not declared");

    let plan = definition("plan", wire::TraitType::String, false);
    let first = upsert(&mut client, plan.clone(), "").await.unwrap().meta.unwrap();
    assert_eq!(first.version, 1);
    client.take(with_plan("m-2", text("silver"))).await;
    let shown = text_of(&client.get(&customer).await.unwrap(), "plan");
    assert_eq!(shown.as_deref(), Some("silver"));
    let refused = client.ingest(vec![with_plan("m-3", Kind::NumberValue(1.0))]).await.remove(0);
    assert_eq!(refused.violations[0].field, "traits.plan");

    let stale = upsert(&mut client, plan.clone(), "1-0000000000000000").await.unwrap_err();
    assert_eq!(stale.code(), Code::Aborted);
    let number = definition("plan", wire::TraitType::Number, false);
    let status = upsert(&mut client, number, "").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);

    let delete = wire::DeleteTraitRequest { name: "plan".to_owned(), ..Default::default() };
    client.profile.delete_trait(delete.clone()).await.unwrap();
    client.profile.delete_trait(delete).await.unwrap();
    assert_eq!(text_of(&client.get(&customer).await.unwrap(), "plan"), None);

    // What was folded stays folded: the name keeps its type.
    let number = definition("plan", wire::TraitType::Number, false);
    let status = upsert(&mut client, number, "").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let again = upsert(&mut client, plan, "").await.unwrap();
    assert_eq!(again.meta.unwrap().version, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn declarations_at_the_same_time_are_checked_against_each_other() {
    let world = World::new().await;
    let client = world.tenant();
    let types = [wire::TraitType::String, wire::TraitType::Number, wire::TraitType::Time];
    let mut racing = Vec::new();
    for n in 0..12 {
        let mut client = client.clone();
        let raced = definition("raced", types[n % 3], false);
        racing.push(tokio::spawn(async move { upsert(&mut client, raced, "").await }));
    }
    // Ten personal ones are built in, and 64 are the bound.
    for n in 0..60 {
        let mut client = client.clone();
        let more = definition(&format!("more_{n}"), wire::TraitType::String, true);
        racing.push(tokio::spawn(async move { upsert(&mut client, more, "").await }));
    }
    let (mut raced, mut more) = (Vec::new(), 0);
    for task in racing {
        match task.await.unwrap() {
            Ok(saved) if saved.name == "raced" => raced.push(saved.r#type),
            Ok(_) => more += 1,
            Err(status) => assert_eq!(status.code(), Code::InvalidArgument, "{status:?}"),
        }
    }
    assert!(raced.len() == 4 && raced.iter().all(|it| *it == raced[0]), "{raced:?}");
    assert_eq!(more, 54);
}

#[tokio::test]
async fn traits_are_listed_by_name_with_the_built_in_ones() {
    let world = World::new().await;
    let mut client = world.tenant();
    upsert(&mut client, definition("Zeta", wire::TraitType::Time, false), "").await.unwrap();
    upsert(&mut client, definition("city", wire::TraitType::String, false), "").await.unwrap();
    let all = list(&mut client, 5).await;
    let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
    assert!(names.is_sorted(), "{names:?}");
    let version = |name: &str| {
        let found = all.iter().find(|it| it.name == name).unwrap();
        (found.meta.as_ref().unwrap().version, found.personal)
    };
    assert_eq!(version("email"), (0, true));
    assert_eq!(version("city"), (1, false));
    assert_eq!(version("Zeta"), (1, false));
    let get = wire::GetTraitRequest { name: "nothing".to_owned() };
    assert_eq!(client.profile.get_trait(get).await.unwrap_err().code(), Code::NotFound);
}
