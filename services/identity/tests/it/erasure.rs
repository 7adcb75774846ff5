//! A customer is erased, who is left is resolved as if it had never been there, and who comes
//! back is somebody new.

use contracts::feed::v1::feed_service_client::FeedServiceClient;
use contracts::feed::v1::{Receipt, RecordReceiptsRequest};
use contracts::identity::v1::erase_customer_request::Key;
use contracts::identity::v1::{
    EraseCustomerRequest, Erasure, ErasureState, GetErasureRequest, ListErasuresRequest,
    ResolveRequest,
};
use identity::erasure;
use sqlx::{AssertSqlSafe, Row};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::world::{Client, Raw, World, identifier};

impl Client {
    async fn erase(&mut self, id: &str) -> Result<Erasure, Status> {
        self.erase_as(Key::CustomerId(id.to_owned()), "", false).await
    }

    async fn erase_as(
        &mut self,
        key: Key,
        request_id: &str,
        validate_only: bool,
    ) -> Result<Erasure, Status> {
        let request = EraseCustomerRequest {
            key: Some(key),
            request_id: request_id.to_owned(),
            validate_only,
        };
        Ok(self.0.erase_customer(request).await?.into_inner().erasure.unwrap())
    }

    async fn erasure(&mut self, id: &str) -> Result<Erasure, Status> {
        let request = GetErasureRequest { erasure_id: id.to_owned() };
        Ok(self.0.get_erasure(request).await?.into_inner().erasure.unwrap())
    }

