//! When the clock alone moves a score over a threshold.
//!
//! Every feature is a step function of the clock (whole days, windows, bands), and with it
//! every decay: between two steps nothing changes. So the search walks from step to step, at
//! most [`MAX_STEPS`] of them; when nothing was crossed until then, the answer is the last step,
//! where the search goes on. Cost: O(steps · scorers with thresholds).

use aggregate::Behaviour;

use super::features::{Moment, Reading};
use super::scorer::{Scorer, ScorerSet, Weights};

/// A few midnights: the search runs at every event, and the timer goes on where it ended.
const MAX_STEPS: usize = 4;

/// The earliest instant after `now_us` at which a threshold is crossed, in either direction,
/// or at which to look again; nothing if no clock moves any scorer that has thresholds.
pub(crate) fn next_crossing(
    set: &ScorerSet,
    weights: &Weights,
    behaviour: &Behaviour,
    now_us: i64,
) -> Option<i64> {
    let watched: Vec<&Scorer> = set.iter().filter(|scorer| scorer.has_thresholds()).collect();
    let readings: Vec<&Reading> = watched.iter().flat_map(|scorer| scorer.readings()).collect();
    let levels = |at_us: i64| {
        let moment = Moment::new(behaviour, at_us);
        watched.iter().map(move |scorer| scorer.level(moment, weights))
    };
    let mut levels_now: Option<Vec<usize>> = None;
    let mut at_us = now_us;
    for _ in 0..MAX_STEPS {
        let moment = Moment::new(behaviour, at_us);
        let steps = readings.iter().filter_map(|reading| reading.next_change_us(moment));
        let Some(next_us) = steps.filter(|next_us| *next_us > at_us).min() else {
            // What was walked so far crossed nothing, and nothing changes any more.
            return None;
        };
        let reference = levels_now.get_or_insert_with(|| levels(now_us).collect());
        at_us = next_us;
        if !levels(at_us).eq(reference.iter().copied()) {
            return Some(at_us);
        }
    }
    Some(at_us)
}
