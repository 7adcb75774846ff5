//! One server process, a child of ours or adopted, and how it is signalled and awaited.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
pub(crate) use rustix::process::{Pid, Signal};

const POLL: Duration = Duration::from_millis(5);

/// A server process.
#[derive(Debug)]
pub(crate) struct Process {
    pid: Pid,
    /// Ours to reap; an adopted process is somebody else's child.
    child: Option<Child>,
}

impl Process {
    /// Starts the command as a child.
    pub(crate) fn spawn(command: &mut Command) -> io::Result<Self> {
        let child = command.spawn()?;
        Ok(Self { pid: Pid::from_child(&child), child: Some(child) })
    }

    /// Takes over a running process.
    pub(crate) fn adopt(pid: Pid) -> Self {
        Self { pid, child: None }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it still runs; reaps a dead child.
    pub(crate) fn alive(&mut self) -> bool {
        match &mut self.child {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => is_running(self.pid),
        }
    }

    /// Sends each signal in turn and waits its time for the end; blocks. True if it ended.
    pub(crate) fn end(&mut self, steps: &[(Signal, Duration)]) -> bool {
        for (signal, patience) in steps {
            // `alive` first: the number of a reaped child may already be another's.
            if !self.alive() {
                return true;
            }
            if let Err(error) = rustix::process::kill_process(self.pid, *signal) {
                tracing::debug!(pid = self.pid.as_raw_nonzero().get(), %error, "signal not sent");
            }
            let deadline = Instant::now() + *patience;
            while self.alive() && Instant::now() < deadline {
                thread::sleep(POLL);
            }
        }
        !self.alive()
    }
}

/// Whether the process exists and is not a zombie (a pid 1 that does not reap leaves those).
pub(crate) fn is_running(pid: Pid) -> bool {
    if rustix::process::test_kill_process(pid) == Err(Errno::SRCH) {
        return false;
    }
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat.ok().and_then(|stat| {
        let (_, after_name) = stat.rsplit_once(") ")?;
        after_name.chars().next()
    });
    !matches!(state, Some('Z' | 'X'))
}

/// Whether the process is the server `program` that the account `uid` runs in `dir`. Owner and
/// name are everybody's to read; the working directory is not always (root in a container
/// often may not), and then those two must do. What cannot be seen at all is a stranger.
pub(crate) fn is_server(pid: Pid, uid: u32, program: &str, dir: &Path) -> bool {
    let about = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let is_owned = fs::metadata(&about).is_ok_and(|facts| facts.uid() == uid);
    let name = fs::read_to_string(about.join("comm")).unwrap_or_default();
    let works_elsewhere = fs::read_link(about.join("cwd")).is_ok_and(|working| working != dir);
    is_owned && name.trim_end() == program && !works_elsewhere
}

/// The number on the first line of a pid file.
pub(crate) fn recorded_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    let number = text.lines().next()?.trim().parse().ok()?;
    Pid::from_raw(number)
}
