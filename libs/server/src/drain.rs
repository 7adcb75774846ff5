//! The end of a process, or of one server in it.
//!
//! NOT_SERVING → a lag, for load balancers to notice → stop accepting, GOAWAY, streams end
//! with UNAVAILABLE → calls at work until the grace ends → what is left is cut off. hyper's
//! own graceful shutdown waits for ever for an open stream, so the grace is a hard limit, and
//! whoever serves a stream selects on [`Drain::token`].

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::health::Health;
use crate::settings::{self, millis};

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything finished within the grace.
    Clean,
    /// Something was cut off.
    Forced,
}

/// Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Drain {
    stop: CancellationToken,
    /// Calls are done: connections inside the process may end.
    idle: CancellationToken,
    abort: CancellationToken,
    tracker: TaskTracker,
    /// Connections inside the process: calls at work need them, so they end after the calls.
    inner: TaskTracker,
    lag: Duration,
    grace: Duration,
}

impl Drain {
    /// `stop` is cancelled when streams and background work shall end; `tracker` owns every
    /// task that the drain waits for.
    #[must_use]
    pub fn new(stop: CancellationToken, tracker: TaskTracker, settings: &settings::Server) -> Self {
        Self {
            stop,
            idle: CancellationToken::new(),
            abort: CancellationToken::new(),
            tracker,
            inner: TaskTracker::new(),
            lag: millis(settings.drain_lag_ms),
            grace: millis(settings.drain_grace_ms),
        }
    }

    /// Cancelled when streams and background tasks shall end by themselves.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Spawn on this what must be finished before the process ends.
    #[must_use]
    pub fn tracker(&self) -> TaskTracker {
        self.tracker.clone()
    }

    /// Cancelled at the end of the drain: whatever still runs is cut off.
    pub(crate) fn abort(&self) -> CancellationToken {
        self.abort.clone()
    }

    /// Cancelled when nothing that the drain waits for is left.
    pub(crate) fn idle(&self) -> CancellationToken {
        self.idle.clone()
    }

    /// Owns the connections inside the process.
    pub(crate) fn inner(&self) -> TaskTracker {
        self.inner.clone()
    }

    /// Goes through the whole sequence; takes at most lag + grace + a second.
    pub async fn run(&self, health: &Health) -> Outcome {
        tracing::info!(event = "drain_begins");
        health.drain().await;
        tokio::time::sleep(self.lag).await;
        self.stop.cancel();
        self.tracker.close();
        let limit = tokio::time::Instant::now() + self.grace;
        let calls_done = tokio::time::timeout_at(limit, self.tracker.wait()).await.is_ok();
        self.idle.cancel();
        self.inner.close();
        // Their last answers are on the way to clients in this process.
        let clean = calls_done && tokio::time::timeout_at(limit, self.inner.wait()).await.is_ok();
        let tasks_left = self.tracker.len() + self.inner.len();
        self.abort.cancel();
        if clean {
            tracing::info!(event = "drain_ends");
            return Outcome::Clean;
        }
        tracing::warn!(event = "drain_forced", tasks_left);
        // Cut-off tasks need a moment to drop what they hold; what blocks is left behind.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.tracker.wait()).await;
        Outcome::Forced
    }
}

/// SIGTERM, SIGINT and SIGHUP (the terminal was closed). The first asks for a drain, the second for an exit at once:
/// `signals.next().await; select! { _ = drain.run(..) => .., () = signals.next() => exit }`.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Takes over the signals of the process: only for its `main`.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn signals() -> std::io::Result<Signals> {
    Ok(Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        hangup: signal(SignalKind::hangup())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_way_of_being_asked_to_end_is_heard() {
        let mut signals = signals().unwrap();
        let own = std::process::id().to_string();
        for name in ["-TERM", "-INT", "-HUP"] {
            // The shell's own: a bare machine has no program of this name.
            let kill = format!("kill {name} {own}");
            let sent = std::process::Command::new("sh").args(["-c", kill.as_str()]).status();
            assert!(sent.unwrap().success());
            tokio::time::timeout(Duration::from_secs(10), signals.next()).await.expect(name);
        }
    }
}
