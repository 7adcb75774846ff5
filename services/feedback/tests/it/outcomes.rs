//! RecordOutcome and RecordSurvey.

use contracts::feedback::v1 as proto;
use contracts::feedback::v1::OutcomeResult;
use contracts::google::r#type::Money;
use contracts::routing::v1::DemandResult;
use tonic::Code;
use uuid::Uuid;

use crate::world::{Case, DAY_ONE, MINUTE, World, fields, time};

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_can_be_late_corrected_and_repeated() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let case = Case::scored(0.5, 10.0);
    world.tell(&[case.created(&tenant)]).await;

    let won = tenant.record(case.id, OutcomeResult::Won, DAY_ONE + 5 * MINUTE).await.unwrap();
    assert_eq!((won.result(), won.version), (OutcomeResult::Won, 1));
    let late = tenant.record(case.id, OutcomeResult::Lost, DAY_ONE + 2 * MINUTE).await.unwrap();
    assert_eq!(late, won, "an earlier one changes nothing");
    let corrected =
        tenant.record(case.id, OutcomeResult::Lost, DAY_ONE + 6 * MINUTE).await.unwrap();
    assert_eq!((corrected.result(), corrected.version), (OutcomeResult::Lost, 2));
    let repeat = tenant.record(case.id, OutcomeResult::Won, DAY_ONE + 5 * MINUTE).await.unwrap();
    assert_eq!(repeat, corrected, "a repeat of an earlier one changes nothing");

    let history = "select count(*) from outcome_history where demand_id = $1";
    let kept: i64 =
        sqlx::query_scalar(history).bind(case.id).fetch_one(world.database.pool()).await.unwrap();
    assert_eq!(kept, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_time_can_be_repeated() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let case = Case::unscored();
    world.tell(&[case.created(&tenant)]).await;
    let request = proto::RecordOutcomeRequest {
        demand_id: case.id.to_string(),
        result: OutcomeResult::Won.into(),
        value: Some(Money { currency_code: "CNY".to_owned(), units: 88, nanos: 500_000_000 }),
        reason: "price".to_owned(),
        event_time: None,
    };
    let first = tenant.record_request(request.clone()).await.unwrap();
    assert_eq!(first.value, request.value);
    assert_eq!(tenant.record_request(request).await.unwrap(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_repeats_have_one_effect() {
    let world = World::new().await;
    let tenant = world.tenant();
    let case = Case::scored(0.5, 10.0);
    world.tell(&[case.created(&tenant)]).await;
    let calls = (0..20).map(|_| {
        let mut caller = world.tenant_with(tenant.id);
        async move { caller.record(case.id, OutcomeResult::Won, DAY_ONE).await.unwrap().version }
    });
    let versions = futures::future::join_all(calls).await;
    assert!(versions.iter().all(|version| *version == 1), "{versions:?}");
    assert_eq!(world.listen().await.next(1).await, [(case.id, 1, true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_waits_for_its_demand() {
    let world = World::with("wait_for_demand_ms = 5000").await;
    let mut tenant = world.tenant();
    let case = Case::unscored();
    let entry = case.created(&tenant);
    let (recorded, ()) =
        tokio::join!(tenant.record(case.id, OutcomeResult::Solved, DAY_ONE), async {
            // The call is at its first look, or past it.
            tokio::task::yield_now().await;
            world.tell(&[entry]).await;
        });
    assert_eq!(recorded.unwrap().result(), OutcomeResult::Solved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_demand_is_as_absent_as_an_unknown_one() {
    let world = World::with("wait_for_demand_ms = 50").await;
    let (owner, mut stranger) = (world.tenant(), world.tenant());
    let case = Case::unscored();
    world.tell(&[case.created(&owner)]).await;
    world.known(1).await;
    let foreign = stranger.record(case.id, OutcomeResult::Won, DAY_ONE).await.unwrap_err();
    let absent = stranger.record(Uuid::now_v7(), OutcomeResult::Won, DAY_ONE).await.unwrap_err();
    assert_eq!((foreign.code(), foreign.message()), (Code::NotFound, absent.message()));
    let nps = proto::SurveyKind::Nps;
    let survey = stranger.survey("s", case.id, nps, 9).await.unwrap_err();
    assert_eq!((survey.code(), survey.message()), (Code::NotFound, absent.message()));
    let funnel = stranger.client.get_funnel(proto::GetFunnelRequest::default()).await.unwrap();
    assert_eq!(funnel.into_inner().stages[0].reached, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_and_recording_follow_the_same_rule() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let case = Case::scored(0.5, 10.0);
    world.tell(&[case.created(&tenant)]).await;
    tenant.record(case.id, OutcomeResult::Won, DAY_ONE + 9 * MINUTE).await.unwrap();
    // Decided before the recorded outcome, heard after it.
    let closing = case.closed(&tenant, 2, DemandResult::Lost, DAY_ONE + 8 * MINUTE);
    world.tell(std::slice::from_ref(&closing)).await;
    // The same entry again, as after a restart of the consumer from a snapshot.
    world.tell(&[closing]).await;
    let request = proto::GetFunnelRequest::default();
    testkit::eventually(crate::world::LIMIT, "the closing", async || {
        let mut client = tenant.client.clone();
        client.get_funnel(request.clone()).await.unwrap().into_inner().stages[4].reached == 1
    })
    .await;
    let later = tenant.record(case.id, OutcomeResult::Won, DAY_ONE + 9 * MINUTE).await.unwrap();
    assert_eq!((later.result(), later.version), (OutcomeResult::Won, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_field_is_named_at_once() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let outcome = proto::RecordOutcomeRequest {
        demand_id: "x".to_owned(),
        result: 99,
        value: Some(Money { currency_code: "euro".to_owned(), units: 1, nanos: 0 }),
        reason: "r".repeat(65),
        event_time: Some(time(4_102_444_800_000_000)),
    };
    let status = tenant.record_request(outcome).await.unwrap_err();
    assert_eq!(fields(&status), ["demand_id", "result", "value", "reason", "event_time"]);
    let status = tenant.survey("", Uuid::nil(), proto::SurveyKind::Csat, 0).await.unwrap_err();
    assert_eq!(fields(&status), ["survey_id", "score"]);
    let status = tenant.survey("s", Uuid::nil(), proto::SurveyKind::Nps, 11).await.unwrap_err();
    assert_eq!(fields(&status), ["score"]);
    let report = proto::GetModelReportRequest {
        start_time: Some(time(DAY_ONE)),
        end_time: Some(time(DAY_ONE)),
        min_scorer_version: 3,
        max_scorer_version: 2,
        ..Default::default()
    };
    let status = tenant.client.get_model_report(report).await.unwrap_err();
    assert_eq!(fields(&status), ["scorer", "end_time", "max_scorer_version"]);
}
