//! WatchProfiles.

use std::collections::HashSet;

use ::store::TokenSealer;
use ::store::page_token::Scope;
use contracts::profile::v1 as wire;
use feed::watch::{Cursor, Seen};
use futures::stream::{BoxStream, StreamExt};
use kernel::{CustomerId, Violations};
use server::watch::{Item, Options};
use server::{Call, Drain, status};
use tonic::Status;
use uuid::Uuid;

use crate::app::Shared;
use crate::error::Error;
use crate::events;

const WATCH: &str = "rapport.profile.v1.ProfileService/WatchProfiles";
const CUSTOMERS: usize = 1_000;

pub(super) type Changes = BoxStream<'static, Result<wire::WatchProfilesResponse, Status>>;

pub(super) async fn open(
    shared: &Shared,
    tokens: &TokenSealer,
    call: &Call,
    drain: &Drain,
    request: wire::WatchProfilesRequest,
) -> Result<Changes, Error> {
    let wanted = customers(&request.customer_ids)?;
    let filter: Vec<u8> = wanted.iter().flat_map(|id| *id.as_bytes()).collect();
    let tenant = call.tenant();
    // Short: it goes into the associated data of every token.
    let filter = *Uuid::new_v8(::store::blind::short_index(
        &*shared.lookup.tenant(tenant)?,
        "watch",
        &filter,
    ))
    .as_bytes();
    let seal = {
        let tokens = tokens.clone();
        move |cursor: Cursor| {
            tokens.seal(&Scope { tenant, method: WATCH, filter: &filter }, &cursor.to_bytes())
        }
    };
    let scope = Scope { tenant, method: WATCH, filter: &filter };
    let from = match tokens.resume(&scope, &request.resume_token)? {
        Some(position) => Some(Cursor::from_bytes(&position)?),
        None => None,
    };
    let wanted: HashSet<CustomerId> = wanted.into_iter().collect();
    let watch = feed::Watch::open(&shared.tail, tenant, from).await?.only(move |entry| {
        let mut customers = events::customers_of(entry).into_iter();
        customers.any(|(_, customer)| wanted.is_empty() || wanted.contains(&customer))
    });
    let start = seal(watch.cursor())?;
    let source =
        watch.into_stream().filter_map(move |seen| futures::future::ready(item(seen, &seal)));
    let changes = server::watch::stream(call, drain, Options::default(), start, source, |token| {
        wire::WatchProfilesResponse { resume_token: token.to_owned(), change: None }
    });
    Ok(changes.boxed())
}

/// Sorted, without repetitions.
fn customers(ids: &[String]) -> Result<Vec<CustomerId>, Violations> {
    let mut violations = Violations::new();
    if ids.len() > CUSTOMERS {
        violations.add("customer_ids", "must be at most 1,000 ids");
    }
    let mut customers: Vec<CustomerId> = Vec::with_capacity(ids.len().min(CUSTOMERS));
    for (index, id) in ids.iter().enumerate().take(CUSTOMERS) {
        customers
            .extend(violations.check(&format!("customer_ids[{index}]"), id.parse::<CustomerId>()));
    }
    customers.sort_unstable();
    customers.dedup();
    violations.into_result(customers)
}

/// What the watcher is told.
fn item(
    seen: Result<(Cursor, Seen), feed::Error>,
    seal: &impl Fn(Cursor) -> Result<String, ::store::Error>,
) -> Option<Result<Item<wire::WatchProfilesResponse>, Status>> {
    let (cursor, seen) = match seen {
        Ok(seen) => seen,
        Err(error) => return Some(Err(status(&error))),
    };
    let change = match seen {
        Seen::Entry(entry) => Some(events::to_change(&entry)?),
        Seen::Nothing => None,
    };
    let resume_token = match seal(cursor) {
        Ok(token) => token,
        Err(error) => return Some(Err(status(&error))),
    };
    let message = wire::WatchProfilesResponse { resume_token: resume_token.clone(), change };
    Some(Ok(Item { resume_token, message }))
}
