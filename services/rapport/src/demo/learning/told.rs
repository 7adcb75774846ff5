//! How the second act is told.

use super::{Chunk, Learning};
use crate::demo::report::{self, bar, count};
use contracts::feedback::v1 as feedback;

fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

fn top_decile(report: &feedback::GetModelReportResponse) -> String {
    let top = report.deciles.first().map(|decile| decile.conversion);
    top.map_or_else(|| "–".to_owned(), |share| format!("{:.0} %", 100.0 * share))
}

/// Mean over chunks, weighted by labels. Absent if a chunk has none.
fn mean(chunks: &[Chunk], of: impl Fn(&Chunk) -> Option<f64>) -> Option<f64> {
    let mut sum = 0.0;
    let mut weight = 0.0;
    for chunk in chunks {
        sum += of(chunk)? * chunk.labels as f64;
        weight += chunk.labels as f64;
    }
    (weight > 0.0).then(|| sum / weight)
}

impl Learning {
    /// Says it to a manager.
    pub fn print(&self) {
        report::heading("2  The loop: does it get better by itself?");
        let sample = if self.calls < self.thinned_from {
            format!("an even sample of {} (--full takes all)", count(self.thinned_from))
        } else {
            "all there are".to_owned()
        };
        report::say(&format!(
            "{} calls of a bank's campaign 2008–2010, {sample}, in order of time. Each was\n\
             scored before its outcome was known, routed to one of 18 agents, closed with what\n\
             really happened, and learned from: {:.0} calls a second, end to end.\n",
            count(self.calls),
            self.calls as f64 / self.seconds,
        ));
        self.print_chunks();
        self.print_verdict();
        self.print_funnel();
        self.print_explanation();
    }

    fn print_chunks(&self) {
        let rows: Vec<Vec<String>> = self
            .chunks
            .iter()
            .map(|chunk| {
                let [learning, frozen, rules] = &chunk.reports[..] else { return Vec::new() };
                vec![
                    chunk.begins.clone(),
                    count(chunk.labels as u64),
                    report::percent(chunk.positives as u64, chunk.labels as u64),
                    cell(learning.auc),
                    cell(frozen.auc),
                    cell(rules.auc),
                    cell(learning.calibration_error),
                    cell(frozen.calibration_error),
                    top_decile(learning),
                    top_decile(frozen),
                    top_decile(rules),
                ]
            })
            .collect();
        report::table(
            &[
                "from",
                "calls",
                "bought",
                "AUC\nlearning",
                "AUC\nfrozen",
                "AUC\nrules",
                "calibration\nlearning",
                "calibration\nfrozen",
                "top tenth\nlearning",
                "top tenth\nfrozen",
                "top tenth\nrules",
            ],
            &rows,
        );
        report::say(
            "AUC: chance that a buyer is ranked above a non-buyer (.5 is a coin). Calibration: mean\n\
             distance between stated probability and what happened (0 is best; points are no\n\
             probability). Top tenth: how many of the best-scored tenth bought.\n",
        );
    }

    fn print_verdict(&self) {
        // The frozen model and the learning one are the same until the first chunk ends.
        let later = self.chunks.get(1..).unwrap_or(&[]);
        let auc = |scorer: usize| mean(later, |chunk| chunk.reports[scorer].auc);
        let calibration =
            |scorer: usize| mean(later, |chunk| chunk.reports[scorer].calibration_error);
        let (Some(learning), Some(frozen), Some(rules)) = (auc(0), auc(1), auc(2)) else { return };
        report::say(&format!(
            "After the first chunk, within chunks: AUC {learning:.3} learning, {frozen:.3} frozen, \
             {rules:.3} rules."
        ));
        if let (Some(learning), Some(frozen)) = (calibration(0), calibration(1)) {
            report::say(&format!(
                "Calibration error {learning:.3} learning, {frozen:.3} frozen: {}",
                verdict(
                    frozen - learning,
                    "the learning model's probabilities can be believed more"
                )
            ));
        }
        report::say(&format!(
            "Ranking against the frozen twin: {}",
            verdict(learning - frozen, "learning ranks better")
        ));
        report::say(&format!(
            "Ranking against the rules: {}\n",
            verdict(learning - rules, "learning ranks better")
        ));
    }

    fn print_funnel(&self) {
        let whole = self.funnel.stages.first().map_or(0, |stage| stage.reached) as u64;
        let seconds = |dwell: &Option<prost_types::Duration>| {
            dwell.as_ref().map_or_else(
                || "–".to_owned(),
                |dwell| {
                    format!("{:.0} ms", dwell.seconds as f64 * 1e3 + f64::from(dwell.nanos) / 1e6)
                },
            )
        };
        let rows: Vec<Vec<String>> = self
            .funnel
            .stages
            .iter()
            .map(|stage| {
                let reached = stage.reached as u64;
                vec![
                    stage.name.clone(),
                    count(reached),
                    bar(reached, whole, 24),
                    seconds(&stage.dwell_p50),
                    seconds(&stage.dwell_p90),
                ]
            })
            .collect();
        report::table(&["stage", "demands", "", "half within", "9 of 10 within"], &rows);
    }

    fn print_explanation(&self) {
        let Some(explained) = &self.explained else { return };
        let Some(score) = &explained.score else { return };
        report::say(&format!(
            "\nWhy the model gave one of the last calls {:.1} % (log-odds, adding up to {:.4}):",
            100.0 * score.probability.unwrap_or_default(),
            explained.total,
        ));
        let mut strongest: Vec<_> = explained.contributions.iter().collect();
        strongest.sort_by(|left, right| right.amount.abs().total_cmp(&left.amount.abs()));
        let rows: Vec<Vec<String>> = strongest
            .iter()
            .take(6)
            .map(|part| vec![part.description.clone(), format!("{:+.3}", part.amount)])
            .collect();
        report::table(&["because", "adds"], &rows);
    }
}

fn verdict(gain: f64, good: &str) -> String {
    if gain > 0.005 {
        format!("{good} (by {gain:.3}).")
    } else if gain < -0.005 {
        format!("learning does not help here; it is worse by {:.3}.", -gain)
    } else {
        "no difference worth the name.".to_owned()
    }
}
