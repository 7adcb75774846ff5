//! GetFunnel and GetModelReport.

use contracts::feedback::v1 as proto;
use kernel::{Violations, id};

use super::read;
use crate::domain::funnel::{self, Funnel, STAGES};
use crate::domain::quality::{self, Decile, Quality};
use crate::domain::survey::Answers;
use crate::{money, time};

pub(super) fn funnel_filter(
    request: proto::GetFunnelRequest,
) -> Result<funnel::Filter, Violations> {
    let mut violations = Violations::new();
    let (start, end) = (request.start_time.as_ref(), request.end_time.as_ref());
    let (start_us, end_us) = read::range(&mut violations, start, end);
    read::optional_name(&mut violations, "demand_kind", &request.demand_kind);
    read::optional_name(&mut violations, "team", &request.team);
    let (kind, team) = (request.demand_kind, request.team);
    violations.into_result(funnel::Filter { start_us, end_us, kind, team })
}

pub(super) fn quality_filter(
    request: proto::GetModelReportRequest,
) -> Result<quality::Filter, Violations> {
    let mut violations = Violations::new();
    if !id::is_resource_name(&request.scorer) {
        violations.add("scorer", id::NotAName.to_string());
    }
    let (start, end) = (request.start_time.as_ref(), request.end_time.as_ref());
    let (start_us, end_us) = read::range(&mut violations, start, end);
    read::optional_name(&mut violations, "demand_kind", &request.demand_kind);
    let (min, max) = (request.min_scorer_version, request.max_scorer_version);
    if min < 0 {
        violations.add("min_scorer_version", "must not be negative");
    }
    if max < 0 || (max > 0 && max < min) {
        violations.add("max_scorer_version", "must be 0 or at least min_scorer_version");
    }
    violations.into_result(quality::Filter {
        scorer: request.scorer,
        start_us,
        end_us,
        kind: request.demand_kind,
        min_version: min,
        max_version: if max == 0 { i64::MAX } else { max },
    })
}

pub(super) fn funnel(funnel: &Funnel) -> proto::GetFunnelResponse {
    let mut stages = Vec::with_capacity(STAGES.len());
    let mut before = None;
    for (name, stage) in STAGES.iter().zip(&funnel.stages) {
        let dwell = stage.dwell;
        stages.push(proto::FunnelStage {
            name: (*name).to_owned(),
            reached: stage.demands,
            conversion: before.map_or(1.0, |before| funnel::conversion(before, stage.demands)),
            dwell_p50: dwell.map(|(p50, _)| time::duration(p50)),
            dwell_p90: dwell.map(|(_, p90)| time::duration(p90)),
        });
        before = Some(stage.demands);
    }
    let result = |tally: &funnel::Tally| proto::ResultCount {
        result: i32::from(tally.result.number()),
        count: tally.demands,
        value: tally
            .values
            .iter()
            .map(|(currency, micros)| money::money(*micros, currency))
            .collect(),
    };
    proto::GetFunnelResponse {
        stages,
        results: funnel.results.iter().map(result).collect(),
        surveys: Some(surveys(&funnel.answers)),
    }
}

fn surveys(answers: &Answers) -> proto::SurveySummary {
    proto::SurveySummary {
        nps_answers: answers.nps,
        nps: answers.net_promoter_score(),
        csat_answers: answers.csat,
        csat_mean: answers.csat_mean(),
    }
}

pub(super) fn quality(quality: Quality) -> proto::GetModelReportResponse {
    let decile = |decile: Decile| proto::Decile {
        labels: decile.labels,
        positives: decile.positives,
        mean_value: decile.mean_value,
        mean_probability: decile.mean_probability,
        conversion: decile.conversion,
        lift: decile.lift,
    };
    proto::GetModelReportResponse {
        labels: quality.labels,
        positives: quality.positives,
        waiting: quality.waiting,
        auc: quality.auc,
        log_loss: quality.log_loss,
        brier: quality.brier,
        calibration_error: quality.calibration_error,
        deciles: quality.deciles.into_iter().map(decile).collect(),
    }
}
