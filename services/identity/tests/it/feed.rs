//! What others hear, and that a follower who begins late ends with the same map.

use std::collections::BTreeMap;
use std::time::Duration;

use contracts::feed::v1::feed_service_client::FeedServiceClient;
use contracts::feed::v1::{FeedEntry, SnapshotRequest, SubscribeRequest};
use contracts::identity::v1::{CustomerRedirected, EventKind, EvidenceMoved};
use kernel::TenantId;
use prost::Message;
use uuid::Uuid;

use crate::world::World;

const LIMIT: Duration = Duration::from_secs(20);

fn uuid(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).unwrap().to_string()
}

/// (kind, subject, leads to, version).
fn read(entry: &FeedEntry) -> (EventKind, String, String, i64) {
    let kind = EventKind::try_from(entry.kind).unwrap();
    let to = match kind {
        EventKind::EvidenceMoved => EvidenceMoved::decode(&*entry.data).unwrap().customer_id,
        _ => CustomerRedirected::decode(&*entry.data).unwrap().into_customer_id,
    };
    (kind, uuid(&entry.subject), uuid(&to), entry.version)
}

impl World {
    async fn log(&self, count: usize) -> Vec<FeedEntry> {
        let nobody = TenantId::new(Uuid::nil());
        let mut client = FeedServiceClient::new(self.house.peer(&self.endpoint, nobody));
        let mut stream = client.subscribe(SubscribeRequest::default()).await.unwrap().into_inner();
        let mut entries = Vec::new();
        let reading = async {
            while entries.len() < count {
                entries.extend(stream.message().await.unwrap().unwrap().entries);
            }
        };
        tokio::time::timeout(LIMIT, reading).await.unwrap();
        assert_eq!(entries.len(), count);
        entries
    }

    async fn snapshot(&self) -> Vec<FeedEntry> {
        let nobody = TenantId::new(Uuid::nil());
        let mut client = FeedServiceClient::new(self.house.peer(&self.endpoint, nobody));
        let mut stream = client.snapshot(SnapshotRequest::default()).await.unwrap().into_inner();
        let mut entries = Vec::new();
        while let Some(answer) = stream.message().await.unwrap() {
            entries.extend(answer.entries);
        }
        entries
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn moves_and_redirects_are_told_in_key_order_and_new_evidence_is_not() {
    let world = World::new().await;
    let mut client = world.tenant();
    let old = client.resolve(&[("email", "li@example.cn")]).await;
    let young = client.resolve(&[("phone", "13800138000")]).await;
    let more = client.resolve(&[("phone", "13800138000"), ("anonymous_id", "c1")]).await;
    let both = [("email", "li@example.cn"), ("phone", "13800138000")];
    assert_eq!(client.resolve(&both).await.merged_customer_ids, vec![young.customer_id.clone()]);

    let mut moved = [young.evidence_id.clone(), more.evidence_id];
    moved.sort();
    let told: Vec<_> = world.log(3).await.iter().map(read).collect();
    let into = || old.customer_id.clone();
    let expected = [
        (EventKind::EvidenceMoved, moved[0].clone(), into(), 2),
        (EventKind::EvidenceMoved, moved[1].clone(), into(), 2),
        (EventKind::CustomerRedirected, young.customer_id.clone(), into(), 1),
    ];
    assert_eq!(told, expected);

    let split = client.split(&old.customer_id, &[&young.evidence_id]).await.unwrap();
    assert_eq!(split.split_customer_id, young.customer_id);
    let told: Vec<_> = world.log(5).await.iter().skip(3).map(read).collect();
    let itself = || young.customer_id.clone();
    let expected = [
        (EventKind::EvidenceMoved, young.evidence_id.clone(), itself(), 3),
        (EventKind::CustomerRedirected, itself(), itself(), 2),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_the_map_with_its_versions() {
    let world = World::new().await;
    let mut expected: BTreeMap<String, (String, i64)> = BTreeMap::new();
    for _ in 0..3 {
        let mut client = world.tenant();
        let users: Vec<String> = (0..300).map(|number| format!("u{number}")).collect();
        let sets: Vec<_> = users.iter().map(|user| vec![("user_id", user.as_str())]).collect();
        let first = client.batch(&sets).await;
        let id = |place: usize| first[place].as_ref().unwrap().customer_id.clone();
        client.merge(&id(7), &id(8)).await.unwrap();
        client.merge(&id(8), &id(9)).await.unwrap();
        expected.extend(client.map(&sets).await);
    }
    let entries = world.snapshot().await;
    let keys: Vec<_> = entries
        .iter()
        .map(|entry| (entry.tenant_id.clone(), entry.shard, entry.subject.clone()))
        .collect();
    assert!(keys.is_sorted(), "in key order");
    let (mut map, mut redirects) = (BTreeMap::new(), 0);
    for entry in &entries {
        assert_eq!(entry.seq, 0);
        let (kind, subject, to, version) = read(entry);
        match kind {
            EventKind::EvidenceMoved => {
                assert!(map.insert(subject, (to, version)).is_none(), "each subject once");
            }
            _ => redirects += 1,
        }
    }
    assert_eq!(map, expected);
    assert_eq!(redirects, 6, "two ids of each tenant lead elsewhere");
}
