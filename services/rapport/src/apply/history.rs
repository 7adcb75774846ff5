//! What was saved before: versions of resources, and the changes that they were saved in.
//!
//! A change is what carries one change id; a version that was saved without one is a change
//! of its own, named `Kind/name@version` (no change id contains a slash). Services keep their
//! versions apart, so a list of changes is a merge by time.

use std::collections::VecDeque;

use contracts::common::v1::ResourceVersion;
use prost_reflect::{DescriptorPool, DynamicMessage, Value as Proto};
use tonic::Status;

use super::kind::{KINDS, ResourceKind, rpc, services};
use crate::client::Client;

/// How many versions are asked for at once.
const PAGE: i32 = 100;

/// What there is of a resource now.
#[derive(Debug, Clone)]
pub struct Current {
    /// What it says, without what only the server sets; nothing if it is not there, or this
    /// release cannot read it.
    pub message: Option<DynamicMessage>,
    /// The newest version, be it a deletion; 0 if there never was one.
    pub version: i64,
    /// What a change has to insist on.
    pub etag: String,
}

impl Current {
    /// Whether it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.etag != store::resource::ABSENT
    }
}

/// A resource by kind and name.
pub(super) type Key = (&'static str, String);

/// Some versions that were saved together.
#[derive(Debug)]
pub struct Change {
    /// What it is called.
    pub id: String,
    /// The versions, newest first.
    pub versions: Vec<ResourceVersion>,
}

/// The name of the change that a version belongs to.
#[must_use]
pub fn change_of(version: &ResourceVersion) -> String {
    if version.change_id.is_empty() {
        format!("{}/{}@{}", version.kind, version.name, version.version)
    } else {
        version.change_id.clone()
    }
}

/// What a version says.
///
/// # Errors
/// When this release cannot read it.
pub fn message_of(
    version: &ResourceVersion,
    pool: &DescriptorPool,
) -> anyhow::Result<DynamicMessage> {
    let kind = ResourceKind::named(&version.kind);
    let descriptor = kind.and_then(|kind| kind.descriptor(pool).ok());
    let mut text = serde_json::Deserializer::from_str(&version.body_json);
    let read = descriptor.map(|it| DynamicMessage::deserialize(it, &mut text));
    read.and_then(Result::ok).ok_or_else(|| {
        let ResourceVersion { kind, name, version, .. } = version;
        anyhow::anyhow!("version {version} of {kind} {name} cannot be read by this release")
    })
}

/// Which versions are wanted; empty means all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Filter<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) change_id: &'a str,
}

/// Reads versions from the services.
pub(super) struct Versions<'a> {
    client: &'a mut Client,
    pool: &'a DescriptorPool,
}

impl<'a> Versions<'a> {
    pub(super) fn new(client: &'a mut Client, pool: &'a DescriptorPool) -> Self {
        Self { client, pool }
    }

    pub(super) fn address(&self) -> &str {
        self.client.address()
    }

    /// A page, newest first, and where the next one begins, if there is one.
    async fn page(
        &mut self,
        service: &str,
        filter: Filter<'_>,
        (size, token): (i32, &str),
    ) -> Result<(Vec<ResourceVersion>, Option<String>), Status> {
        let internal = |error: &dyn std::fmt::Display| Status::internal(error.to_string());
        let method =
            rpc(self.pool, service, "ListResourceVersions").map_err(|error| internal(&error))?;
        let mut request = DynamicMessage::new(method.input());
        let text = |text: &str| Proto::String(text.to_owned());
        for (field, value) in [
            ("kind", text(filter.kind)),
            ("name", text(filter.name)),
            ("change_id", text(filter.change_id)),
            ("page_size", Proto::I32(size)),
            ("page_token", text(token)),
        ] {
            request.try_set_field_by_name(field, value).map_err(|error| internal(&error))?;
        }
        let response = self.client.call(&method, request).await?;
        let listed = response.get_field_by_name("versions");
        let mut versions = Vec::new();
        for listed in listed.as_deref().and_then(Proto::as_list).into_iter().flatten() {
            let Some(message) = listed.as_message() else { continue };
            let version = message.transcode_to().map_err(|error| internal(&error))?;
            versions.push(version);
        }
        let token = response.get_field_by_name("next_page_token");
        let token = token.as_deref().and_then(Proto::as_str).filter(|token| !token.is_empty());
        Ok((versions, token.map(ToOwned::to_owned)))
    }

    /// All that match, newest first, as long as `wanted` says so.
    pub(super) async fn while_wanted(
        &mut self,
        service: &'static str,
        filter: Filter<'_>,
        wanted: impl Fn(&ResourceVersion) -> bool,
    ) -> Result<Vec<ResourceVersion>, Status> {
        let mut cursor = Cursor::new(service);
        let mut found = Vec::new();
        while let Some(version) = cursor.next(self, filter).await? {
            if !wanted(&version) {
                break;
            }
            found.push(version);
        }
        Ok(found)
    }

    /// One version of a resource.
    pub(super) async fn one(
        &mut self,
        kind: &ResourceKind,
        name: &str,
        number: i64,
    ) -> Result<Option<ResourceVersion>, Status> {
        let filter = Filter { kind: kind.kind, name, change_id: "" };
        let mut cursor = Cursor::new(kind.service);
        while let Some(version) = cursor.next(self, filter).await? {
            if version.version <= number {
                return Ok(Some(version).filter(|version| version.version == number));
            }
        }
        Ok(None)
    }

