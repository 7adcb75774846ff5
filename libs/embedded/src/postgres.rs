//! A private Postgres: options, addresses, and the engine behind the handle.

mod cluster;
mod incoming;
mod probe;
mod settings;

pub use incoming::{Incoming, Unpacking};

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::account::Account;
use crate::error::{Error, at};
use crate::layout;
use crate::process::Signal;
use crate::server::{Care, Engine, Server};

/// The superuser of the private server.
const SUPERUSER: &str = "postgres";
/// Names the socket file; nothing listens on it unless asked for.
const NOMINAL_PORT: u16 = 5432;

/// Where the server listens besides its unix socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    #[default]
    SocketOnly,
    /// On 127.0.0.1, with a password. Port 0 takes a free one and keeps it over restarts.
    Loopback {
        /// The port, or 0.
        port: u16,
    },
}

/// How a private Postgres is run.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Its directory, for itself alone.
    pub dir: PathBuf,
    /// The directory of `postgres` and `initdb` (the value of `PG_BIN`); sought in the
    /// Debian places, newest version first, then in `PATH` if absent.
    pub bin: Option<PathBuf>,
    /// `fsync`, `synchronous_commit`, `full_page_writes`: on if true. Only plain tests relax it.
    pub durable: bool,
    /// Where it listens.
    pub listen: Listen,
    /// `max_connections`.
    pub max_connections: u32,
    /// `shared_buffers` in MiB.
    pub shared_buffers_mib: u32,
    /// `max_wal_size` in MiB.
    pub max_wal_size_mib: u32,
    /// Finished segments of the write-ahead log are put into [`PostgresOptions::spool`], at the latest
    /// after this time. Whoever asks for it must take them away from there.
    pub archive: Option<Duration>,
    /// Further settings as (name, value), after and above all others.
    pub settings: Vec<(String, String)>,
    /// Supervision and cleaning up.
    pub care: Care,
}

impl PostgresOptions {
    /// Durable, socket only, sized for two cores and little memory, supervised, stopped on drop.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            bin: None,
            durable: true,
            listen: Listen::SocketOnly,
            max_connections: 100,
            shared_buffers_mib: 64,
            max_wal_size_mib: 1024,
            archive: None,
            settings: Vec::new(),
            care: Care::default(),
        }
    }
}

/// A private Postgres server.
pub struct Postgres {
    server: Server<PostgresEngine>,
}

impl Postgres {
    /// Adopts the directory's server, or initialises the directory and starts one.
    ///
    /// # Errors
    /// Postgres is not installed (or not in the version of the data), the directory is not
    /// usable, or the server does not become ready.
    pub async fn start(options: &PostgresOptions) -> Result<Self, Error> {
        let account = Account::choose(&options.dir.join("data"))?;
        let dir = layout::prepare(&options.dir, &account)?;
        let lock = layout::lock(&dir, options.care.start_limit).await?;
        let socket_directory = layout::socket_directory(&dir, &account)?;
        if options.archive.is_some() {
            layout::private_directory(&options.spool(), &account)?;
        }
        let data = dir.join("data");
        let port = choose_port(&dir, &data, options.listen)?;
        let password = cluster::password(&dir, &account)?;
        let options = options.clone();
        let care = options.care.clone();
        let engine =
            PostgresEngine { options, account, dir, data, socket_directory, port, password };
        Ok(Self { server: Server::start(engine, &care, lock).await? })
    }

    /// The address of a database through the unix socket.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let engine = self.server.engine();
        socket_url(&engine.socket_directory, engine.port, database)
    }

    /// The address of a database through 127.0.0.1, password included: a secret.
    #[must_use]
    pub fn tcp_url(&self, database: &str) -> Option<String> {
        let engine = self.server.engine();
        match engine.options.listen {
            Listen::SocketOnly => None,
            Listen::Loopback { .. } => Some(format!(
                "postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}",
                password = engine.password,
                port = engine.port,
            )),
        }
    }

    /// Whether the server was already running.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.server.adopted()
    }

    /// The process id of the postmaster, unless it was killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Brings the server up again after its death; nothing happens to a live one.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn revive(&self) -> Result<(), Error> {
        self.server.revive().await
    }

    /// Kills the server as a crash would; the next start recovers from the log.
    ///
    /// # Errors
    /// The process does not end.
    pub async fn kill(&self) -> Result<(), Error> {
        self.server.kill().await
    }

    /// Stops the server: sessions are ended, a checkpoint is written.
    ///
    /// # Errors
    /// The process does not end.
    pub async fn stop(self) -> Result<(), Error> {
        self.server.stop().await
    }
}

