//! The tables that belong to this crate, as migrations a service puts first in its list.

use crate::migrate::Migration;

/// SQL of table `tenant_key`.
pub const TENANT_KEY: &str = include_str!("../sql/tenant_key.sql");
/// SQL of table `request_log`.
pub const REQUEST_LOG: &str = include_str!("../sql/request_log.sql");
/// SQL of tables `resource`, `resource_history`, `resource_revision`.
pub const RESOURCE: &str = include_str!("../sql/resource.sql");

/// SQL of table `bi_reader` and schema `bi`, for the views that a service shows to tools.
pub const BI: &str = include_str!("../sql/bi.sql");

/// [`TENANT_KEY`] as the service's migration `version`.
#[must_use]
pub const fn tenant_key(version: i64) -> Migration {
    Migration { version, name: "tenant_key", sql: TENANT_KEY }
}

/// [`REQUEST_LOG`] as the service's migration `version`.
#[must_use]
pub const fn request_log(version: i64) -> Migration {
    Migration { version, name: "request_log", sql: REQUEST_LOG }
}

/// [`RESOURCE`] as the service's migration `version`.
#[must_use]
pub const fn resource(version: i64) -> Migration {
    Migration { version, name: "resource", sql: RESOURCE }
}

/// [`BI`] as the service's migration `version`.
#[must_use]
pub const fn bi(version: i64) -> Migration {
    Migration { version, name: "bi", sql: BI }
}
