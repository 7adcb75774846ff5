//! The suite as a process, and its servers as `/proc` shows them.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use contracts::profile::v1::ListTraitsRequest;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use rapport::client::Client;
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Program, free_ports, postmaster, postmaster_file, sockets, up};

/// Postgres repeats its log after a crash, and the machine may be busy.
const START_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// A running suite that can be killed and started again at the same addresses.
#[derive(Debug)]
pub struct Process {
    program: PathBuf,
    directory: PathBuf,
    ports: [u16; 3],
    running: Program,
}

/// The processes of the private servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Servers {
    /// The postmaster.
    pub postgres: i32,
    /// The Redis server.
    pub redis: i32,
}

impl Process {
    /// Starts the program on a fresh directory and free ports, and waits for its keys.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        ensure!(program.is_file(), "{} is not there: build it first", program.display());
        fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let ports = free_ports()?;
        let running = start(program, &directory, ports)?;
        let process = Self { program: program.to_owned(), directory, ports, running };
        let last_key = process.directory.join("keys/internal-signing.pem");
        process.wait_until("the keys", || last_key.is_file()).await?;
        Ok(process)
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `http://…` of the RPCs.
    #[must_use]
    pub fn rpc_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[0])
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn gateway(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[1]).into()
    }

    /// Waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub async fn ready(&mut self, client: &Client) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        let mut profile = ProfileServiceClient::new(client.service());
        loop {
            let answer = profile.list_traits(ListTraitsRequest::default()).await;
            let Err(status) = answer else { return Ok(()) };
            self.running.ensure_running()?;
            let in_time = Instant::now() < deadline;
            ensure!(in_time, "no answer: {status}; {}", self.running.last_words());
            tokio::time::sleep(POLL).await;
        }
    }

    /// kill -9, and waits for the end; its servers live on.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(&mut self) -> anyhow::Result<()> {
        self.running.kill().await
    }

    /// Starts it again on the same data and addresses.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        self.running = start(&self.program, &self.directory, self.ports)?;
        Ok(())
    }

    /// SIGTERM.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.running.terminate()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not come within the limit.
    pub async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.running.ended(limit).await
    }

    /// Its servers now.
    ///
    /// # Errors
    /// When there is not exactly one of each.
    pub fn servers(&self) -> anyhow::Result<Servers> {
        let postgres = postmaster(&self.directory)?;
        let file = postmaster_file(&self.directory);
        ensure!(is_running(postgres), "{} names a dead process", file.display());
        let [redis] = working_in(&self.directory.join("redis"))[..] else {
            bail!("not exactly one Redis: {:?}", working_in(&self.directory.join("redis")));
        };
        Ok(Servers { postgres, redis })
    }

    /// Kills the postmaster outright; its sessions die with it.
    ///
    /// # Errors
    /// When there is none.
    pub fn kill_postgres(&self) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.servers()?.postgres).context("a pid")?;
        Ok(kill_process(pid, Signal::KILL)?)
    }

    /// Empties Redis.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn flush_redis(&self) -> anyhow::Result<()> {
        let sockets = sockets(&self.directory.join("redis"));
        let url = format!("redis+unix://{}", sockets.join("redis.sock").display());
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        redis::cmd("FLUSHALL").exec_async(&mut connection).await?;
        Ok(())
    }

    /// Ends whatever is left of the suite and its servers, and names the servers that were.
    ///
    /// # Errors
    /// When something cannot be ended.
    pub async fn clean_up(mut self) -> anyhow::Result<Vec<String>> {
        let was_running = self.running.is_running()?;
        if was_running {
            self.running.kill().await?;
        }
        let left = working_in(&self.directory);
        for pid in left.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            // It may end by itself just now.
            let _gone = kill_process(pid, Signal::KILL);
        }
        let directory = self.directory.clone();
        self.wait_until("the end of all servers", || working_in(&directory).is_empty()).await?;
        // Servers of a suite that had to be killed were not left by it.
        let named = |pid: i32| format!("process {pid}");
        Ok(if was_running { Vec::new() } else { left.into_iter().map(named).collect() })
    }

    async fn wait_until(&self, what: &str, is: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        while !is() {
            let in_time = Instant::now() < deadline;
            ensure!(in_time, "waited in vain for {what}: {}", self.running.last_words());
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }
}

fn start(program: &Path, directory: &Path, ports: [u16; 3]) -> anyhow::Result<Program> {
    let path = directory.join("suite.log");
    let mut log = File::options().create(true).append(true).open(&path)?;
    writeln!(log, "-- start --")?;
    let mut command = up(program, directory, ports);
    command
        .env("RAPPORT__TELEMETRY__LOG", "warn")
        .env("RAPPORT__SERVER__RATE_PER_SECOND", "1000000")
        .env("RAPPORT__SERVER__RATE_BURST", "1000000");
    Program::start("the suite", &mut command, path, log)
}

/// The processes whose working directory is `directory` or below it: both servers work in
/// their own.
#[must_use]
pub fn working_in(directory: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut found: Vec<i32> = pids
        .filter(|pid| {
            let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
            cwd.is_ok_and(|cwd| cwd.starts_with(directory)) && is_running(*pid)
        })
        .collect();
    found.sort_unstable();
    found
}

/// Neither gone nor a zombie that nobody reaps.
fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