pub(crate) fn socket_url(directory: &Path, port: u16, database: &str) -> String {
    let host = encode(&directory.to_string_lossy());
    format!("postgres://{SUPERUSER}@{host}:{port}/{database}")
}

/// Percent-encodes what may not stand in the host part of an address.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The wanted port; with 0 the recorded one, unless somebody else has taken it meanwhile.
fn choose_port(dir: &Path, data: &Path, listen: Listen) -> Result<u16, Error> {
    let wanted = match listen {
        Listen::SocketOnly => return Ok(NOMINAL_PORT),
        Listen::Loopback { port } => port,
    };
    if wanted != 0 {
        return Ok(wanted);
    }
    let record = dir.join("port");
    let recorded: Option<u16> =
        fs::read_to_string(&record).ok().and_then(|text| text.trim().parse().ok());
    if let Some(port) = recorded {
        let server_may_run = data.join("postmaster.pid").exists();
        if server_may_run || TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(at(&record))?;
    let port = free.local_addr().map_err(at(&record))?.port();
    fs::write(&record, port.to_string()).map_err(at(&record))?;
    Ok(port)
}

/// A command of the servers' account in `dir` that inherits next to nothing: neither
/// `PG…` variables nor secrets in the owner's environment.
pub(crate) fn bare_command(program: &Path, dir: &Path, account: &Account) -> Command {
    let mut command = Command::new(program);
    command.current_dir(dir).env_clear().env("LC_ALL", "C");
    for kept in ["PATH", "LD_LIBRARY_PATH"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    account.apply(&mut command);
    command
}

pub(crate) struct PostgresEngine {
    options: PostgresOptions,
    account: Account,
    dir: PathBuf,
    data: PathBuf,
    socket_directory: PathBuf,
    port: u16,
    password: String,
}

impl Engine for PostgresEngine {
    const NAME: &'static str = "postgres";
    const PROGRAM: &'static str = "postgres";
    /// Fast shutdown, immediate shutdown, and what nothing survives.
    const ENDING: &'static [(Signal, Duration)] = &[
        (Signal::INT, Duration::from_secs(20)),
        (Signal::QUIT, Duration::from_secs(5)),
        (Signal::KILL, Duration::from_secs(5)),
    ];

    fn dir(&self) -> &Path {
        &self.dir
    }

    fn uid(&self) -> u32 {
        self.account.uid()
    }

    fn working_directory(&self) -> PathBuf {
        self.data.clone()
    }

    fn pid_file(&self) -> PathBuf {
        self.data.join("postmaster.pid")
    }

    fn is_configured(&self) -> bool {
        fs::read_to_string(self.data.join("postgresql.conf"))
            .is_ok_and(|text| text == self.configuration())
    }

    fn configure(&self) -> Result<(), Error> {
        self.initialise()?;
        let access = self.data.join("pg_hba.conf");
        layout::write_private(&access, settings::ACCESS, &self.account)?;
        let main = self.data.join("postgresql.conf");
        layout::write_private(&main, &self.configuration(), &self.account)
    }

    fn command(&self) -> Result<Command, Error> {
        let program = self.binaries()?.join("postgres");
        let mut command = bare_command(&program, &self.dir, &self.account);
        command.arg("-D").arg(&self.data);
        Ok(command)
    }

    async fn probe(&self) -> Result<(), String> {
        let socket = self.socket_directory.join(format!(".s.PGSQL.{}", self.port));
        probe::session(&socket, SUPERUSER).await
    }

    /// The sessions of a killed postmaster need a moment to notice its death; until then
    /// Postgres rightly refuses to start on the same memory.
    fn is_transient(log_tail: &str) -> bool {
        let last = log_tail.lines().rev().take(4).collect::<Vec<_>>().join("\n");
        last.contains("shared memory block") || last.contains("already exists")
    }
}
