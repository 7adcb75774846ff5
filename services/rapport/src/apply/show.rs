//! Changes as text: the list of them, and what one of them changed.

use std::fmt::Write as _;

use contracts::common::v1::ResourceVersion;
use jiff::Timestamp;
use prost_reflect::DescriptorPool;
use tonic::Status;

use super::canonical::yaml;
use super::diff::{Colour, resource, unified};
use super::history::{self, Change, Filter, Versions, message_of, of_change, time_of};
use super::kind::ResourceKind;
use super::refusal::about_the_call;
use crate::client::Client;

/// The newest changes; kind and name narrow them down if not empty.
///
/// # Errors
/// What the services answer.
pub async fn changes(
    client: &mut Client,
    pool: &DescriptorPool,
    (kind, name): (&str, &str),
    limit: usize,
) -> anyhow::Result<Vec<Change>> {
    let address = client.address().to_owned();
    let filter = Filter { kind, name, change_id: "" };
    let found = history::changes(&mut Versions::new(client, pool), filter, limit).await;
    found.map_err(|status| anyhow::anyhow!(about_the_call(&status, &address)))
}

/// Changes as text, one line for each resource.
#[must_use]
pub fn listed(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let _ = writeln!(text, "change {}", change.id);
        let _ = writeln!(text, "  {}", when_and_who(&change.versions));
        for version in &change.versions {
            let ResourceVersion { kind, name, version: number, .. } = version;
            let what = match (version.deleted, number) {
                (true, _) => "deleted".to_owned(),
                (false, 1) => "created".to_owned(),
                (false, number) => format!("version {number}"),
            };
            let now = if version.current { "" } else { ", changed again since" };
            let _ = writeln!(text, "  {kind} {name}: {what}{now}");
        }
    }
    text
}

fn when_and_who(versions: &[ResourceVersion]) -> String {
    let (seconds, nanos) = versions.iter().map(time_of).max().unwrap_or_default();
    let time = Timestamp::new(seconds, nanos).unwrap_or_default().strftime("%Y-%m-%d %H:%M:%S UTC");
    let mut authors: Vec<&str> = versions.iter().map(|version| version.author.as_str()).collect();
    authors.sort_unstable();
    authors.dedup();
    format!("{time} by {}", authors.join(", "))
}

/// A change as text: who, when, and the difference that it made to each resource.
///
/// # Errors
/// When there is no such change; what the services answer.
pub async fn history_of(
    client: &mut Client,
    pool: &DescriptorPool,
    change: &str,
    colour: Colour,
) -> anyhow::Result<String> {
    let address = client.address().to_owned();
    let told = |status: Status| anyhow::anyhow!(about_the_call(&status, &address));
    let mut versions = Versions::new(client, pool);
    let found = of_change(&mut versions, change).await.map_err(told)?;
    anyhow::ensure!(
        !found.is_empty(),
        "there is no change `{change}`: `rapport apply history` lists them"
    );
    let mut text = format!("change {change}\n  {}\n", when_and_who(&found));
    for version in &found {
        let Some(kind) = ResourceKind::named(&version.kind) else { continue };
        let before = match version.version {
            ..=1 => None,
            number => versions.one(kind, &version.name, number - 1).await.map_err(told)?,
        };
        text.push('\n');
        text.push_str(&difference(kind, before.as_ref(), version, pool, colour));
    }
    Ok(text)
}

fn difference(
    kind: &ResourceKind,
    before: Option<&ResourceVersion>,
    after: &ResourceVersion,
    pool: &DescriptorPool,
    colour: Colour,
) -> String {
    let side = |version: Option<&ResourceVersion>| {
        let Some(version) = version.filter(|version| !version.deleted) else {
            return ("/dev/null".to_owned(), String::new());
        };
        let body = match message_of(version, pool) {
            Ok(message) => yaml(kind, &message),
            Err(error) => format!("# {error}\n"),
        };
        (format!("{} version {}", resource(kind, &version.name), version.version), body)
    };
    let (old, new) = (side(before), side(Some(after)));
    unified((&old.0, &old.1), (&new.0, &new.1), colour)
}