    /// The newest version of a resource.
    pub(super) async fn newest(
        &mut self,
        kind: &ResourceKind,
        name: &str,
    ) -> Result<Option<ResourceVersion>, Status> {
        let filter = Filter { kind: kind.kind, name, change_id: "" };
        let (versions, _) = self.page(kind.service, filter, (1, "")).await?;
        Ok(versions.into_iter().next())
    }
}

/// Where reading the versions of one service is.
struct Cursor {
    service: &'static str,
    read: VecDeque<ResourceVersion>,
    /// Where the next page begins; nothing after the last one.
    token: Option<String>,
}

impl Cursor {
    fn new(service: &'static str) -> Self {
        Self { service, read: VecDeque::new(), token: Some(String::new()) }
    }

    async fn head(
        &mut self,
        versions: &mut Versions<'_>,
        filter: Filter<'_>,
    ) -> Result<Option<&ResourceVersion>, Status> {
        while self.read.is_empty() {
            let Some(token) = self.token.take() else { break };
            let (page, token) = versions.page(self.service, filter, (PAGE, &token)).await?;
            self.read.extend(page);
            self.token = token;
        }
        Ok(self.read.front())
    }

    async fn next(
        &mut self,
        versions: &mut Versions<'_>,
        filter: Filter<'_>,
    ) -> Result<Option<ResourceVersion>, Status> {
        self.head(versions, filter).await?;
        Ok(self.read.pop_front())
    }
}

/// What there is of a resource.
pub(super) async fn current(
    versions: &mut Versions<'_>,
    kind: &ResourceKind,
    name: &str,
) -> Result<Current, Status> {
    let newest = versions.newest(kind, name).await?;
    Ok(match newest {
        Some(newest) if !newest.deleted => Current {
            message: message_of(&newest, versions.pool).ok(),
            version: newest.version,
            etag: newest.etag,
        },
        absent => Current {
            message: None,
            version: absent.map_or(0, |deletion| deletion.version),
            etag: store::resource::ABSENT.to_owned(),
        },
    })
}

/// The newest changes of all services, of one kind, or of one resource.
///
/// # Errors
/// What the services answer.
pub(super) async fn changes(
    versions: &mut Versions<'_>,
    filter: Filter<'_>,
    limit: usize,
) -> Result<Vec<Change>, Status> {
    let services = match ResourceKind::named(filter.kind) {
        Some(kind) => vec![kind.service],
        None => services(),
    };
    let mut cursors: Vec<Cursor> = services.into_iter().map(Cursor::new).collect();
    let mut changes: Vec<Change> = Vec::new();
    loop {
        let mut newest: Option<(usize, (i64, i32))> = None;
        for (index, cursor) in cursors.iter_mut().enumerate() {
            let head = cursor.head(versions, filter).await?;
            let time = head.map(time_of);
            if let Some(time) = time
                && newest.is_none_or(|(_, best)| time > best)
            {
                newest = Some((index, time));
            }
        }
        let Some((index, _)) = newest else { return Ok(changes) };
        let Some(version) = cursors[index].next(versions, filter).await? else {
            return Ok(changes);
        };
        let id = change_of(&version);
        if let Some(known) = changes.iter_mut().find(|change| change.id == id) {
            known.versions.push(version);
        } else if changes.len() == limit {
            // One further change has begun: those before it are complete.
            return Ok(changes);
        } else {
            changes.push(Change { id, versions: vec![version] });
        }
    }
}

/// When a version was saved, to be compared.
pub(super) fn time_of(version: &ResourceVersion) -> (i64, i32) {
    version.create_time.map_or((0, 0), |time| (time.seconds, time.nanos))
}

/// The versions of a change; nothing if there is no such change.
pub(super) async fn of_change(
    versions: &mut Versions<'_>,
    id: &str,
) -> Result<Vec<ResourceVersion>, Status> {
    if let Some((kind, name, number)) = parts(id) {
        let found = versions.one(kind, name, number).await?;
        return Ok(found.into_iter().collect());
    }
    let mut found = Vec::new();
    if id.is_empty() || id.contains('/') {
        return Ok(found);
    }
    for service in services() {
        let filter = Filter { change_id: id, ..Filter::default() };
        found.extend(versions.while_wanted(service, filter, |_| true).await?);
    }
    found.sort_by_key(|version| KINDS.iter().position(|kind| kind.kind == version.kind));
    Ok(found)
}

/// The parts of `Kind/name@version`.
fn parts(id: &str) -> Option<(&'static ResourceKind, &str, i64)> {
    let (kind, rest) = id.split_once('/')?;
    let (name, version) = rest.rsplit_once('@')?;
    Some((ResourceKind::named(kind)?, name, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_a_change_is_one_of_its_own() {
        let mut version = ResourceVersion {
            kind: "Trait".to_owned(),
            name: "plan".to_owned(),
            version: 12,
            ..ResourceVersion::default()
        };
        let id = change_of(&version);
        let (kind, name, number) = parts(&id).expect("read back");
        assert_eq!((kind.kind, name, number), ("Trait", "plan", 12));
        version.change_id = "release-7".to_owned();
        assert_eq!(change_of(&version), "release-7");
        assert!(parts("release-7").is_none() && parts("Trait/plan@x").is_none());
    }
}
