//! Programs as a user starts and stops them: `rapport`, and what is tried beside it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

/// How much of its log is shown of a program that failed.
const LAST_LINES: usize = 8;

/// A program that was started; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it says goes to `output`, which is the file at `log`.
    pub(crate) fn start(
        name: &str,
        command: &mut Command,
        log: PathBuf,
        output: File,
    ) -> anyhow::Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Its process, until its end was seen.
    pub(crate) fn pid(&self) -> anyhow::Result<Pid> {
        let pid = self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        pid.with_context(|| format!("{} has ended", self.name))
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Fails with its last words if it has ended.
    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        bail!("{} ended by itself ({status}): {}", self.name, self.last_words())
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) -> anyhow::Result<()> {
        Ok(kill_process(self.pid()?, Signal::TERM)?)
    }

    /// kill -9, and waits for the end.
    pub(crate) async fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let waited = tokio::time::timeout(limit, self.child.wait()).await;
        Ok(waited.with_context(|| format!("{} still runs after {limit:?}", self.name))??)
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

/// `rapport up` on a directory, with the ports of RPCs, HTTP and administration.
pub(crate) fn up(program: &Path, data: &Path, ports: [u16; 3]) -> Command {
    let mut command = Command::new(program);
    command.arg("up").arg("--data").arg(data);
    for (flag, port) in ["--rpc-port", "--http-port", "--admin-port"].into_iter().zip(ports) {
        command.arg(flag).arg(port.to_string());
    }
    command
}

/// Ports that are free now; taken by whoever is started with them in a moment.
pub(crate) fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    // All are bound before the first is given back: they differ.
    let bound = [0; N].map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(bound) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

/// The file in which the private Postgres of a suite names its postmaster.
pub(crate) fn postmaster_file(data: &Path) -> PathBuf {
    data.join("postgres/data/postmaster.pid")
}

/// The postmaster of the private Postgres of a suite, as its file says.
pub(crate) fn postmaster(data: &Path) -> anyhow::Result<i32> {
    let path = postmaster_file(data);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(text.lines().next().unwrap_or_default().trim().parse()?)
}

/// Where a private server listens: beside its data, or where the path is short enough.
pub(crate) fn sockets(server: &Path) -> PathBuf {
    let recorded = fs::read_to_string(server.join("socket_directory"));
    recorded.map_or_else(|_| server.join("run"), PathBuf::from)
}
