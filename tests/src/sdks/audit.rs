//! What is there, read through the public API, against what the driver was to deliver.

use std::collections::BTreeMap;

use anyhow::Context as _;
use contracts::common::v1::Identifier;
use contracts::identity::v1 as identity;
use contracts::identity::v1::identity_service_client::IdentityServiceClient;
use contracts::profile::v1 as profile;
use contracts::profile::v1::EventType;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use prost_types::Struct;
use prost_types::value::Kind;
use rapport::client::Client;

use crate::faults::report::Report;

const PAGE: i32 = 1_000;

/// Checks that each event is there once, with its type, and counted once.
///
/// # Errors
/// When a call fails.
pub async fn run(
    name: &str,
    client: &Client,
    people: usize,
    events: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut lost, mut doubled, mut strange) = (Vec::new(), Vec::new(), Vec::new());
    let mut counted = 0;
    for person in 0..people.min(events) {
        let customer_id = customer_of(client, person).await?;
        counted += total_events(client, &customer_id).await?;
        let mut found: BTreeMap<usize, usize> = BTreeMap::new();
        for event in timeline(client, &customer_id).await? {
            match number(&event) {
                Some(n)
                    if n < events && n % people == person && kind(n, people) == event.r#type() =>
                {
                    *found.entry(n).or_default() += 1;
                }
                _ => strange.push(format!("{} of person {person}", event.message_id)),
            }
        }
        let expected = (person..events).step_by(people);
        lost.extend(expected.filter(|n| !found.contains_key(n)).map(|n| n.to_string()));
        let twice = found.into_iter().filter(|(_, times)| *times > 1);
        doubled.extend(twice.map(|(n, times)| format!("{n}, {times} times")));
    }
    report.expect_none(&format!("{name}: events lost"), &lost);
    report.expect_none(&format!("{name}: events doubled"), &doubled);
    report.expect_none(&format!("{name}: events that nobody sent so"), &strange);
    report.expect_equal(&format!("{name}: events that the profiles count"), &events, &counted);
    Ok(())
}

/// The type of event number n.
fn kind(n: usize, people: usize) -> EventType {
    match (n / people) % 20 {
        0 => EventType::Identify,
        1 => EventType::Page,
        _ => EventType::Track,
    }
}

/// The number that an event carries, in its traits if it identifies.
fn number(event: &profile::Event) -> Option<usize> {
    let of = |fields: &Option<Struct>| {
        let value = fields.as_ref()?.fields.get("n")?;
        let Some(Kind::NumberValue(number)) = value.kind else { return None };
        // Exact: below 2^53.
        (0..=1_000_000).contains(&(number as i64)).then_some(number as usize)
    };
    of(&event.properties).or_else(|| of(&event.traits))
}

async fn customer_of(client: &Client, person: usize) -> anyhow::Result<String> {
    let value = format!("person-{person}");
    let who = Identifier { namespace: "user_id".to_owned(), value: value.clone() };
    let key = Some(identity::get_customer_request::Key::Identifier(who));
    let request = identity::GetCustomerRequest { key };
    let answer = IdentityServiceClient::new(client.service()).get_customer(request).await;
    let customer = answer.with_context(|| value.clone())?.into_inner().customer;
    Ok(customer.context(value)?.customer_id)
}

async fn total_events(client: &Client, customer_id: &str) -> anyhow::Result<usize> {
    let customer_id = customer_id.to_owned();
    let request = profile::GetProfileRequest { customer_id, ..Default::default() };
    let answer = ProfileServiceClient::new(client.service()).get_profile(request).await?;
    let profile = answer.into_inner().profile.context("a profile")?;
    Ok(usize::try_from(profile.total_events)?)
}

async fn timeline(client: &Client, customer_id: &str) -> anyhow::Result<Vec<profile::Event>> {
    let mut service = ProfileServiceClient::new(client.service());
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let customer_id = customer_id.to_owned();
        let request = profile::GetTimelineRequest { customer_id, page_size: PAGE, page_token };
        let page = service.get_timeline(request).await?.into_inner();
        found.extend(page.events.into_iter().filter_map(|one| one.event));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found);
        }
    }
}
