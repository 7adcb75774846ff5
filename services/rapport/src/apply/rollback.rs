//! What was in force before a change, or right after an earlier one.
//!
//! Taking a change back saves what was there before as new versions: nothing is ever removed
//! from the history, so a rollback can be taken back too.

use std::collections::BTreeMap;

use contracts::common::v1::ResourceVersion;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic::Status;

use super::history::{Filter, Key, Versions, change_of, message_of, of_change, time_of};
use super::kind::{ResourceKind, services};
use super::plan::Target;
use super::refusal::about_the_call;
use crate::client::Client;

/// What a resource is to be again.
#[derive(Debug)]
pub struct Restored {
    kind: &'static ResourceKind,
    name: String,
    /// Nothing if it was not there.
    message: Option<DynamicMessage>,
    descriptor: Option<prost_reflect::MessageDescriptor>,
}

impl Restored {
    /// As what is to be done.
    #[must_use]
    pub fn target(&self) -> Target<'_> {
        Target {
            kind: self.kind,
            name: &self.name,
            message: self.message.as_ref(),
            sourced: None,
            descriptor: self.descriptor.clone(),
        }
    }
}

/// First and last version of a resource among some.
type Spans = BTreeMap<(usize, Key), (i64, i64)>;

/// What was in force before a change, of everything that it changed.
///
/// # Errors
/// When there is no such change, or when what it changed was changed again since.
pub async fn before(
    client: &mut Client,
    pool: &DescriptorPool,
    change: &str,
) -> anyhow::Result<Vec<Restored>> {
    let address = client.address().to_owned();
    let mut versions = Versions::new(client, pool);
    let told = |status: Status| anyhow::anyhow!(about_the_call(&status, &address));
    let spans = spans(&found(&mut versions, change).await?);
    let mut restored = Vec::new();
    let mut later = Vec::new();
    for (key, (first, last)) in spans {
        let Some(one) = restore(&mut versions, pool, &key.1, first).await? else { continue };
        let newest = versions.newest(one.kind, &one.name).await.map_err(told)?;
        if let Some(newest) = newest.filter(|newest| newest.version != last) {
            // What is there again already is what another run of this left behind.
            let is_back = match &one.message {
                None => newest.deleted,
                Some(message) => {
                    !newest.deleted && message_of(&newest, pool).is_ok_and(|now| now == *message)
                }
            };
            if !is_back {
                later.push(changed_since(&newest));
            }
        }
        restored.push(one);
    }
    if !later.is_empty() {
        anyhow::bail!(
            "{}\ntake those changes back first, or go back to before all of them with \
             `rapport apply rollback --to CHANGE`",
            later.join("\n")
        );
    }
    Ok(restored)
}

fn changed_since(newest: &ResourceVersion) -> String {
    let ResourceVersion { kind, name, author, .. } = newest;
    format!("{kind} {name} was changed since, by {author} in change {}", change_of(newest))
}

/// What was in force right after a change, of everything that was changed since.
///
/// # Errors
/// When there is no such change.
pub async fn after(
    client: &mut Client,
    pool: &DescriptorPool,
    change: &str,
) -> anyhow::Result<Vec<Restored>> {
    let address = client.address().to_owned();
    let mut versions = Versions::new(client, pool);
    let told = |status: Status| anyhow::anyhow!(about_the_call(&status, &address));
    let of_it = found(&mut versions, change).await?;
    let end = of_it.iter().map(time_of).max().unwrap_or_default();
    let mut since = Vec::new();
    for service in services() {
        let later = |version: &ResourceVersion| time_of(version) > end;
        since.extend(versions.while_wanted(service, Filter::default(), later).await.map_err(told)?);
    }
    let mut restored = Vec::new();
    for (key, (first, _)) in spans(&since) {
        restored.extend(restore(&mut versions, pool, &key.1, first).await?);
    }
    Ok(restored)
}

async fn found(versions: &mut Versions<'_>, change: &str) -> anyhow::Result<Vec<ResourceVersion>> {
    let found = of_change(versions, change).await;
    let found =
        found.map_err(|status| anyhow::anyhow!(about_the_call(&status, versions.address())))?;
    anyhow::ensure!(
        !found.is_empty(),
        "there is no change `{change}`: `rapport apply history` lists them"
    );
    Ok(found)
}

fn spans(versions: &[ResourceVersion]) -> Spans {
    let mut spans = Spans::new();
    for version in versions {
        let Some(kind) = ResourceKind::named(&version.kind) else { continue };
        let number = version.version;
        let key = (kind.rank(), (kind.kind, version.name.clone()));
        let span = spans.entry(key).or_insert((number, number));
        *span = (span.0.min(number), span.1.max(number));
    }
    spans
}

/// What a resource said before a version.
async fn restore(
    versions: &mut Versions<'_>,
    pool: &DescriptorPool,
    (kind, name): &Key,
    version: i64,
) -> anyhow::Result<Option<Restored>> {
    let Some(kind) = ResourceKind::named(kind) else { return Ok(None) };
    let before = match version {
        ..=1 => None,
        later => {
            let found = versions.one(kind, name, later - 1).await;
            found.map_err(|status| anyhow::anyhow!(about_the_call(&status, versions.address())))?
        }
    };
    let message = match before.filter(|before| !before.deleted) {
        Some(before) => Some(message_of(&before, pool)?),
        None => None,
    };
    let descriptor = kind.descriptor(pool).ok();
    Ok(Some(Restored { kind, name: name.clone(), message, descriptor }))
}
