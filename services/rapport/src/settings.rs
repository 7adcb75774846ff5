//! The settings of the process, and the layers that all settings come from.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::bail;
use serde::Deserialize;
use server::settings::{self, Layer};

use crate::suite::SERVICES;

/// The documented defaults.
pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// The tables of the process itself.
const OWN: [&str; 7] = ["telemetry", "listen", "database", "redis", "keys", "backup", "peers"];

/// See `config.default.toml`, which is the reference.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "documented in config.default.toml")]
pub struct Settings {
    pub telemetry: server::telemetry::Settings,
    pub listen: Listen,
    pub database: DatabaseSettings,
    pub redis: RedisSettings,
    pub keys: KeySettings,
    pub backup: BackupSettings,
    pub peers: BTreeMap<String, String>,
}

/// Where `rapport serve` listens.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "documented in config.default.toml")]
pub struct Listen {
    pub rpc: String,
    pub http: String,
    pub admin: String,
    pub postgres_port: u16,
}

/// The database of the service that is served or migrated.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "documented in config.default.toml")]
pub struct DatabaseSettings {
    pub url: String,
    pub max_connections: u32,
}

impl std::fmt::Debug for DatabaseSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The url holds a password.
        f.debug_struct("DatabaseSettings").field("max_connections", &self.max_connections).finish()
    }
}

/// The cache.
#[derive(Deserialize)]
#[expect(missing_docs, reason = "documented in config.default.toml")]
pub struct RedisSettings {
    pub url: String,
}

impl std::fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisSettings").finish_non_exhaustive()
    }
}

/// Where the keys are.
#[derive(Debug, Deserialize)]
#[expect(missing_docs, reason = "documented in config.default.toml")]
pub struct KeySettings {
    pub directory: String,
}

/// How backups are made and kept.
#[derive(Clone, Deserialize)]
#[expect(missing_docs, reason = "documented in config.default.toml")]
pub struct BackupSettings {
    pub enabled: bool,
    pub directory: String,
    pub every_minutes: u64,
    pub first_minutes: u64,
    pub keep: usize,
    pub keep_days: u64,
    pub archive_seconds: u64,
    pub archive_backlog_mib: u64,
    pub scratch: String,
    pub url: String,
}

impl std::fmt::Debug for BackupSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The url holds a password.
        f.debug_struct("BackupSettings").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl BackupSettings {
    fn validate(&self) -> Result<(), settings::Error> {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            let text = format!("backup.{name} must be {least} to {most}");
            let fits = (least..=most).contains(&value);
            if fits { Ok(()) } else { Err(settings::Error::Invalid(text)) }
        };
        within("every_minutes", self.every_minutes, 1, 527_040)?;
        within("first_minutes", self.first_minutes, 0, 1_440)?;
        within("keep", self.keep as u64, 1, 1_000)?;
        within("keep_days", self.keep_days, 1, 3_660)?;
        within("archive_seconds", self.archive_seconds, 1, 3_600)?;
        within("archive_backlog_mib", self.archive_backlog_mib, 64, 1 << 20)
    }
}

/// Files, environment, secrets: in this order.
///
/// # Errors
/// When one cannot be read, or speaks of a table that nobody has.
pub fn layers(
    file: Option<&Path>,
    environment: &BTreeMap<String, String>,
    secrets: Option<&Path>,
) -> anyhow::Result<Vec<Layer>> {
    let mut layers = Vec::new();
    if let Some(file) = file {
        layers.push(Layer::file(file)?);
    }
    layers.push(Layer::env("RAPPORT__", environment));
    if let Some(secrets) = secrets {
        layers.push(Layer::secrets(secrets)?);
    }
    let known = [&OWN[..], &["server", gateway::NAME], &SERVICES].concat();
    for layer in &layers {
        for table in layer.tables() {
            if !known.contains(&table.as_str()) {
                let origin = layer.origin();
                bail!("unknown settings table [{table}] in {origin}: one of {}", known.join(", "));
            }
        }
    }
    Ok(layers)
}

/// The settings of the process.
///
/// # Errors
/// The first thing that is wrong, with key and source.
pub fn load(layers: &[Layer]) -> Result<Settings, settings::Error> {
    let own: Vec<Layer> =
        layers.iter().flat_map(|layer| OWN.map(|table| layer.only(table))).collect();
    let settings: Settings = settings::load(DEFAULTS, &own)?;
    settings.backup.validate()?;
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_load_and_a_misspelt_table_is_refused() {
        let settings = load(&[]).expect("defaults");
        assert_eq!(settings.peers.len(), SERVICES.len());
        let misspelt = BTreeMap::from([("RAPPORT__DATABSE__URL".to_owned(), "x".to_owned())]);
        let error = layers(None, &misspelt, None).expect_err("misspelt");
        for said in ["[databse]", "the environment (RAPPORT__*)", "database"] {
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
