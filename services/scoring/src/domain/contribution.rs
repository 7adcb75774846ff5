//! The summands of a score.

/// One summand. All of a score, added in their order, are the total to the last bit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Contribution {
    /// The rule or feature; what is neither stands in parentheses.
    pub(crate) name: String,
    /// Points of a scorecard, log-odds of a model.
    pub(crate) amount: f64,
    /// For people.
    pub(crate) description: String,
}

/// How many reasons a score is shown with.
const TOP: usize = 3;

/// The sum in the listed order.
pub(crate) fn total(contributions: &[Contribution]) -> f64 {
    contributions.iter().map(|contribution| contribution.amount).sum::<f64>() + 0.0
}

/// The strongest, strongest first; what holds for everybody is no reason.
pub(crate) fn strongest(contributions: &[Contribution]) -> Vec<Contribution> {
    let mut reasons: Vec<&Contribution> = contributions
        .iter()
        .filter(|reason| !reason.name.starts_with('(') && reason.amount != 0.0)
        .collect();
    reasons.sort_by(|left, right| right.amount.abs().total_cmp(&left.amount.abs()));
    reasons.into_iter().take(TOP).cloned().collect()
}
