//! A measured phase: work done and CPU used in windows of one second, medians over them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::cpu;

const WINDOW: Duration = Duration::from_secs(1);

/// Which processes count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes {
    /// The service, or services.
    pub(crate) service: Vec<u32>,
    /// The postmaster of its database.
    pub(crate) postgres: Option<u32>,
}

impl Processes {
    fn cpu(&self) -> anyhow::Result<(f64, f64)> {
        let mut service = 0.0;
        for pid in &self.service {
            service += cpu::seconds(*pid)?;
        }
        let postgres = self.postgres.map_or(Ok(0.0), cpu::tree_seconds)?;
        Ok((service, postgres))
    }
}

#[derive(Debug)]
struct Window {
    rate: f64,
    service_us: f64,
    postgres_us: f64,
}

/// What a phase showed.
#[derive(Debug)]
pub(crate) struct Phase {
    windows: Vec<Window>,
    /// All of it.
    pub(crate) done: u64,
}

impl Phase {
    /// Counts `done` and the CPU of `processes` for a while, second by second.
    pub(crate) async fn measure(
        time: Duration,
        done: &AtomicU64,
        processes: &Processes,
    ) -> anyhow::Result<Self> {
        let begin = done.load(Ordering::Relaxed);
        let end = Instant::now() + time;
        let mut windows = Vec::new();
        while Instant::now() < end {
            let (start, before, count) =
                (Instant::now(), processes.cpu()?, done.load(Ordering::Relaxed));
            tokio::time::sleep(WINDOW).await;
            let ops = (done.load(Ordering::Relaxed) - count) as f64;
            let after = processes.cpu()?;
            if ops > 0.0 {
                windows.push(Window {
                    rate: ops / start.elapsed().as_secs_f64(),
                    service_us: (after.0 - before.0) / ops * 1e6,
                    postgres_us: (after.1 - before.1) / ops * 1e6,
                });
            }
        }
        let done = done.load(Ordering::Relaxed) - begin;
        anyhow::ensure!(!windows.is_empty(), "nothing was done in {} s", time.as_secs());
        Ok(Self { windows, done })
    }

    /// The same of another phase of the same thing.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.windows.extend(other.windows);
        self.done += other.done;
    }

    fn median(&self, part: impl Fn(&Window) -> f64) -> f64 {
        median(self.windows.iter().map(part).collect())
    }

    /// Per second.
    pub(crate) fn rate(&self) -> f64 {
        self.median(|window| window.rate)
    }

    /// Microseconds of the service's CPU per piece of work.
    pub(crate) fn service_us(&self) -> f64 {
        self.median(|window| window.service_us)
    }

    /// Microseconds of Postgres' CPU per piece of work.
    pub(crate) fn postgres_us(&self) -> f64 {
        self.median(|window| window.postgres_us)
    }
}

/// The middle value; 0 of nothing.
pub(crate) fn median(values: Vec<f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that the share `q` of all does not exceed (nearest rank); 0 of nothing.
pub(crate) fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (values.len() as f64 * q).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

const WAL: &str = "select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";

/// How far the write-ahead log of the whole server has come, in bytes.
pub(crate) async fn wal_bytes(connection: &mut PgConnection) -> anyhow::Result<i64> {
    Ok(sqlx::query_scalar(WAL).fetch_one(connection).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values = || (1..=100).rev().map(f64::from).collect::<Vec<_>>();
        assert_eq!(median(values()), 50.0);
        assert_eq!(quantile(values(), 0.99), 99.0);
        assert_eq!(quantile(values(), 1.0), 100.0);
        assert_eq!(median(vec![7.0]), 7.0);
        assert_eq!(median(Vec::new()), 0.0);
    }
}
