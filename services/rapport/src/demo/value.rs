//! Third act: orders become recency, frequency, money and a stage of life.

use std::collections::BTreeMap;

use contracts::common::v1::Identifier;
use contracts::google::r#type::Money;
use contracts::profile::v1 as profile;
use contracts::profile::v1::LifeCycleStage;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;

use super::data::Invoice;
use super::recognition::timestamp;
use super::report::{self, bar, count, percent};
use crate::client::{Client, patiently};

/// What the act found.
#[derive(Debug, Default)]
pub struct Value {
    orders: u64,
    customers: u64,
    stages: BTreeMap<i32, (u64, i64)>,
    bands: [[u64; 6]; 3],
    revenue_pence: i64,
    best_revenue_pence: i64,
    best_customers: u64,
    as_of: String,
}

/// Sends the orders, then reads every profile as of the day after the last order.
///
/// # Errors
/// When a call fails.
pub async fn run(client: &Client, invoices: &[Invoice]) -> anyhow::Result<Value> {
    let customers = ingest(client, invoices).await?;
    let last = invoices.iter().map(|invoice| invoice.time).max().unwrap_or_default();
    let as_of = last.checked_add(jiff::SignedDuration::from_hours(24))?;
    let mut value = Value {
        orders: invoices.len() as u64,
        customers: customers.len() as u64,
        as_of: as_of.strftime("%d %B %Y").to_string(),
        ..Default::default()
    };
    let bar = report::progress(customers.len(), "profiles are read");
    let mut service = ProfileServiceClient::new(client.service());
    for chunk in customers.chunks(100) {
        let request = profile::BatchGetProfilesRequest {
            customer_ids: chunk.to_vec(),
            as_of_time: Some(timestamp(as_of)),
        };
        let answer = patiently(async || service.batch_get_profiles(request.clone()).await).await?;
        for profile in answer.profiles {
            value.add(&profile);
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    Ok(value)
}

fn order_event(invoice: &Invoice) -> profile::Event {
    let amount = Money {
        currency_code: "GBP".to_owned(),
        units: invoice.pence / 100,
        nanos: (invoice.pence % 100) as i32 * 10_000_000,
    };
    profile::Event {
        message_id: format!("order:{}", invoice.number),
        r#type: profile::EventType::Track.into(),
        name: "Order Completed".to_owned(),
        identifiers: vec![Identifier {
            namespace: "crm_id".to_owned(),
            value: format!("shop:{}", invoice.customer),
        }],
        event_time: Some(timestamp(invoice.time)),
        source: "shop".to_owned(),
        ledger_entry: Some(profile::LedgerEntry {
            r#type: profile::LedgerEntryType::OrderCompleted.into(),
            entry_id: invoice.number.clone(),
            amount: Some(amount),
            points: 0,
        }),
        ..Default::default()
    }
}

async fn ingest(client: &Client, invoices: &[Invoice]) -> anyhow::Result<Vec<String>> {
    let bar = report::progress(invoices.len(), "orders come in");
    let mut service = ProfileServiceClient::new(client.service());
    let mut customers = std::collections::BTreeSet::new();
    for chunk in invoices.chunks(500) {
        let request =
            profile::IngestEventsRequest { events: chunk.iter().map(order_event).collect() };
        let answer = patiently(async || service.ingest_events(request.clone()).await).await?;
        super::all_accepted(&answer.results)?;
        for result in answer.results {
            customers.insert(result.customer_id);
        }
        bar.inc(chunk.len() as u64);
    }
    bar.finish();
    customers.remove("");
    Ok(customers.into_iter().collect())
}

impl Value {
    fn add(&mut self, profile: &profile::Profile) {
        let Some(rfm) = &profile.rfm else { return };
        let money = rfm.monetary.clone().unwrap_or_default();
        let pence = money.units * 100 + i64::from(money.nanos) / 10_000_000;
        let stage = self.stages.entry(profile.life_cycle_stage).or_default();
        stage.0 += 1;
        stage.1 += pence;
        self.revenue_pence += pence;
        if rfm.frequency_band == 5 && rfm.recency_band >= 4 {
            self.best_customers += 1;
            self.best_revenue_pence += pence;
        }
        for (row, band) in
            [rfm.recency_band, rfm.frequency_band, rfm.monetary_band].into_iter().enumerate()
        {
            self.bands[row][band.clamp(0, 5) as usize] += 1;
        }
    }

    /// Says it to a manager.
    pub fn print(&self) {
        report::heading("3  Value: what are they worth?");
        report::say(&format!(
            "{} orders of {} customers of a British gift shop, as of {}.\n",
            count(self.orders),
            count(self.customers),
            self.as_of
        ));
        let stages: Vec<Vec<String>> = self
            .stages
            .iter()
            .map(|(stage, (customers, pence))| {
                vec![
                    stage_name(*stage).to_owned(),
                    count(*customers),
                    bar(*customers, self.customers, 30),
                    percent(*pence as u64, self.revenue_pence as u64),
                ]
            })
            .collect();
        report::table(&["stage of life", "customers", "", "of revenue"], &stages);
        let band_row = |name: &str, row: &[u64; 6]| {
            let mut cells = vec![name.to_owned()];
            cells.extend((1..=5).map(|band| {
                format!("{:>6} {}", count(row[band]), bar(row[band], self.customers, 8))
            }));
            cells
        };
        report::table(
            &["band", "1 (weak)", "2", "3", "4", "5 (strong)"],
            &[
                band_row("recency", &self.bands[0]),
                band_row("frequency", &self.bands[1]),
                band_row("money", &self.bands[2]),
            ],
        );
        report::say(&format!(
            "The {} best customers (7 orders or more, the last within 60 days) are {} of all \
             and bring {} of the revenue.",
            count(self.best_customers),
            percent(self.best_customers, self.customers),
            percent(self.best_revenue_pence as u64, self.revenue_pence as u64),
        ));
    }
}

fn stage_name(stage: i32) -> &'static str {
    match LifeCycleStage::try_from(stage).unwrap_or_default() {
        LifeCycleStage::Unspecified => "unknown",
        LifeCycleStage::Visitor => "visitor",
        LifeCycleStage::Lead => "lead",
        LifeCycleStage::NewCustomer => "new customer",
        LifeCycleStage::Active => "active",
        LifeCycleStage::AtRisk => "at risk",
        LifeCycleStage::Lapsed => "lapsed",
    }
}
