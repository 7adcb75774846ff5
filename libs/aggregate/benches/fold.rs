//! What one event, one merge and one write cost. `cargo bench -p aggregate`.
#![expect(clippy::expect_used, reason = "a bench that cannot set up should stop")]

use aggregate::{Amount, Behaviour, EventFacts, EventKind, Feature, FeatureView, LedgerFact};
use divan::{Bencher, black_box};
use kernel::EvidenceId;
use uuid::Uuid;

const DAY_US: i64 = 86_400_000_000;
const NOW_US: i64 = 1_749_988_800_000_000;

fn main() {
    divan::main();
}

fn with_event<T>(name: &str, event_us: i64, read: impl FnOnce(&EventFacts<'_>) -> T) -> T {
    let amount = Amount::from_money("CNY", 99, 0).ok();
    read(&EventFacts {
        name,
        kind: EventKind::Track,
        event_us,
        ledger: Some(LedgerFact::OrderCompleted(amount)),
        traits: &[],
        source: "web",
        evidence: EvidenceId::new(Uuid::from_bytes([1; 16])),
        message_id: "m",
    })
}

/// 16 names, each on 16 of the last 32 days.
fn busy_state() -> Behaviour {
    let mut state = Behaviour::default();
    for nth in 0..16 * 16 {
        let name = format!("Some Event No {:02}", nth % 16);
        with_event(&name, NOW_US - (nth / 16) * 2 * DAY_US, |event| state.fold(event));
    }
    state
}

#[divan::bench]
fn fold_one_event(bencher: Bencher<'_, '_>) {
    let mut state = busy_state();
    bencher.bench_local(|| {
        with_event("Some Event No 07", black_box(NOW_US), |event| state.fold(event));
    });
}

#[divan::bench]
fn merge_one_event(bencher: Bencher<'_, '_>) {
    let mut state = busy_state();
    let delta = with_event("Some Event No 07", NOW_US, Behaviour::of_event);
    bencher.bench_local(|| state.merge(black_box(&delta)));
}

#[divan::bench]
fn merge_two_busy_states(bencher: Bencher<'_, '_>) {
    let mut state = busy_state();
    let other = busy_state();
    bencher.bench_local(|| state.merge(black_box(&other)));
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let state = busy_state();
    bencher.bench_local(|| black_box(&state).encode());
}

#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let bytes = busy_state().encode();
    bencher.bench_local(|| Behaviour::decode(black_box(&bytes)));
}

#[divan::bench]
fn read_three_features(bencher: Bencher<'_, '_>) {
    let state = busy_state();
    let names = ["orders.count", "events[\"Some Event No 07\"].last_7_days", "engagement"];
    let features: Vec<Feature> =
        names.iter().map(|name| name.parse().expect("a feature")).collect();
    bencher.bench_local(|| {
        let view = FeatureView::new(black_box(&state), NOW_US);
        features.iter().filter_map(|feature| view.get(feature)?.as_f64()).sum::<f64>()
    });
}
