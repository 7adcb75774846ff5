//! The versions of configuration resources, newest first: who saved what, when, in which change.

use jiff::Timestamp;
use kernel::{TenantId, Violations};
use serde_json::Value;

use crate::database::Database;
use crate::error::Error;
use crate::page_token::{Scope, TokenSealer};
use crate::time;

/// Which versions, and which page of them.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The full name of the method that lists, e.g.
    /// `rapport.routing.v1.RoutingService/ListResourceVersions`.
    pub method: &'a str,
    /// Only of this kind; empty for all.
    pub kind: &'a str,
    /// Only of resources with this name; empty for all.
    pub name: &'a str,
    /// Only those of this change; empty for all.
    pub change_id: &'a str,
    /// As the caller asks: 0 for the default.
    pub page_size: i32,
    /// As the caller gives it back.
    pub page_token: &'a str,
}

/// A version as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The kind of the resource.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// From 1 up.
    pub version: i64,
    /// Of this version.
    pub etag: String,
    /// What it says; of a deletion what was deleted.
    pub body: Value,
    /// The version is a deletion.
    pub deleted: bool,
    /// When it was saved.
    pub time: Timestamp,
    /// Who saved it.
    pub author: String,
    /// In which change; empty for none.
    pub change_id: String,
    /// No later version was saved.
    pub current: bool,
}

/// Some versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Newest first.
    pub versions: Vec<Version>,
    /// Empty on the last page.
    pub next_page_token: String,
}

/// Why a page cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Size or token.
    #[error("{0}")]
    Invalid(Violations),
    /// The database.
    #[error(transparent)]
    Store(#[from] Error),
}

const LIST: &str = "select h.kind, h.name, h.version, h.etag, h.body, h.deleted, h.updated_us,
        h.author, h.change_id, h.version = r.version, h.revision
    from resource_history h join resource r using (tenant_id, kind, name)
    where h.tenant_id = $1 and h.revision < $2 and ($3 = '' or h.kind = $3)
        and ($4 = '' or h.name = $4) and ($5 = '' or h.change_id = $5)
    order by h.revision desc limit $6";

type Row = (String, String, i64, String, Value, bool, i64, String, String, bool, i64);

/// A page of versions.
///
/// # Errors
/// A wrong size or token; those of the database.
pub async fn page(
    database: &Database,
    tokens: &TokenSealer,
    tenant: TenantId,
    wanted: &Wanted<'_>,
) -> Result<Page, PageError> {
    let filter = [wanted.kind, wanted.name, wanted.change_id].join("\0");
    let scope = Scope { tenant, method: wanted.method, filter: filter.as_bytes() };
    let size = kernel::page::size(wanted.page_size).map_err(PageError::Invalid)?;
    let position = tokens.page(&scope, wanted.page_token).map_err(PageError::Invalid)?;
    let before = position.and_then(|bytes| Some(i64::from_be_bytes(bytes.try_into().ok()?)));
    let mut rows: Vec<Row> = sqlx::query_as(LIST)
        .bind(tenant.uuid())
        .bind(before.unwrap_or(i64::MAX))
        .bind(wanted.kind)
        .bind(wanted.name)
        .bind(wanted.change_id)
        .bind(i64::try_from(size).unwrap_or(i64::MAX).saturating_add(1))
        .fetch_all(database.pool())
        .await
        .map_err(Error::from)?;
    let is_last = rows.len() <= size;
    rows.truncate(size);
    let next_page_token = match rows.last() {
        Some(row) if !is_last => tokens.seal(&scope, &row.10.to_be_bytes())?,
        _ => String::new(),
    };
    Ok(Page { versions: rows.into_iter().map(version).collect(), next_page_token })
}

fn version(row: Row) -> Version {
    let (kind, name, version, etag, body, deleted, updated_us, author, change_id, current, _) = row;
    let time = time::from_micros(updated_us);
    Version { kind, name, version, etag, body, deleted, time, author, change_id, current }
}
