//! GetProfile and BatchGetProfiles.

use aggregate::{Counter, LifeCycleStage, Revenue, Trait, Value};
use contracts::common::v1::{TraitValue, trait_value};
use contracts::google::r#type::Money;
use contracts::profile::v1 as wire;
use kernel::{CustomerId, Violations};
use server::Call;

use super::time::{as_of, timestamp};
use crate::app::Shared;
use crate::app::cache::Profile;
use crate::domain::schema::Schema;
use crate::error::Error;

/// How many pieces of evidence a profile names.
const EVIDENCE: usize = 100;
/// How many profiles one call reads.
const PROFILES: usize = 100;

pub(super) async fn get(
    shared: &Shared,
    call: &Call,
    request: &wire::GetProfileRequest,
) -> Result<wire::GetProfileResponse, Error> {
    let mut violations = Violations::new();
    let customer: Option<CustomerId> = violations.check("customer_id", request.customer_id.parse());
    let now_us = as_of(&mut violations, request.as_of_time.as_ref());
    if request.at_least_version < 0 {
        violations.add("at_least_version", "must not be negative");
    }
    let (Some(customer), Some(now_us), true) = (customer, now_us, violations.is_empty()) else {
        return Err(violations.into());
    };
    let profile = match request.at_least_version {
        0 => shared.profile(call.tenant(), customer).await?,
        version => shared.profile_at_least(call, customer, version).await?,
    };
    let schema = shared.schema(call.tenant()).await?;
    Ok(wire::GetProfileResponse { profile: Some(to_wire(&profile, &schema, now_us)) })
}

pub(super) async fn batch(
    shared: &Shared,
    call: &Call,
    request: wire::BatchGetProfilesRequest,
) -> Result<wire::BatchGetProfilesResponse, Error> {
    let mut violations = Violations::new();
    let asked = request.customer_ids;
    if asked.is_empty() || asked.len() > PROFILES {
        violations.add("customer_ids", "must be 1 to 100 ids");
    }
    let mut customers: Vec<CustomerId> = Vec::with_capacity(asked.len());
    for (index, id) in asked.iter().enumerate().take(PROFILES) {
        customers
            .extend(violations.check(&format!("customer_ids[{index}]"), id.parse::<CustomerId>()));
    }
    let now_us = as_of(&mut violations, request.as_of_time.as_ref());
    let (Some(now_us), true) = (now_us, violations.is_empty()) else {
        return Err(violations.into());
    };
    let schema = shared.schema(call.tenant()).await?;
    let mut profiles = Vec::with_capacity(customers.len());
    for customer in customers {
        match shared.profile(call.tenant(), customer).await {
            Ok(profile) => profiles.push(to_wire(&profile, &schema, now_us)),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wire::BatchGetProfilesResponse { profiles })
}

pub(super) fn to_wire(profile: &Profile, schema: &Schema, now_us: i64) -> wire::Profile {
    let state = &profile.behaviour;
    let clear = state.traits().filter(|kept| schema.shows(kept.name(), false));
    let personal = profile.personal.traits().filter(|kept| schema.shows(kept.name(), true));
    let traits = clear.chain(personal).map(|kept| (kept.name().to_owned(), attribute(kept)));
    let evidence = profile.evidence.iter().take(EVIDENCE);
    wire::Profile {
        customer_id: profile.customer.to_string(),
        version: profile.version,
        traits: traits.collect(),
        event_counters: state.counters().map(|counter| to_counter(counter, now_us)).collect(),
        total_events: whole(state.total_events()),
        first_event_time: state.first_us().map(timestamp),
        last_event_time: state.last_us().map(timestamp),
        ledger: Some(ledger(state)),
        rfm: Some(rfm(state, now_us)),
        life_cycle_stage: stage(state.life_cycle_stage(now_us)) as i32,
        engagement: state.engagement(now_us),
        evidence_ids: evidence.map(ToString::to_string).collect(),
    }
}

fn attribute(kept: &Trait) -> wire::Trait {
    let kind = match kept.value().get() {
        Value::Text(text) => trait_value::Kind::StringValue(text.to_owned()),
        Value::Number(number) => trait_value::Kind::NumberValue(number),
        Value::Int(number) => trait_value::Kind::NumberValue(number as f64),
        Value::Bool(value) => trait_value::Kind::BoolValue(value),
        Value::Time(us) => trait_value::Kind::TimeValue(timestamp(us)),
    };
    wire::Trait {
        value: Some(TraitValue { kind: Some(kind) }),
        source: kept.source().to_owned(),
        event_time: Some(timestamp(kept.event_us())),
    }
}

fn to_counter(counter: &Counter, now_us: i64) -> wire::EventCounter {
    wire::EventCounter {
        name: counter.name().to_owned(),
        total: whole(counter.total()),
        last_7_days: whole(counter.last_days(7, now_us)),
        last_30_days: whole(counter.last_days(30, now_us)),
        first_time: Some(timestamp(counter.first_us())),
        last_time: Some(timestamp(counter.last_us())),
    }
}

fn ledger(state: &aggregate::Behaviour) -> wire::LedgerTotals {
    let ledger = state.ledger();
    wire::LedgerTotals {
        orders: whole(ledger.orders()),
        revenue: ledger.revenue().map(money).collect(),
        first_order_time: ledger.first_order_us().map(timestamp),
        last_order_time: ledger.last_order_us().map(timestamp),
        open_tickets: ledger.open_tickets(),
        points_balance: ledger.points_balance(),
    }
}

fn rfm(state: &aggregate::Behaviour, now_us: i64) -> wire::Rfm {
    let rfm = state.rfm(now_us);
    let duration = |us: i64| prost_types::Duration {
        seconds: us / 1_000_000,
        nanos: (us % 1_000_000) as i32 * 1_000, // below a thousand million
    };
    wire::Rfm {
        recency: rfm.recency_us.map(duration),
        frequency: whole(rfm.frequency),
        monetary: rfm.monetary.map(money),
        recency_band: i32::from(rfm.recency_band),
        frequency_band: i32::from(rfm.frequency_band),
        monetary_band: i32::from(rfm.monetary_band),
    }
}

fn money(revenue: Revenue) -> Money {
    let (units, nanos) = revenue.to_money();
    Money { currency_code: revenue.currency.as_str().to_owned(), units, nanos }
}

const fn stage(stage: Option<LifeCycleStage>) -> wire::LifeCycleStage {
    match stage {
        None => wire::LifeCycleStage::Unspecified,
        Some(LifeCycleStage::Visitor) => wire::LifeCycleStage::Visitor,
        Some(LifeCycleStage::Lead) => wire::LifeCycleStage::Lead,
        Some(LifeCycleStage::NewCustomer) => wire::LifeCycleStage::NewCustomer,
        Some(LifeCycleStage::Active) => wire::LifeCycleStage::Active,
        Some(LifeCycleStage::AtRisk) => wire::LifeCycleStage::AtRisk,
        Some(LifeCycleStage::Lapsed) => wire::LifeCycleStage::Lapsed,
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
