use kernel::RequestId;
use store::idempotency::{
    Begun, Call, REMEMBERED_US, begin, begin_many, complete, fingerprint, sweep,
};
use store::{Database, Error, KeyRing, transaction};

use crate::{database, tenant};

fn call(fingerprint: [u8; 32]) -> Call<'static> {
    Call {
        tenant: tenant(1),
        principal: "bff",
        method: "RoutingService/CreateDemand",
        request_id: RequestId::new(uuid::Uuid::from_u128(7)),
        fingerprint,
        now_us: 1_000_000,
    }
}

/// What a handler does: claim, have an effect, keep its id.
async fn carry_out(database: &Database, call: &Call<'_>, id: &[u8]) -> Result<Begun, Error> {
    transaction!(database, async |connection| {
        let begun = begin(connection, call).await?;
        if begun == Begun::Fresh {
            complete(connection, call, id).await?;
        }
        Ok(begun)
    })
}

#[tokio::test]
async fn a_repeated_request_replays_the_first_result() {
    let (_clone, database) = database().await;
    let call = call([1; 32]);
    assert_eq!(carry_out(&database, &call, b"first").await, Ok(Begun::Fresh));
    let replay = Ok(Begun::Replay(b"first".to_vec()));
    assert_eq!(carry_out(&database, &call, b"second").await, replay);
    let others = [
        Call { tenant: tenant(2), ..call },
        Call { principal: "crm", ..call },
        Call { method: "RoutingService/CloseDemand", ..call },
    ];
    for other in others {
        assert_eq!(carry_out(&database, &other, b"x").await, Ok(Begun::Fresh));
    }
}

#[tokio::test]
async fn the_same_id_with_another_body_is_refused() {
    let (_clone, database) = database().await;
    let lookup = KeyRing::generate().unwrap().lookup().tenant(tenant(1)).unwrap();
    let first = call(fingerprint(&lookup, b"body"));
    let other = call(fingerprint(&lookup, b"other body"));
    carry_out(&database, &first, b"first").await.unwrap();
    assert_eq!(carry_out(&database, &other, b"x").await, Err(Error::RequestIdReused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_repeats_have_one_effect_and_a_rolled_back_one_has_none() {
    let (_clone, database) = database().await;
    let call = call([1; 32]);
    let failed: Result<Begun, Error> = transaction!(&database, async |connection| {
        begin(connection, &call).await?;
        Err(Error::NotFound)
    });
    assert_eq!(failed, Err(Error::NotFound));
    let mut repeats = tokio::task::JoinSet::new();
    for number in 0..8_u8 {
        let database = database.clone();
        repeats.spawn(async move { carry_out(&database, &call, &[number]).await.unwrap() });
    }
    let answers = repeats.join_all().await;
    let fresh = answers.iter().filter(|begun| **begun == Begun::Fresh).count();
    assert_eq!(fresh, 1);
}

#[tokio::test]
async fn a_group_answers_each_call_as_if_it_came_alone() {
    let (_clone, database) = database().await;
    let call = call([1; 32]);
    carry_out(&database, &call, b"first").await.unwrap();
    let with = |id, fingerprint| {
        let request_id = RequestId::new(uuid::Uuid::from_u128(id));
        Call { request_id, fingerprint, ..call }
    };
    // New, known, known with another body, again, again with another body, another's.
    let calls = [
        with(8, [2; 32]),
        call,
        with(7, [9; 32]),
        with(8, [2; 32]),
        with(8, [3; 32]),
        Call { tenant: tenant(2), ..call },
    ];
    let begun =
        transaction!(&database, async |connection| begin_many(connection, &calls).await).unwrap();
    let expected = [
        Ok(Begun::Fresh),
        Ok(Begun::Replay(b"first".to_vec())),
        Err(Error::RequestIdReused),
        Ok(Begun::Replay(Vec::new())),
        Err(Error::RequestIdReused),
        Ok(Begun::Fresh),
    ];
    assert_eq!(begun, expected);
    let count: i64 = sqlx::query_scalar("select count(*) from request_log")
        .fetch_one(database.pool())
        .await
        .unwrap();
    assert_eq!(count, 3);
}

#[tokio::test]
async fn calls_are_forgotten_after_a_day_and_not_before() {
    let (_clone, database) = database().await;
    let call = call([1; 32]);
    carry_out(&database, &call, b"first").await.unwrap();
    assert_eq!(sweep(&database, call.now_us + REMEMBERED_US).await, Ok(0));
    assert_eq!(sweep(&database, call.now_us + REMEMBERED_US + 1).await, Ok(1));
    assert_eq!(carry_out(&database, &call, b"second").await, Ok(Begun::Fresh));
}
