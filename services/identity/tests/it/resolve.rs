//! Reading identifiers, joining customers, shared values.

use contracts::identity::v1::{IgnoreReason, ListIdentifiersRequest, ResolveRequest};
use tonic::Code;

use crate::world::{World, fields};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_set_is_the_same_evidence_however_it_is_written() {
    let world = World::new().await;
    let mut client = world.tenant();
    let first =
        client.resolve(&[("email", " Li.Wei@Example.CN "), ("phone", "138 0013 8000")]).await;
    assert!(first.created && first.map_version == 1 && first.merged_customer_ids.is_empty());
    for set in [
        [("phone", "+86-138-0013-8000"), ("email", "li.wei@example.cn")],
        [("phone", "008613800138000"), ("email", "LI.WEI@EXAMPLE.CN")],
        [("phone", "１３８００１３８０００"), ("email", "li.wei@example.cn ")],
    ] {
        let again = client.resolve(&set).await;
        assert_eq!(again.evidence_id, first.evidence_id, "{set:?}");
        assert_eq!(again.customer_id, first.customer_id);
        assert!(!again.created);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn openids_join_through_a_unionid_that_arrives_later() {
    let world = World::new().await;
    let mut client = world.tenant();
    let shop = client.who(&[("wechat_openid", "shop:o-1")]).await;
    let club = client.who(&[("wechat_openid", "club:o-1")]).await;
    assert_ne!(shop, club, "the same openid of another app is another person's");
    let joined = [("wechat_openid", "shop:o-1"), ("wechat_unionid", "union")];
    assert_eq!(client.who(&joined).await, shop);
    let joined = [("wechat_openid", "club:o-1"), ("wechat_unionid", "union")];
    let merged = client.resolve(&joined).await;
    assert_eq!((&merged.customer_id, &merged.merged_customer_ids), (&shop, &vec![club.clone()]));
    let customer = client.customer(&club).await.unwrap();
    assert_eq!(customer.customer_id, shop, "the older id survives, the other leads to it");
    assert_eq!((customer.evidence_count, &customer.merged_customer_ids), (4, &vec![club.clone()]));
    let found = client.by_identifier(("wechat_openid", "club:o-1")).await.unwrap();
    assert_eq!(found.customer_id, shop);
    assert!(found.create_time.is_some() && found.evidence.len() == 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_tablet_stops_linking_and_its_people_fall_apart() {
    let world = World::new().await;
    let mut client = world.tenant();
    let people = ["u1", "u2", "u3"];
    let tablet = ("anonymous_id", "tablet");
    let first = client.who(&[("user_id", people[0]), tablet]).await;
    assert_eq!(client.who(&[("user_id", people[1]), tablet]).await, first, "k = 2: still one");
    let third = client.resolve(&[("user_id", people[2]), tablet]).await;
    assert!(third.created && third.customer_id != first, "a third account makes it shared");
    let second = client.resolve(&[("user_id", people[1]), tablet]).await;
    assert!(second.customer_id != first && second.customer_id != third.customer_id);
    assert_eq!(second.map_version, 2, "it moved out");
    assert_eq!(client.who(&[("user_id", people[0]), tablet]).await, first);

    let alone = client.resolve(&[tablet]).await;
    assert!(alone.shared_only, "the tablet alone identifies nobody");
    let nobody = client.by_identifier(tablet).await.unwrap_err();
    assert_eq!(nobody.code(), Code::NotFound);
    let request = ListIdentifiersRequest { customer_id: first, ..Default::default() };
    let listed = client.0.list_identifiers(request).await.unwrap().into_inner().identifiers;
    let shared: Vec<(String, bool)> =
        listed.into_iter().map(|one| (one.identifier.unwrap().namespace, one.shared)).collect();
    assert_eq!(shared, [("anonymous_id".to_owned(), true), ("user_id".to_owned(), false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_identifies_nobody_is_left_out_and_told() {
    let world = World::new().await;
    let mut client = world.tenant();
    let set = [
        ("phone", "138****8000"),
        ("email", "test@test.com"),
        ("phone", "123"),
        ("user_id", "u1"),
        ("user_id", " u1 "),
    ];
    let resolution = client.resolve(&set).await;
    let ignored: Vec<(i32, IgnoreReason)> =
        resolution.ignored.iter().map(|one| (one.index, one.reason())).collect();
    let expected = [
        (0, IgnoreReason::Masked),
        (1, IgnoreReason::Placeholder),
        (2, IgnoreReason::Malformed),
        (4, IgnoreReason::Duplicate),
    ];
    assert_eq!(ignored, expected);
    let nobody = client.try_resolve(&[("phone", "138****8000")]).await.unwrap_err();
    assert_eq!(
        (nobody.code(), fields(&nobody)),
        (Code::InvalidArgument, vec!["identifiers".into()])
    );
    let wrong = client.try_resolve(&[("E-Mail", "a@b.cn"), ("?", "x")]).await.unwrap_err();
    assert_eq!(fields(&wrong), ["identifiers[0].namespace", "identifiers[1].namespace"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_set_of_a_batch_fails_alone() {
    let world = World::new().await;
    let mut client = world.tenant();
    let sets = vec![
        vec![("user_id", "u1")],
        vec![("phone", "138****8000")],
        vec![("email", "li@example.cn"), ("user_id", "u1")],
        vec![("user_id", "u1")],
    ];
    let answers = client.batch(&sets).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers[1].as_ref().unwrap_err().contains("identifiers"));
    let third = answers[2].as_ref().unwrap();
    assert_eq!(third.customer_id, first.customer_id, "sets of one batch see each other");
    let created = answers.iter().flatten().filter(|one| one.created).count();
    assert_eq!(created, 1, "one customer was created, once");
    let empty = client.0.batch_resolve(contracts::identity::v1::BatchResolveRequest::default());
    assert_eq!(fields(&empty.await.unwrap_err()), ["requests"]);
    let requests = vec![ResolveRequest::default(); 501];
    let request = contracts::identity::v1::BatchResolveRequest { requests };
    assert_eq!(fields(&client.0.batch_resolve(request).await.unwrap_err()), ["requests"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenants_customer_does_not_exist() {
    let world = World::new().await;
    let (mut ours, mut theirs) = (world.tenant(), world.tenant());
    let set = [("email", "li@example.cn"), ("user_id", "u1")];
    let mine = ours.resolve(&set).await;
    let other = theirs.resolve(&set).await;
    assert_ne!(mine.evidence_id, other.evidence_id, "evidence ids are keyed by tenant");
    assert_ne!(mine.customer_id, other.customer_id);

    let absent = uuid::Uuid::now_v7().to_string();
    let id = mine.customer_id.as_str();
    for (foreign, missing) in [
        (theirs.customer(id).await.unwrap_err(), theirs.customer(&absent).await.unwrap_err()),
        (
            theirs.merge(id, &other.customer_id).await.unwrap_err(),
            theirs.merge(&absent, &other.customer_id).await.unwrap_err(),
        ),
        (
            theirs.split(id, &[&mine.evidence_id]).await.unwrap_err(),
            theirs.split(&absent, &[&mine.evidence_id]).await.unwrap_err(),
        ),
    ] {
        assert_eq!(foreign.code(), Code::NotFound);
        assert_eq!(foreign.message(), missing.message());
    }
    let request = ListIdentifiersRequest { customer_id: id.to_owned(), ..Default::default() };
    assert_eq!(theirs.0.list_identifiers(request).await.unwrap_err().code(), Code::NotFound);
    let request = contracts::identity::v1::ExplainLinkRequest {
        left_id: mine.evidence_id.clone(),
        right_id: other.evidence_id,
    };
    assert_eq!(theirs.0.explain_link(request).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn identifiers_are_listed_page_by_page_with_their_counts() {
    let world = World::new().await;
    let mut client = world.tenant();
    let user = ("user_id", "u1");
    let id = client.who(&[user]).await;
    for number in 0..7 {
        client.resolve(&[user, ("anonymous_id", &format!("cookie-{number}"))]).await;
    }
    let mut listed = Vec::new();
    let mut token = String::new();
    loop {
        let request = ListIdentifiersRequest {
            customer_id: id.clone(),
            page_size: 3,
            page_token: token.clone(),
        };
        let page = client.0.list_identifiers(request).await.unwrap().into_inner();
        assert!(page.identifiers.len() <= 3);
        listed.extend(page.identifiers);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
        let request = ListIdentifiersRequest {
            customer_id: client.who(&[("user_id", "somebody else")]).await,
            page_size: 3,
            page_token: token.clone(),
        };
        let foreign = client.0.list_identifiers(request).await.unwrap_err();
        assert_eq!(fields(&foreign), ["page_token"], "a token is bound to its customer");
    }
    let counts: Vec<(String, i32)> =
        listed.into_iter().map(|one| (one.identifier.unwrap().value, one.evidence_count)).collect();
    assert_eq!(counts.len(), 8);
    assert_eq!(counts[0], ("cookie-0".to_owned(), 1));
    assert_eq!(counts[7], ("u1".to_owned(), 8));
}
