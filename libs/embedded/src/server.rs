//! The life of one private server, the same for Postgres and Redis: adopt or launch under
//! the directory's lock, watch, relaunch with back-off, stop.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::error::{Error, at};
use crate::layout;
use crate::process::{self, Pid, Process, Signal};

const READY_POLL: Duration = Duration::from_millis(10);
const WATCH_POLL: Duration = Duration::from_millis(200);
const FIRST_BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
const CRASH: &[(Signal, Duration)] = &[(Signal::KILL, Duration::from_secs(10))];
/// A server that lived this long is forgiven its earlier deaths.
const PROBATION: Duration = Duration::from_secs(30);

/// What happens to the server when its handle is dropped without `stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrop {
    /// It is stopped; dropping blocks until it is gone.
    Stop,
    /// It runs on, to be adopted by the next start.
    Leave,
}

/// How a server is looked after.
#[derive(Clone, Debug)]
pub struct Care {
    /// Restart it when it dies; needs a tokio runtime that outlives the handle.
    pub supervise: bool,
    /// What dropping the handle does.
    pub on_drop: OnDrop,
    /// The longest wait for it to accept connections, crash recovery included.
    pub start_limit: Duration,
}

impl Default for Care {
    /// Supervised, stopped on drop, 60 s to start.
    fn default() -> Self {
        Self { supervise: true, on_drop: OnDrop::Stop, start_limit: Duration::from_secs(60) }
    }
}

/// What differs between the servers.
pub(crate) trait Engine: Send + Sync + 'static {
    const NAME: &'static str;
    /// What the system calls its process.
    const PROGRAM: &'static str;
    /// Signals in order, with the wait after each.
    const ENDING: &'static [(Signal, Duration)];

    fn dir(&self) -> &Path;
    /// The user id that the server runs as.
    fn uid(&self) -> u32;
    /// Where the server works, by which its process is told from a stranger's.
    fn working_directory(&self) -> PathBuf;
    fn pid_file(&self) -> PathBuf;
    /// Whether the files on disk already are what `configure` would write.
    fn is_configured(&self) -> bool;
    /// Initialises what is missing and writes the configuration; no server runs.
    fn configure(&self) -> Result<(), Error>;
    fn command(&self) -> Result<Command, Error>;
    /// Whether the server answers; the reason why not otherwise.
    fn probe(&self) -> impl Future<Output = Result<(), String>> + Send;
    /// Whether an early end with this log may be tried again at once.
    fn is_transient(log_tail: &str) -> bool;
}

#[derive(Debug, Default)]
struct Slot {
    closed: bool,
    process: Option<Process>,
}

struct Shared<E> {
    engine: E,
    slot: Mutex<Slot>,
    start_limit: Duration,
}

/// A running server and its watch.
pub(crate) struct Server<E: Engine> {
    shared: Arc<Shared<E>>,
    watch: Option<JoinHandle<()>>,
    on_drop: OnDrop,
    adopted: bool,
}

impl<E: Engine> Server<E> {
    /// Adopts or launches; the caller holds the directory's lock.
    pub(crate) async fn start(engine: E, care: &Care, lock: File) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            engine,
            slot: Mutex::new(Slot::default()),
            start_limit: care.start_limit,
        });
        let mut server = Self {
            shared: Arc::clone(&shared),
            watch: None,
            on_drop: care.on_drop,
            adopted: false,
        };
        server.adopted = shared.bring_up(&lock).await?;
        if care.supervise {
            server.watch = Some(tokio::spawn(watch(shared)));
        }
        Ok(server)
    }

    pub(crate) fn engine(&self) -> &E {
        &self.shared.engine
    }

    pub(crate) fn adopted(&self) -> bool {
        self.adopted
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        let slot = self.shared.slot();
        slot.process.as_ref().map(|process| process.pid().as_raw_nonzero().get().unsigned_abs())
    }

    /// Brings a dead server up again; nothing happens to a live one.
    pub(crate) async fn revive(&self) -> Result<(), Error> {
        let lock = layout::lock(self.shared.engine.dir(), self.shared.start_limit).await?;
        self.shared.bring_up(&lock).await.map(drop)
    }

    /// Kills the process outright, as a crash would.
    pub(crate) async fn kill(&self) -> Result<(), Error> {
        let process = self.shared.slot().process.take();
        end::<E>(process, CRASH).await
    }

    /// Ends the watch, then the server.
    pub(crate) async fn stop(mut self) -> Result<(), Error> {
        if let Some(watch) = self.watch.take() {
            watch.abort();
            // Cancelled is what was asked for; a panic was reported by the runtime.
            let _ended = watch.await;
        }
        let process = self.shared.close();
        end::<E>(process, E::ENDING).await
    }
}

impl<E: Engine> Drop for Server<E> {
    fn drop(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
        let process = self.shared.close();
        if self.on_drop == OnDrop::Stop
            && let Some(mut process) = process
            && !process.end(E::ENDING)
        {
            tracing::error!(server = E::NAME, "server did not stop");
        }
    }
}

async fn end<E: Engine>(
    process: Option<Process>,
    steps: &'static [(Signal, Duration)],
) -> Result<(), Error> {
    let Some(mut process) = process else { return Ok(()) };
    let ended = tokio::task::spawn_blocking(move || process.end(steps)).await;
    if matches!(ended, Ok(true)) { Ok(()) } else { Err(Error::NotStopped(E::NAME)) }
}

impl<E: Engine> Shared<E> {
    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After this nothing is launched any more, also not by a watch that is still ending.
    fn close(&self) -> Option<Process> {
        let mut slot = self.slot();
        slot.closed = true;
        slot.process.take()
    }

