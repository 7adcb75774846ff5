//! GetFunnel and GetModelReport, against figures worked out by hand.

use contracts::feedback::v1 as proto;
use contracts::feedback::v1::{OutcomeResult, SurveyKind};
use contracts::google::r#type::Money;
use contracts::routing::v1::{DemandResult, DemandState};

use crate::world::{Case, DAY_ONE, MINUTE, World, time};

/// Moves a demand along; the last transition closes it if there is a result.
async fn walk(world: &World, tenant: &crate::world::Tenant, case: &Case, states: usize) {
    let states = &[
        DemandState::Queued,
        DemandState::Offered,
        DemandState::Accepted,
        DemandState::InProgress,
    ][..states];
    let entries: Vec<_> = states
        .iter()
        .zip(1..)
        .map(|(state, version)| case.at(tenant, version, *state, DAY_ONE + version * MINUTE))
        .collect();
    world.tell(&entries).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_funnel_counts_stages_results_and_answers() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let cases: Vec<Case> = (0..5).map(|_| Case::unscored()).collect();
    for (case, states) in cases.iter().zip([1, 2, 4, 4, 4]) {
        walk(&world, &tenant, case, states).await;
    }
    for (case, result) in
        cases[2..].iter().zip([DemandResult::Won, DemandResult::Won, DemandResult::Lost])
    {
        let mut case = case.clone();
        if result == DemandResult::Won {
            let value = Money { currency_code: "CNY".to_owned(), units: 10, nanos: 500_000_000 };
            case.message.value = Some(value);
        }
        world.tell(&[case.closed(&tenant, 5, result, DAY_ONE + 5 * MINUTE)]).await;
    }
    for (id, score) in [("a", 10), ("b", 9), ("c", 3), ("c", 8)] {
        tenant.survey(id, cases[2].id, SurveyKind::Nps, score).await.unwrap();
    }
    tenant.survey("d", cases[3].id, SurveyKind::Csat, 4).await.unwrap();

    let request = proto::GetFunnelRequest::default();
    let funnel = testkit::eventually(crate::world::LIMIT, "all closings", async || {
        let mut client = tenant.client.clone();
        let funnel = client.get_funnel(request.clone()).await.unwrap().into_inner();
        if funnel.stages[4].reached == 3 { Ok(funnel) } else { Err(funnel) }
    })
    .await;
    let reached: Vec<i64> = funnel.stages.iter().map(|stage| stage.reached).collect();
    assert_eq!(reached, [5, 4, 3, 3, 3, 2]);
    assert_eq!(funnel.stages[0].conversion, 1.0);
    assert_eq!(funnel.stages[1].conversion, 0.8);
    assert!(funnel.stages[0].dwell_p50.is_none() && funnel.stages[3].dwell_p90.is_some());

    let tally = |result: OutcomeResult| {
        funnel.results.iter().find(|tally| tally.result() == result).unwrap().clone()
    };
    assert_eq!(tally(OutcomeResult::Lost).count, 1);
    let won = tally(OutcomeResult::Won);
    let sum = Money { currency_code: "CNY".to_owned(), units: 21, nanos: 0 };
    assert_eq!((won.count, won.value), (2, vec![sum]));

    let surveys = funnel.surveys.unwrap();
    assert_eq!((surveys.nps_answers, surveys.csat_answers), (3, 1), "c was replaced");
    assert!((surveys.nps.unwrap() - 200.0 / 3.0).abs() < 1e-9);
    assert_eq!(surveys.csat_mean, Some(4.0));

    let of_team = proto::GetFunnelRequest { team: "north".to_owned(), ..Default::default() };
    let funnel = tenant.client.get_funnel(of_team).await.unwrap().into_inner();
    assert_eq!(funnel.stages[0].reached, 4);
    let later =
        proto::GetFunnelRequest { start_time: Some(time(DAY_ONE + 1)), ..Default::default() };
    let funnel = tenant.client.get_funnel(later).await.unwrap().into_inner();
    assert_eq!((funnel.stages[0].reached, funnel.results.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn percentiles_of_dwell_are_exact() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    let cases: Vec<Case> = (0..5).map(|_| Case::unscored()).collect();
    for case in &cases {
        walk(&world, &tenant, case, 2).await;
    }
    world.known(5).await;
    // The commit times of a test are its own: put known ones in their place.
    let sql = "update demand_fact set offered_us = created_us + $2 where demand_id = $1";
    for (case, minutes) in cases.iter().zip([1, 2, 3, 4, 10]) {
        let update = sqlx::query(sql).bind(case.id).bind(minutes * MINUTE);
        testkit::eventually(crate::world::LIMIT, "the offer", async || {
            let offered = "select offered_us is not null from demand_fact where demand_id = $1";
            let pool = world.database.pool();
            sqlx::query_scalar::<_, bool>(offered).bind(case.id).fetch_one(pool).await.unwrap()
        })
        .await;
        update.execute(world.database.pool()).await.unwrap();
    }
    let funnel = tenant.client.get_funnel(proto::GetFunnelRequest::default()).await.unwrap();
    let offered = funnel.into_inner().stages[1].clone();
    assert_eq!(offered.dwell_p50.unwrap().seconds, 180);
    assert_eq!(offered.dwell_p90.unwrap().seconds, 456, "between 4 and 10 minutes: 7.6");
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_are_compared_with_what_came_of_them() {
    let world = World::new().await;
    let mut tenant = world.tenant();
    // Points rank backwards, probabilities rank right.
    let said = [
        (0.9, 10.0, Some(true)),
        (0.8, 20.0, Some(true)),
        (0.3, 30.0, Some(false)),
        (0.2, 40.0, None),
    ];
    for (probability, points, came) in said {
        let case = Case::scored(probability, points);
        world.tell(&[case.created(&tenant)]).await;
        if let Some(positive) = came {
            let result = if positive { OutcomeResult::Won } else { OutcomeResult::Lost };
            tenant.record(case.id, result, DAY_ONE + MINUTE).await.unwrap();
        }
    }
    let spam = Case::scored(0.5, 25.0);
    world.tell(&[spam.created(&tenant)]).await;
    tenant.record(spam.id, OutcomeResult::Spam, DAY_ONE).await.unwrap();

    let mut of =
        proto::GetModelReportRequest { scorer: "propensity".to_owned(), ..Default::default() };
    let report = tenant.client.get_model_report(of.clone()).await.unwrap().into_inner();
    assert_eq!((report.labels, report.positives, report.waiting), (3, 2, 1));
    assert_eq!(report.auc, Some(1.0));
    let loss = -(0.9_f64.ln() + 0.8_f64.ln() + 0.7_f64.ln()) / 3.0;
    assert!((report.log_loss.unwrap() - loss).abs() < 1e-12);
    assert!((report.brier.unwrap() - (0.01 + 0.04 + 0.09) / 3.0).abs() < 1e-12);
    assert!((report.calibration_error.unwrap() - (0.1 + 0.2 + 0.3) / 3.0).abs() < 1e-12);
    assert_eq!(report.deciles.len(), 3);
    assert!((report.deciles[0].lift - 1.5).abs() < 1e-12);

    of.min_scorer_version = 4;
    let report = tenant.client.get_model_report(of.clone()).await.unwrap().into_inner();
    assert_eq!((report.labels, report.waiting, report.auc), (0, 0, None));
    of = proto::GetModelReportRequest { scorer: "card".to_owned(), ..Default::default() };
    let report = tenant.client.get_model_report(of).await.unwrap().into_inner();
    assert_eq!((report.labels, report.auc, report.log_loss), (3, Some(0.0), None));
}
