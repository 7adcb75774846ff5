//! What the models are told.

use contracts::feedback::v1::OutcomeResult;
use contracts::routing::v1::{DemandResult, DemandState};
use feed::consumer::Options;
use feed::{Consumer, Entry, HandleError, Handler, Metrics, Upstream};
use kernel::TenantId;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{Case, DAY_ONE, LIMIT, MINUTE, World, read};

#[tokio::test(flavor = "multi_thread")]
async fn a_label_is_told_once_per_change_of_polarity() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let (case, unscored) = (Case::scored(0.7, 20.0), Case::unscored());
    let told = [
        case.created(&tenant),
        unscored.created(&tenant),
        unscored.closed(&tenant, 2, DemandResult::Won, DAY_ONE),
        case.at(&tenant, 2, DemandState::Offered, DAY_ONE),
        case.closed(&tenant, 3, DemandResult::Won, DAY_ONE + MINUTE),
    ];
    world.tell(&told).await;
    let mut labels = world.listen().await;
    assert_eq!(labels.next(1).await, [(case.id, 1, true)]);

    // Solved is as positive as won; spam is no label and takes none back.
    tenant.record(case.id, OutcomeResult::Solved, DAY_ONE + 2 * MINUTE).await.unwrap();
    tenant.record(case.id, OutcomeResult::Spam, DAY_ONE + 3 * MINUTE).await.unwrap();
    tenant.record(case.id, OutcomeResult::Unsolved, DAY_ONE + 4 * MINUTE).await.unwrap();
    tenant.record(case.id, OutcomeResult::Won, DAY_ONE + 5 * MINUTE).await.unwrap();
    assert_eq!(labels.next(2).await, [(case.id, 4, false), (case.id, 5, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_that_come_after_the_outcome_make_it_a_label() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let scored = Case::scored(0.7, 20.0);
    let mut bare = scored.clone();
    bare.message.scores.clear();
    world.tell(&[bare.created(&tenant)]).await;
    tenant.record(scored.id, OutcomeResult::Lost, DAY_ONE + MINUTE).await.unwrap();
    world.tell(&[scored.at(&tenant, 2, DemandState::Offered, DAY_ONE)]).await;
    assert_eq!(world.listen().await.next(1).await, [(scored.id, 1, false)]);
}

/// Keeps what it hears in a table of its own.
struct Keep;

impl Handler for Keep {
    async fn handle(
        &self,
        connection: &mut PgConnection,
        entries: &[Entry],
    ) -> Result<(), HandleError> {
        for entry in entries {
            let (subject, version, positive) = read(entry);
            sqlx::query("insert into heard values ($1, $2, $3, $4)")
                .bind(entry.tenant.uuid())
                .bind(subject)
                .bind(version)
                .bind(positive)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_without_a_position_reads_the_labels_in_force() {
    let world = World::new().await;
    let mut expected: Vec<(Uuid, Uuid, i64, bool)> = Vec::new();
    let mut count = 0;
    for tenant in [world.tenant(), world.tenant()] {
        for number in 0..30 {
            let case = Case::scored(0.5, 1.0);
            let positive = number % 3 == 0;
            let result = if positive { DemandResult::Won } else { DemandResult::Lost };
            let closed = case.closed(&tenant, 2, result, DAY_ONE + MINUTE);
            world.tell(&[case.created(&tenant), closed]).await;
            expected.push((tenant.id.uuid(), case.id, 1, positive));
            count += 1;
        }
    }
    world.listen().await.next(count).await;
    // A new epoch: nobody can go on from the beginning of the log.
    let mut connection = world.database.acquire().await.unwrap();
    feed::schema::renew_epoch(&mut connection).await.unwrap();
    sqlx::raw_sql(
        "create table heard (tenant uuid, subject uuid, version bigint, positive boolean);
        insert into checkpoint values ('test.labels', 1, 0, gen_random_uuid(), 5, 0,
            gen_random_uuid(), now())",
    )
    .execute(&mut *connection)
    .await
    .unwrap();

    let nobody = TenantId::new(Uuid::nil());
    let consumer = Consumer::new(
        "test.labels",
        Upstream::new(world.house.peer(&world.endpoint, nobody)),
        world.database.clone(),
        Keep,
        Options::default(),
        Metrics::default(),
    );
    let stop = CancellationToken::new();
    let token = stop.clone();
    let running = tokio::spawn(async move { consumer.run(token).await });
    let heard = testkit::eventually(LIMIT, "the snapshot", async || {
        let sql = "select * from heard order by tenant, subject";
        let heard: Vec<(Uuid, Uuid, i64, bool)> =
            sqlx::query_as(sql).fetch_all(world.database.pool()).await.unwrap();
        if heard.len() == count { Ok(heard) } else { Err(heard.len()) }
    })
    .await;
    stop.cancel();
    running.await.unwrap();
    expected.sort_unstable();
    assert_eq!(heard, expected);
}
