//! Where a customer stands at an instant: recency, frequency and monetary value (Hughes 1994),
//! life-cycle stage and engagement. The limits are those documented in `profile.proto`.

use crate::behaviour::Behaviour;
use crate::ledger::Revenue;
use crate::tile::{DAY_US, day_of, start_of};

/// Ages of the last order, in days, up to which the recency band is 5, 4, 3, 2.
const RECENCY_DAYS: [i64; 4] = [30, 60, 120, 240];
/// Amounts, in units of the currency, from which the monetary band is 2, 3, 4, 5.
const MONETARY_UNITS: [i64; 4] = [250, 500, 1_000, 2_500];
/// Age of the last order up to which a customer is new or active.
const ACTIVE_DAYS: i64 = 90;
/// Age of the last order up to which a customer is at risk.
const AT_RISK_DAYS: i64 = 180;
/// The windows that are features.
pub(crate) const WINDOWS: [i32; 2] = [7, 30];

/// Where a customer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LifeCycleStage {
    /// Has acted but neither ordered nor been identified by an attribute.
    Visitor,
    /// Known by at least one attribute, no order yet.
    Lead,
    /// Exactly one order, in the last 90 days.
    NewCustomer,
    /// Two or more orders, the last one within 90 days.
    Active,
    /// Last order more than 90 and at most 180 days ago.
    AtRisk,
    /// Last order more than 180 days ago.
    Lapsed,
}

impl LifeCycleStage {
    /// In lower case with underscores, as predicates see it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visitor => "visitor",
            Self::Lead => "lead",
            Self::NewCustomer => "new_customer",
            Self::Active => "active",
            Self::AtRisk => "at_risk",
            Self::Lapsed => "lapsed",
        }
    }
}

/// Recency, frequency, monetary value; bands from 1 (weak) to 5 (strong), 0 without an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfm {
    /// Microseconds since the last order (0 if it lies ahead). Absent if none.
    pub recency_us: Option<i64>,
    /// Number of orders.
    pub frequency: u64,
    /// Revenue in the currency with the most orders. Absent if no order had an amount.
    pub monetary: Option<Revenue>,
    /// 5 ≤ 30 days, 4 ≤ 60, 3 ≤ 120, 2 ≤ 240, 1 older.
    pub recency_band: u8,
    /// 1, 2, 3, 4–6, 7 and more orders give 1 to 5.
    pub frequency_band: u8,
    /// Below 250, 500, 1,000, 2,500 units and above give 1 to 5.
    pub monetary_band: u8,
}

impl Behaviour {
    /// Recency, frequency and monetary value at `now_us`.
    #[must_use]
    pub fn rfm(&self, now_us: i64) -> Rfm {
        let ledger = self.ledger();
        let monetary = ledger.main_revenue();
        let micros = monetary.map_or(0, |revenue| revenue.micros);
        let recency_us = self.order_age_us(now_us);
        let Some(age_us) = recency_us else {
            let frequency = 0;
            return Rfm {
                recency_us,
                frequency,
                monetary,
                recency_band: 0,
                frequency_band: 0,
                monetary_band: 0,
            };
        };
        Rfm {
            recency_us,
            frequency: ledger.orders(),
            monetary,
            recency_band: recency_band(age_us),
            frequency_band: frequency_band(ledger.orders()),
            monetary_band: monetary_band(micros),
        }
    }

    /// Where the customer stands at `now_us`; `None` while there is no event.
    #[must_use]
    pub fn life_cycle_stage(&self, now_us: i64) -> Option<LifeCycleStage> {
        if self.is_empty() {
            return None;
        }
        let stage = match self.order_age_us(now_us) {
            None if self.is_identified() => LifeCycleStage::Lead,
            None => LifeCycleStage::Visitor,
            Some(age_us) if age_us > AT_RISK_DAYS * DAY_US => LifeCycleStage::Lapsed,
            Some(age_us) if age_us > ACTIVE_DAYS * DAY_US => LifeCycleStage::AtRisk,
            Some(_) if self.ledger().orders() == 1 => LifeCycleStage::NewCustomer,
            Some(_) => LifeCycleStage::Active,
        };
        Some(stage)
    }

    /// Events weighted by age in whole days of UTC, half-life 14 days. Blocks of older days
    /// count with their mean age. Bit-equal on every platform.
    #[must_use]
    pub fn engagement(&self, now_us: i64) -> f64 {
        let today = day_of(now_us);
        let mut sum = 0.0;
        for tile in self.days.iter().filter(|tile| tile.day <= today) {
            sum += tile.count as f64 * weight(f64::from(today - tile.day));
        }
        for block in self.blocks.iter() {
            let age = f64::from(today) - block.mean_day();
            if age >= 0.0 {
                sum += block.count as f64 * weight(age);
            }
        }
        sum
    }

