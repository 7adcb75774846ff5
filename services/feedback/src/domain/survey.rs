//! Answers to surveys.

use super::Key;

/// Scales; the numbers are those of the contract and of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Net promoter score.
    Nps = 1,
    /// Customer satisfaction.
    Csat = 2,
}

impl Scale {
    pub(crate) const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Nps,
            2 => Self::Csat,
            _ => return None,
        })
    }

    pub(crate) const fn number(self) -> i16 {
        self as i16
    }

    /// The answers there are.
    pub(crate) const fn range(self) -> std::ops::RangeInclusive<i32> {
        match self {
            Self::Nps => 0..=10,
            Self::Csat => 1..=5,
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Survey {
    pub(crate) id: String,
    pub(crate) key: Key,
    pub(crate) scale: Scale,
    pub(crate) score: i16,
    pub(crate) event_us: i64,
}

/// All answers about some demands.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Answers {
    pub(crate) nps: i64,
    pub(crate) promoters: i64,
    pub(crate) detractors: i64,
    pub(crate) csat: i64,
    pub(crate) csat_sum: i64,
}

impl Answers {
    /// Promoters (9, 10) minus detractors (0 to 6), in per cent (Reichheld, 2003).
    pub(crate) fn net_promoter_score(&self) -> Option<f64> {
        let difference = (self.promoters - self.detractors) as f64;
        (self.nps > 0).then(|| 100.0 * difference / self.nps as f64)
    }

    /// Mean satisfaction.
    pub(crate) fn csat_mean(&self) -> Option<f64> {
        (self.csat > 0).then(|| self.csat_sum as f64 / self.csat as f64)
    }
}
