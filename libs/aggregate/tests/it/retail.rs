//! Real orders (UCI 352, tests/data/online-retail-invoices) against a computation that shares
//! nothing with the engine, and against totals counted by a separate program.

use std::collections::{BTreeMap, HashMap};

use aggregate::{Amount, Behaviour, LedgerFact, LifeCycleStage};
use jiff::civil::Date;

use crate::sample::Sample;

const INVOICES: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/online-retail-invoices/invoices.csv");

struct Invoice {
    number: String,
    date: Date,
    customer: String,
    micros: i64,
}

fn invoices() -> Vec<Invoice> {
    let text = std::fs::read_to_string(INVOICES).unwrap();
    let invoice = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let pounds: f64 = cells[3].parse().unwrap();
        Invoice {
            number: cells[0].to_owned(),
            date: cells[1].parse().unwrap(),
            customer: cells[2].to_owned(),
            micros: (pounds * 1e6).round() as i64,
        }
    };
    text.lines().skip(1).map(invoice).collect()
}

fn fold_all(invoices: &[Invoice]) -> HashMap<&str, Behaviour> {
    let mut states: HashMap<&str, Behaviour> = HashMap::new();
    for invoice in invoices {
        let midnight = invoice.date.at(0, 0, 0, 0).in_tz("UTC").unwrap().timestamp();
        let nanos = (invoice.micros % 1_000_000) as i32 * 1_000;
        let amount = Amount::from_money("GBP", invoice.micros / 1_000_000, nanos).unwrap();
        let sample = Sample {
            ledger: Some(LedgerFact::OrderCompleted(Some(amount))),
            message_id: invoice.number.clone(),
            ..Sample::named("Order Completed", midnight.as_microsecond())
        };
        let state = states.entry(&invoice.customer).or_default();
        sample.with(|event| state.fold(event));
    }
    states
}

type Standing = (i64, usize, i64, [u8; 3], LifeCycleStage);

/// By calendar dates and the words of profile.proto.
fn plainly(orders: &[&Invoice], today: Date) -> Standing {
    let last = orders.iter().map(|order| order.date).max().unwrap();
    let age = i64::from(last.until(today).unwrap().get_days());
    let micros: i64 = orders.iter().map(|order| order.micros).sum();
    let recency = match age {
        ..=30 => 5,
        31..=60 => 4,
        61..=120 => 3,
        121..=240 => 2,
        _ => 1,
    };
    let frequency = match orders.len() {
        few @ 1..=3 => few as u8,
        4..=6 => 4,
        _ => 5,
    };
    let money = match micros as f64 / 1e6 {
        ..250.0 => 1,
        250.0..500.0 => 2,
        500.0..1_000.0 => 3,
        1_000.0..2_500.0 => 4,
        _ => 5,
    };
    let stage = match (age, orders.len()) {
        (181.., _) => LifeCycleStage::Lapsed,
        (91..=180, _) => LifeCycleStage::AtRisk,
        (_, 1) => LifeCycleStage::NewCustomer,
        _ => LifeCycleStage::Active,
    };
    (age, orders.len(), micros, [recency, frequency, money], stage)
}

#[test]
fn standing_of_every_customer_equals_the_plain_computation() {
    let invoices = invoices();
    let states = fold_all(&invoices);
    let mut orders: HashMap<&str, Vec<&Invoice>> = HashMap::new();
    for invoice in &invoices {
        orders.entry(&invoice.customer).or_default().push(invoice);
    }
    assert_eq!((invoices.len(), states.len()), (18_532, 4_338));

    let today: Date = "2011-12-10".parse().unwrap();
    let now_us = today.at(0, 0, 0, 0).in_tz("UTC").unwrap().timestamp().as_microsecond();
    let mut bands: [BTreeMap<u8, u32>; 3] = Default::default();
    let mut stages: BTreeMap<&str, u32> = BTreeMap::new();
    for (customer, state) in &states {
        let rfm = state.rfm(now_us);
        let stage = state.life_cycle_stage(now_us).unwrap();
        let engine = (
            rfm.recency_us.unwrap() / crate::sample::DAY_US,
            rfm.frequency as usize,
            rfm.monetary.unwrap().micros,
            [rfm.recency_band, rfm.frequency_band, rfm.monetary_band],
            stage,
        );
        assert_eq!(engine, plainly(&orders[customer], today), "customer {customer}");
        for (counts, band) in bands.iter_mut().zip(engine.3) {
            *counts.entry(band).or_default() += 1;
        }
        *stages.entry(stage.as_str()).or_default() += 1;
    }

    let counted = bands.map(|counts| counts.into_values().collect::<Vec<u32>>());
    assert_eq!(counted[0], [553, 667, 742, 748, 1_628]);
    assert_eq!(counted[1], [1_493, 835, 508, 802, 700]);
    assert_eq!(counted[2], [865, 896, 909, 964, 704]);
    let expected = [("active", 2_243), ("at_risk", 588), ("lapsed", 861), ("new_customer", 646)];
    assert_eq!(stages, expected.into());
}