    /// The earliest instant after `now_us` at which a window, a band or the stage may change
    /// without an event. What ages every day (engagement, days since …) is left out: that
    /// changes at every midnight of UTC, see [`FeatureView`](crate::FeatureView) for each
    /// feature's own next change.
    #[must_use]
    pub fn next_change_us(&self, now_us: i64) -> Option<i64> {
        let today = day_of(now_us);
        let all = std::iter::once(&self.days);
        let days = all.chain(self.counters().map(|counter| &counter.days));
        let windows = days.flat_map(|days| WINDOWS.map(|window| days.next_change(today, window)));
        let midnight = windows.flatten().min().map(start_of);
        let order = [self.next_recency_change_us(now_us), self.next_stage_change_us(now_us)];
        midnight.into_iter().chain(order.into_iter().flatten()).min()
    }

    pub(crate) fn next_recency_change_us(&self, now_us: i64) -> Option<i64> {
        self.next_order_age(now_us, &RECENCY_DAYS)
    }

    pub(crate) fn next_stage_change_us(&self, now_us: i64) -> Option<i64> {
        self.next_order_age(now_us, &[ACTIVE_DAYS, AT_RISK_DAYS])
    }

    pub(crate) fn next_engagement_change_us(&self, now_us: i64) -> Option<i64> {
        let decays = !self.is_empty();
        decays.then(|| next_midnight_us(now_us))
    }

    fn order_age_us(&self, now_us: i64) -> Option<i64> {
        self.ledger().last_order_us().map(|last_us| now_us.saturating_sub(last_us).max(0))
    }

    /// When the last order is older than one of these ages (ascending) for the first time.
    fn next_order_age(&self, now_us: i64, ages_days: &[i64]) -> Option<i64> {
        let last_us = self.ledger().last_order_us()?;
        let passed = |days: &i64| last_us.checked_add(days * DAY_US)?.checked_add(1);
        ages_days.iter().filter_map(passed).find(|at_us| *at_us > now_us)
    }
}

/// When the next day of UTC begins.
pub(crate) fn next_midnight_us(now_us: i64) -> i64 {
    start_of(day_of(now_us) + 1)
}

fn recency_band(age_us: i64) -> u8 {
    let passed = RECENCY_DAYS.iter().filter(|days| age_us > **days * DAY_US).count();
    5 - passed as u8 // at most 4
}

const fn frequency_band(orders: u64) -> u8 {
    match orders {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 3,
        4..=6 => 4,
        _ => 5,
    }
}

fn monetary_band(micros: i64) -> u8 {
    let reached = MONETARY_UNITS.iter().filter(|units| micros >= **units * 1_000_000).count();
    1 + reached as u8 // at most 4
}

const HALF_LIFE_DAYS: u32 = 14;

/// 2^(−k/14) for k = 0 … 14.
const WEIGHTS: [f64; HALF_LIFE_DAYS as usize + 1] = [
    1.0,
    0.9516951530106196,
    0.9057236642639067,
    0.8619728212469777,
    0.820335356007638,
    0.7807091821557101,
    0.7429971445684742,
    std::f64::consts::FRAC_1_SQRT_2,
    0.6729500963161781,
    0.6404433448821363,
    0.6095068271022377,
    0.5800646930800814,
    0.5520447568369061,
    0.5253783193266097,
    0.5,
];

/// 2^(−age/14): exact at whole days, linear between them. From a table, since the precision
/// of `exp2` differs between platforms and scores must not.
fn weight(age_days: f64) -> f64 {
    let whole = age_days as u32; // not negative; saturates
    let halvings = u64::from(whole / HALF_LIFE_DAYS);
    if halvings > 1_000 {
        return 0.0;
    }
    let step = (whole % HALF_LIFE_DAYS) as usize;
    let fraction = age_days - f64::from(whole);
    let within = WEIGHTS[step] + fraction * (WEIGHTS[step + 1] - WEIGHTS[step]);
    let scale = f64::from_bits((1_023 - halvings) << 52); // 2^(−halvings)
    within * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weight_halves_every_fourteen_days() {
        for age in 0..400_u32 {
            let exact = (-f64::from(age) / 14.0).exp2();
            assert!((weight(f64::from(age)) / exact - 1.0).abs() < 1e-12, "day {age}");
        }
        assert!((weight(10.5) / (-10.5_f64 / 14.0).exp2() - 1.0).abs() < 1e-3);
        assert_eq!(weight(1e9).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn bands_change_at_the_documented_limits() {
        let day = |days: i64, us: i64| recency_band(days * DAY_US + us);
        let at_limit = [day(30, 0), day(60, 0), day(120, 0), day(240, 0)];
        let after_limit = [day(30, 1), day(60, 1), day(120, 1), day(240, 1)];
        assert_eq!((at_limit, after_limit), ([5, 4, 3, 2], [4, 3, 2, 1]));
        let money = [-1, 249, 250, 500, 1_000, 2_499, 2_500].map(|units| units * 1_000_000);
        assert_eq!(money.map(monetary_band), [1, 1, 2, 3, 4, 4, 5]);
        assert_eq!([0, 1, 2, 3, 4, 6, 7, 99].map(frequency_band), [0, 1, 2, 3, 4, 4, 5, 5]);
    }
}
