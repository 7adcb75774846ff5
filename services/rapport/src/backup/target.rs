//! The Postgres that is backed up: how its programs and our sessions reach it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::str::FromStr as _;

use anyhow::{Context as _, bail};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use url::Url;
use uuid::Uuid;

/// A Postgres server. Never printed: its address may hold a password.
#[derive(Clone)]
pub struct Target {
    url: Url,
    /// The directory of `pg_basebackup`.
    programs: PathBuf,
    /// Which life of which data directory, if its log is archived.
    pub(super) incarnation: Option<Uuid>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

/// What a url may say besides, and the variable that says it to Postgres' programs.
const PARAMETERS: [(&str, &str); 6] = [
    ("host", "PGHOST"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("application_name", "PGAPPNAME"),
];

impl Target {
    /// A server by the address of any of its databases.
    ///
    /// # Errors
    /// When the address is none; it is not repeated.
    pub fn new(url: &str, programs: PathBuf, incarnation: Option<Uuid>) -> anyhow::Result<Self> {
        let malformed = "the url must be postgres://user:password@host:port/database";
        let url = Url::parse(url).ok().context(malformed)?;
        if !["postgres", "postgresql"].contains(&url.scheme()) {
            bail!("{malformed}");
        }
        Ok(Self { url, programs, incarnation })
    }

    /// A session on one of its databases, without a cap on statements.
    pub(super) async fn connect(&self, database: &str) -> anyhow::Result<PgConnection> {
        let mut url = self.url.clone();
        url.set_path(database);
        let options = PgConnectOptions::from_str(url.as_str())
            .ok()
            .context("the url of the server is malformed")?
            .application_name("rapport-backup")
            .options([("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")])
            .disable_statement_logging();
        PgConnection::connect_with(&options)
            .await
            .with_context(|| format!("connecting to the database {database}"))
    }

    /// The address of one of its databases, for a pool.
    pub(super) fn url(&self, database: &str) -> String {
        let mut url = self.url.clone();
        url.set_path(database);
        url.to_string()
    }

    /// A program of Postgres that connects by its environment: an argument list is everybody's to
    /// read.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        for kept in ["PATH", "LD_LIBRARY_PATH", "HOME"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        let decoded = |text: &str| {
            let pair = format!("x={}", text.replace('+', "%2B"));
            url::form_urlencoded::parse(pair.as_bytes())
                .next()
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        if let Some(host) = self.url.host_str() {
            command.env("PGHOST", decoded(host));
        }
        if let Some(port) = self.url.port() {
            command.env("PGPORT", port.to_string());
        }
        if !self.url.username().is_empty() {
            command.env("PGUSER", decoded(self.url.username()));
        }
        if let Some(password) = self.url.password() {
            command.env("PGPASSWORD", decoded(password));
        }
        for (name, value) in self.url.query_pairs() {
            if let Some((_, variable)) = PARAMETERS.iter().find(|(known, _)| *known == name) {
                command.env(variable, value.as_ref());
            }
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_the_environment_of_a_program() {
        let url = "postgres://us%40er:p%2Fw+1@%2Ftmp%2Frun:5433/identity?sslmode=require";
        let target = Target::new(url, PathBuf::from("/bin"), None).expect("a url");
        let command = target.program("pg_basebackup");
        let said = |name: &str| {
            let found = command.get_envs().find(|(known, _)| *known == name);
            found.and_then(|(_, value)| value).map(|value| value.to_string_lossy().into_owned())
        };
        for (name, value) in [
            ("PGHOST", "/tmp/run"),
            ("PGPORT", "5433"),
            ("PGUSER", "us@er"),
            ("PGPASSWORD", "p/w+1"),
            ("PGSSLMODE", "require"),
        ] {
            assert_eq!(said(name).as_deref(), Some(value));
        }
        let error =
            Target::new("host=x password=secret", PathBuf::new(), None).expect_err("no url");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
