use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::resource::{ABSENT, Change, Stored, upsert};
use store::{Error, Resource, Resources, View, transaction};

use crate::{LIMIT, database, tenant};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Team {
    title: String,
    capacity: u32,
}

impl Resource for Team {
    const KIND: &'static str = "Team";
}

fn team(capacity: u32) -> Team {
    Team { title: "上海 sales".to_owned(), capacity }
}

fn at(second: i64) -> Change<'static> {
    Change::at(Timestamp::from_second(second).unwrap())
}

#[tokio::test]
async fn saving_the_same_again_changes_nothing_and_another_makes_a_version() {
    let (_clone, database) = database().await;
    let teams = Resources::new(database);
    let first = teams.upsert(tenant(1), "sales", &team(1), at(1)).await.unwrap();
    assert!(first.changed && first.version == 1);
    let same = teams.upsert(tenant(1), "sales", &team(1), at(2)).await.unwrap();
    assert!(!same.changed);
    assert_eq!((same.version, &same.etag, same.update_time), (1, &first.etag, first.update_time));
    let tried = Change { validate_only: true, ..at(3) };
    let would = teams.upsert(tenant(1), "sales", &team(2), tried).await.unwrap();
    let done = teams.upsert(tenant(1), "sales", &team(2), at(3)).await.unwrap();
    assert_eq!(would, done);
    let stored: Stored<Team> = teams.get(tenant(1), "sales").await.unwrap();
    assert_eq!((stored.version, stored.etag, stored.body), (2, done.etag, team(2)));
    assert_eq!((stored.create_time, stored.update_time), (at(1).now, at(3).now));
    let old = teams.get_version::<Team>(tenant(1), "sales", 1).await.unwrap();
    assert_eq!(old.body, team(1));
    let foreign = teams.get::<Team>(tenant(2), "sales").await;
    assert_eq!(foreign.unwrap_err(), Error::NotFound);
}

#[tokio::test]
async fn a_stale_etag_is_refused_and_a_deleted_resource_starts_a_new_version() {
    let (_clone, database) = database().await;
    let teams = Resources::new(database);
    let with = |etag| Change { etag: Some(etag), ..at(1) };
    let refused = Err(Error::EtagMismatch);
    assert_eq!(teams.upsert(tenant(1), "a", &team(1), with("x")).await, refused);
    let first = teams.upsert(tenant(1), "a", &team(1), at(1)).await.unwrap();
    let second = teams.upsert(tenant(1), "a", &team(2), with(&first.etag)).await.unwrap();
    assert_eq!(teams.upsert(tenant(1), "a", &team(3), with(&first.etag)).await, refused);
    assert_eq!(teams.delete::<Team>(tenant(1), "a", with(&first.etag)).await, refused);
    teams.delete::<Team>(tenant(1), "a", with(&second.etag)).await.unwrap();
    assert_eq!(teams.delete::<Team>(tenant(1), "a", at(1)).await, Err(Error::NotFound));
    assert!(teams.list::<Team>(tenant(1), "", 10).await.unwrap().is_empty());
    assert_eq!(teams.upsert(tenant(1), "a", &team(2), with(&second.etag)).await, refused);
    let again = teams.upsert(tenant(1), "a", &team(2), at(2)).await.unwrap();
    assert_eq!((again.version, again.changed), (4, true));
}

#[tokio::test]
async fn who_insists_that_nothing_is_there_creates_or_is_refused() {
    let (_clone, database) = database().await;
    let teams = Resources::new(database);
    let only_new = Change { etag: Some(ABSENT), ..at(1) };
    let refused = Err(Error::EtagMismatch);
    let first = teams.upsert(tenant(1), "a", &team(1), only_new).await.unwrap();
    assert_eq!((first.version, first.changed), (1, true));
    assert_eq!(teams.upsert(tenant(1), "a", &team(2), only_new).await, refused);
    assert_eq!(teams.delete::<Team>(tenant(1), "a", only_new).await, refused);
    teams.delete::<Team>(tenant(1), "a", at(2)).await.unwrap();
    assert_eq!(teams.upsert(tenant(1), "a", &team(2), only_new).await.unwrap().version, 3);
}

#[tokio::test]
async fn lists_go_by_name_after_a_position() {
    let (_clone, database) = database().await;
    let teams = Resources::new(database);
    for name in ["c", "a", "d", "b"] {
        teams.upsert(tenant(1), name, &team(1), at(1)).await.unwrap();
    }
    teams.upsert(tenant(2), "other", &team(1), at(1)).await.unwrap();
    let names = |page: Vec<Stored<Team>>| -> Vec<_> {
        page.into_iter().map(|stored| stored.name).collect()
    };
    assert_eq!(names(teams.list(tenant(1), "", 3).await.unwrap()), ["a", "b", "c"]);
    assert_eq!(names(teams.list(tenant(1), "c", 3).await.unwrap()), ["d"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_changes_all_become_versions() {
    let (_clone, database) = database().await;
    let teams = Resources::new(database);
    let mut changes = tokio::task::JoinSet::new();
    for capacity in 0..8 {
        let teams = teams.clone();
        changes.spawn(async move {
            teams.upsert(tenant(1), "a", &team(capacity), at(1)).await.unwrap().version
        });
    }
    let mut versions = changes.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=8).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_view_follows_changes_of_this_and_other_processes() {
    let (_clone, database) = database().await;
    let here = Resources::new(database.clone());
    let view = View::new(here.clone(), |_, teams: Vec<Stored<Team>>| {
        teams.iter().map(|team| team.body.capacity).sum::<u32>()
    });
    assert_eq!(*view.get(tenant(1)).await.unwrap(), 0);
    here.upsert(tenant(1), "a", &team(3), at(1)).await.unwrap();
    view.refresh(tenant(1));
    assert_eq!(*view.get(tenant(1)).await.unwrap(), 3);
    let kept = view.get(tenant(2)).await.unwrap();

    // Elsewhere: nobody tells this view.
    transaction!(&database, async |connection| {
        upsert(connection, tenant(1), "b", &team(4), at(2)).await
    })
    .unwrap();
    testkit::eventually(LIMIT, "the change elsewhere", async || {
        *view.get(tenant(1)).await.unwrap() == 7
    })
    .await;
    let still = view.get(tenant(2)).await.unwrap();
    assert!(std::sync::Arc::ptr_eq(&kept, &still), "an untouched tenant is not rebuilt");

    database.close().await;
    assert_eq!(*view.get(tenant(1)).await.unwrap(), 7, "known without the database");
}
