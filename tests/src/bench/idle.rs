//! After the load: when the suite has caught up, and what it costs to keep it waiting.

use std::time::{Duration, Instant};

use super::cpu;

/// Of one core: below this nothing is at work.
const QUIET: f64 = 0.05;
const STEP: Duration = Duration::from_millis(500);
const QUIET_STEPS: usize = 4;

/// Waits until the process does nothing for two seconds. Answers how long it was still at
/// work, or nothing if it never rested within `limit`.
pub(crate) async fn settle(pid: u32, limit: Duration) -> anyhow::Result<Option<Duration>> {
    let begin = Instant::now();
    let mut quiet = 0;
    while begin.elapsed() < limit {
        let before = cpu::seconds(pid)?;
        tokio::time::sleep(STEP).await;
        let share = (cpu::seconds(pid)? - before) / STEP.as_secs_f64();
        quiet = if share <= QUIET { quiet + 1 } else { 0 };
        if quiet == QUIET_STEPS {
            return Ok(Some(begin.elapsed().saturating_sub(STEP * QUIET_STEPS as u32)));
        }
    }
    Ok(None)
}

/// A process at rest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    /// Resident memory.
    pub(crate) mib: f64,
    /// Of one core.
    pub(crate) percent: f64,
}

/// Looks at it for a while.
pub(crate) async fn observe(pid: u32, time: Duration) -> anyhow::Result<Idle> {
    let (begin, before) = (Instant::now(), cpu::seconds(pid)?);
    tokio::time::sleep(time).await;
    let used = cpu::seconds(pid)? - before;
    let percent = used / begin.elapsed().as_secs_f64() * 100.0;
    Ok(Idle { mib: cpu::resident_mib(pid)?, percent })
}
