//! A private Redis: a bounded cache without persistence, on a unix socket.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::account::Account;
use crate::binaries;
use crate::error::Error;
use crate::layout;
use crate::postgres::bare_command;
use crate::process::Signal;
use crate::server::{Care, Engine, Server};

const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// How a private Redis is run.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    /// Its directory, for itself alone.
    pub dir: PathBuf,
    /// The directory of `redis-server`; sought in `PATH` if absent.
    pub bin: Option<PathBuf>,
    /// Memory for keys in MiB; beyond it the least recently used keys go.
    pub max_memory_mib: u32,
    /// Supervision and cleaning up.
    pub care: Care,
}

impl RedisOptions {
    /// 64 MiB, supervised, stopped on drop.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), bin: None, max_memory_mib: 64, care: Care::default() }
    }
}

/// A private Redis server.
pub struct Redis {
    server: Server<RedisEngine>,
}

impl Redis {
    /// Adopts the directory's server or starts one.
    ///
    /// # Errors
    /// Redis is not installed, the directory is not usable, or the server does not start.
    pub async fn start(options: &RedisOptions) -> Result<Self, Error> {
        let account = Account::choose(&options.dir)?;
        let dir = layout::prepare(&options.dir, &account)?;
        let lock = layout::lock(&dir, options.care.start_limit).await?;
        let socket = layout::socket_directory(&dir, &account)?.join("redis.sock");
        let engine = RedisEngine { options: options.clone(), account, socket, dir };
        Ok(Self { server: Server::start(engine, &options.care, lock).await? })
    }

    /// The address of logical database 0, as the `redis` crate reads it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.server.engine().socket.display())
    }

    /// Whether the server was already running.
    #[must_use]
    pub fn adopted(&self) -> bool {
        self.server.adopted()
    }

    /// The process id, unless it was killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Brings the server up again after its death; nothing happens to a live one.
    ///
    /// # Errors
    /// As [`Redis::start`].
    pub async fn revive(&self) -> Result<(), Error> {
        self.server.revive().await
    }

    /// Kills the server as a crash would; all keys are lost.
    ///
    /// # Errors
    /// The process does not end.
    pub async fn kill(&self) -> Result<(), Error> {
        self.server.kill().await
    }

    /// Stops the server and waits for its end.
    ///
    /// # Errors
    /// The process does not end.
    pub async fn stop(self) -> Result<(), Error> {
        self.server.stop().await
    }
}

struct RedisEngine {
    options: RedisOptions,
    account: Account,
    dir: PathBuf,
    socket: PathBuf,
}

impl RedisEngine {
    fn configuration_file(&self) -> PathBuf {
        self.dir.join("redis.conf")
    }

    fn configuration(&self) -> String {
        format!(
            "# Written at each start.\n\
             port 0\nunixsocket \"{socket}\"\nunixsocketperm 700\n\
             dir \"{dir}\"\npidfile \"{pid}\"\ndaemonize no\n\
             save \"\"\nappendonly no\n\
             maxmemory {memory}mb\nmaxmemory-policy allkeys-lru\n\
             loglevel notice\ndatabases 16\n",
            socket = self.socket.display(),
            dir = self.dir.display(),
            pid = self.pid_file().display(),
            memory = self.options.max_memory_mib,
        )
    }
}

impl Engine for RedisEngine {
    const NAME: &'static str = "redis";
    const PROGRAM: &'static str = "redis-server";
    const ENDING: &'static [(Signal, Duration)] =
        &[(Signal::TERM, Duration::from_secs(5)), (Signal::KILL, Duration::from_secs(5))];

    fn dir(&self) -> &Path {
        &self.dir
    }

    fn uid(&self) -> u32 {
        self.account.uid()
    }

    fn working_directory(&self) -> PathBuf {
        self.dir.clone()
    }

    fn pid_file(&self) -> PathBuf {
        self.dir.join("redis.pid")
    }

    fn is_configured(&self) -> bool {
        fs::read_to_string(self.configuration_file()).is_ok_and(|text| text == self.configuration())
    }

    fn configure(&self) -> Result<(), Error> {
        layout::remove_if_present(&self.pid_file())?;
        layout::write_private(&self.configuration_file(), &self.configuration(), &self.account)
    }

    fn command(&self) -> Result<Command, Error> {
        let program = binaries::redis(self.options.bin.as_deref())?;
        let mut command = bare_command(&program, &self.dir, &self.account);
        command.arg(self.configuration_file());
        Ok(command)
    }

    async fn probe(&self) -> Result<(), String> {
        let ping = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            stream.write_all(b"PING\r\n").await?;
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        match tokio::time::timeout(PROBE_LIMIT, ping).await {
            Ok(Ok(answer)) if &answer == b"+PONG\r\n" => Ok(()),
            Ok(Ok(answer)) => Err(format!("answered {}", String::from_utf8_lossy(&answer))),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => Err("no answer to PING".to_owned()),
        }
    }

    fn is_transient(_log_tail: &str) -> bool {
        false
    }
}