    async fn resolve_at(&mut self, set: &[Raw<'_>], seconds: i64) -> Result<String, Status> {
        let request = ResolveRequest {
            identifiers: set.iter().map(|raw| identifier(*raw)).collect(),
            event_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
        };
        Ok(self.0.resolve(request).await?.into_inner().resolution.unwrap().customer_id)
    }
}

/// All rows of all tables as text.
async fn dump(world: &World) -> String {
    let tables = "select relname::text from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace and relname !~ '^feed'";
    let tables: Vec<String> =
        sqlx::query_scalar(tables).fetch_all(world.database.pool()).await.unwrap();
    let mut text = String::new();
    for table in tables {
        let select = AssertSqlSafe(format!("select row_to_json(t)::text from {table} t"));
        for row in sqlx::query(select).fetch_all(world.database.pool()).await.unwrap() {
            text.push_str(&format!("{table} {}\n", row.get::<String, _>(0)));
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_customer_leaves_ids_and_times_only_and_comes_back_as_somebody_new() {
    let world = World::new().await;
    let mut client = world.tenant();
    let set: &[Raw<'_>] = &[("email", "li.erase@example.cn"), ("user_id", "u-erase")];
    let first = client.resolve(set).await;
    let other = client.resolve(&[("phone", "13987650000"), ("user_id", "u-erase-2")]).await;
    client.merge(&first.customer_id, &other.customer_id).await.unwrap();
    client.split(&first.customer_id, &[&other.evidence_id]).await.unwrap();
    client.merge(&first.customer_id, &other.customer_id).await.unwrap();

    let would = client.erase_as(Key::CustomerId(other.customer_id.clone()), "", true).await;
    let would = would.unwrap();
    assert_eq!((would.evidence_count, would.erasure_id.as_str()), (2, ""));
    assert!(client.customer(&first.customer_id).await.is_ok(), "only asked");

    let by = Key::Identifier(identifier(("email", "Li.Erase@example.cn")));
    let request_id = Uuid::new_v4().to_string();
    let erased = client.erase_as(by.clone(), &request_id, false).await.unwrap();
    assert_eq!(erased.customer_id, first.customer_id);
    assert_eq!(erased.merged_customer_ids, std::slice::from_ref(&other.customer_id));
    assert_eq!((erased.evidence_count, erased.state()), (2, ErasureState::Pending));
    assert_eq!(erased.receipts.len(), 5);

    // Nothing leads there, and nothing but ids and times is left.
    for id in [&first.customer_id, &other.customer_id] {
        assert_eq!(client.customer(id).await.unwrap_err().code(), Code::NotFound);
    }
    let absent = client.by_identifier(("email", "li.erase@example.cn")).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    let left = dump(&world).await;
    for table in ["evidence ", "identifier ", "occurrence ", "companion ", "decision ", "customer "]
    {
        let rows = left.lines().filter(|line| line.starts_with(table)).count();
        assert_eq!(rows, 0, "{table}: {left}");
    }
    assert_eq!(left.matches("tombstone {").count(), 2);

    // Again: by request id, by each id; a stranger sees nothing.
    assert_eq!(client.erase_as(by.clone(), &request_id, false).await.unwrap(), erased);
    assert_eq!(client.erase(&first.customer_id).await.unwrap().erasure_id, erased.erasure_id);
    assert_eq!(client.erase(&other.customer_id).await.unwrap().erasure_id, erased.erasure_id);
    assert_eq!(client.erase_as(by, "", false).await.unwrap_err().code(), Code::NotFound);
    let mut stranger = world.tenant();
    assert_eq!(stranger.erase(&first.customer_id).await.unwrap_err().code(), Code::NotFound);
    let foreign = stranger.erasure(&erased.erasure_id).await.unwrap_err();
    assert_eq!(foreign.code(), Code::NotFound);

    // What was seen before and comes late is refused; who is seen later is new.
    let erase_time = erased.erase_time.unwrap();
    let late = client.resolve_at(set, erase_time.seconds - 1).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    let back = client.resolve(set).await;
    assert_ne!(back.customer_id, first.customer_id);
    assert!(back.map_version > first.map_version && back.created, "{back:?}");
    assert_eq!((&back.evidence_id, back.erase_time), (&first.evidence_id, Some(erase_time)));
    let late = client.resolve_at(set, erase_time.seconds - 1).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition, "also when somebody new has the identifiers");
    let again = client.erase(&back.customer_id).await.unwrap();
    assert_ne!(again.erasure_id, erased.erasure_id);
    let listed = client.0.list_erasures(ListErasuresRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().erasures.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_only_the_erased_made_shared_links_the_others_again() {
    let world = World::new().await;
    let mut client = world.tenant();
    let phone: Raw<'_> = ("phone", "13900001111");
    let mut customers = Vec::new();
    for user in ["a", "b", "c"] {
        customers.push(client.who(&[phone, ("user_id", user)]).await);
    }
    let distinct: std::collections::BTreeSet<&String> = customers.iter().collect();
    assert_eq!(client.who(&[phone, ("user_id", "a")]).await, customers[0]);
    let apart = client.who(&[phone, ("user_id", "b")]).await
        != client.who(&[phone, ("user_id", "c")]).await;
    assert!(apart, "three users make the number shared: {distinct:?}");
    let erased = client.who(&[phone, ("user_id", "a")]).await;
    client.erase(&erased).await.unwrap();

    // As if the first had never been there.
    let mut fresh = world.tenant();
    for user in ["b", "c"] {
        fresh.who(&[phone, ("user_id", user)]).await;
    }
    let together = |one: &str, other: &str| one == other;
    let expected = together(
        &fresh.who(&[phone, ("user_id", "b")]).await,
        &fresh.who(&[phone, ("user_id", "c")]).await,
    );
    let actual = together(
        &client.who(&[phone, ("user_id", "b")]).await,
        &client.who(&[phone, ("user_id", "c")]).await,
    );
    assert!(expected && actual, "{expected} {actual}");
    let shared = client.resolve(&[phone]).await.shared_only;
    assert_eq!(shared, fresh.resolve(&[phone]).await.shared_only);
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_complete_an_erasure_and_a_ledger_erases_an_older_database_again() {
    let world = World::new().await;
    let mut client = world.tenant();
    let set: &[Raw<'_>] = &[("email", "ledger@example.cn")];
    let kept = client.who(&[("email", "kept@example.cn")]).await;
    let gone = client.who(set).await;
    let erased = client.erase(&gone).await.unwrap();
    assert_eq!(erasure::pending(&world.database).await.unwrap(), 1);

    let rows = erasure::ledger(&world.database, 0, 100).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.seq).collect::<Vec<_>>(), [1]);
    let row = &rows[0];
    assert_eq!(row.erasure_id.to_string(), erased.erasure_id);
    let tenant = kernel::TenantId::new(row.tenant_id);
    let peer = world.house.peer(&world.endpoint, tenant);
    let mut feed = FeedServiceClient::new(peer);
    let receipt = |service: &str| Receipt {
        tenant_id: row.tenant_id.as_bytes().to_vec().into(),
        part_id: row.part_id.as_bytes().to_vec().into(),
        service: service.to_owned(),
        done_us: row.erased_us + 1,
    };
    let mut receipts: Vec<Receipt> = ["profile", "scoring", "routing"].map(receipt).to_vec();
    feed.record_receipts(RecordReceiptsRequest { receipts: receipts.clone() }).await.unwrap();
    assert_eq!(client.erasure(&erased.erasure_id).await.unwrap().state(), ErasureState::Pending);
    receipts.push(receipt("feedback"));
    feed.record_receipts(RecordReceiptsRequest { receipts }).await.unwrap();
    let done = client.erasure(&erased.erasure_id).await.unwrap();
    assert_eq!(done.state(), ErasureState::Done);
    assert!(done.receipts.iter().all(|receipt| receipt.done_time.is_some()), "{done:?}");
    assert_eq!(erasure::pending(&world.database).await.unwrap(), 0);

    // A database of before the erasure: the person is there, the ledger is not.
    let older = World::new().await;
    let mut restored = older.client(tenant);
    restored.resolve(set).await;
    restored.resolve(&[("email", "kept@example.cn")]).await;
    let keys = &older.house.keys;
    // The evidence id depends on the keys of the installation: that of the older one.
    let evidence = restored.resolve(set).await.evidence_id.parse().unwrap();
    let mut row = row.clone();
    row.evidence_ids = vec![evidence];
    let rows = [row];
    assert_eq!(erasure::replay(&older.database, keys, &rows).await.unwrap(), 1);
    assert_eq!(erasure::replay(&older.database, keys, &rows).await.unwrap(), 0, "again");
    let absent = restored.by_identifier(("email", "ledger@example.cn")).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    assert!(restored.by_identifier(("email", "kept@example.cn")).await.is_ok());
    assert_eq!(erasure::pending(&older.database).await.unwrap(), 1, "the others are told");
    assert!(client.customer(&kept).await.is_ok());
}