    fn is_alive(&self) -> bool {
        self.slot().process.as_mut().is_some_and(Process::alive)
    }

    /// Adopts the directory's server or launches one; true if adopted. The lock says that
    /// no other process does the same.
    async fn bring_up(&self, _lock: &File) -> Result<bool, Error> {
        if self.is_alive() && self.engine.probe().await.is_ok() {
            return Ok(true);
        }
        if let Some(pid) = self.running_pid() {
            if self.engine.is_configured() && self.await_ready(Some(pid)).await.is_ok() {
                self.hold(Process::adopt(pid))?;
                tracing::info!(server = E::NAME, pid = %pid.as_raw_nonzero(), "adopted");
                return Ok(true);
            }
            tracing::info!(server = E::NAME, pid = %pid.as_raw_nonzero(), "replacing");
            let own = self.slot().process.take().filter(|process| process.pid() == pid);
            end::<E>(Some(own.unwrap_or_else(|| Process::adopt(pid))), E::ENDING).await?;
        }
        self.engine.configure()?;
        let deadline = Instant::now() + self.start_limit;
        loop {
            self.launch()?;
            match self.await_ready(None).await {
                Ok(()) => break,
                Err(error) if Instant::now() < deadline && self.may_retry() => {
                    tracing::debug!(server = E::NAME, %error, "starting again");
                    tokio::time::sleep(FIRST_BACK_OFF).await;
                }
                Err(error) => {
                    let process = self.slot().process.take();
                    end::<E>(process, E::ENDING).await?;
                    return Err(error);
                }
            }
        }
        tracing::info!(server = E::NAME, dir = %self.engine.dir().display(), "started");
        Ok(false)
    }

    /// The recorded process if it lives and is this directory's server. A pid file that
    /// names a stranger (the number was given out again) is removed, since the server
    /// itself would refuse to start; any other stale file the server replaces itself.
    fn running_pid(&self) -> Option<Pid> {
        let file = self.engine.pid_file();
        let pid = process::recorded_pid(&file)?;
        if self.slot().process.as_ref().is_some_and(|own| own.pid() == pid) && !self.is_alive() {
            return None;
        }
        if !process::is_running(pid) {
            return None;
        }
        let directory = self.engine.working_directory();
        if !process::is_server(pid, self.engine.uid(), E::PROGRAM, &directory) {
            tracing::info!(server = E::NAME, file = %file.display(), "removing stale pid file");
            let _absent_is_fine = layout::remove_if_present(&file);
            return None;
        }
        Some(pid)
    }

    fn hold(&self, process: Process) -> Result<(), Error> {
        let mut slot = self.slot();
        if slot.closed {
            return Err(Error::Closed);
        }
        // A child of ours that is adopted again must keep its `Child`, or nobody reaps it.
        let same = slot.process.as_ref().is_some_and(|held| held.pid() == process.pid());
        if !same {
            slot.process = Some(process);
        }
        Ok(())
    }

    /// Spawning and recording are one step under the slot's mutex: no cancellation and no
    /// concurrent drop can leave a server that nobody knows.
    fn launch(&self) -> Result<(), Error> {
        let log = layout::open_log(&self.log_path())?;
        let errors = log.try_clone().map_err(at(&self.log_path()))?;
        let mut command = self.engine.command()?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0);
        let mut slot = self.slot();
        if slot.closed {
            return Err(Error::Closed);
        }
        let program = PathBuf::from(command.get_program());
        slot.process = Some(Process::spawn(&mut command).map_err(at(&program))?);
        Ok(())
    }

    /// Polls until the server answers, its process ends, or the limit is reached.
    async fn await_ready(&self, adopting: Option<Pid>) -> Result<(), Error> {
        let deadline = Instant::now() + self.start_limit;
        loop {
            let refusal = match self.engine.probe().await {
                Ok(()) => return Ok(()),
                Err(refusal) => refusal,
            };
            let alive = adopting.map_or_else(|| self.is_alive(), process::is_running);
            if !alive || Instant::now() >= deadline {
                let tail = layout::log_tail(&self.log_path());
                return Err(Error::NotReady {
                    server: E::NAME,
                    waited: self.start_limit,
                    reason: format!("{refusal}; end of the log: {tail}"),
                });
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn may_retry(&self) -> bool {
        !self.is_alive() && E::is_transient(&layout::log_tail(&self.log_path()))
    }

    fn log_path(&self) -> PathBuf {
        self.engine.dir().join("log")
    }
}

/// Relaunches the server whenever it is found dead; ends by being aborted.
async fn watch<E: Engine>(shared: Arc<Shared<E>>) {
    let mut back_off = FIRST_BACK_OFF;
    let mut up_since = Instant::now();
    loop {
        tokio::time::sleep(WATCH_POLL).await;
        if shared.is_alive() {
            if up_since.elapsed() > PROBATION {
                back_off = FIRST_BACK_OFF;
            }
            continue;
        }
        tracing::warn!(server = E::NAME, ?back_off, "server died, restarting");
        tokio::time::sleep(back_off).await;
        back_off = (back_off * 2).min(LONGEST_BACK_OFF);
        let outcome = match layout::lock(shared.engine.dir(), shared.start_limit).await {
            Ok(lock) => shared.bring_up(&lock).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(_adopted) => up_since = Instant::now(),
            Err(Error::Closed) => return,
            Err(error) => tracing::error!(server = E::NAME, %error, "restart failed"),
        }
    }
}
