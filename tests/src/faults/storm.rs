//! The faults, one after the other, each in the middle of the work.

use std::time::{Duration, Instant};

use anyhow::ensure;
use rapport::client::Client;

use super::Plan;
use super::ledger::Ledger;
use super::process::Process;
use super::report::Report;

/// Recovery of Postgres, a start of the suite and the work in between, on a busy machine.
const PROGRESS_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Suite,
    Postgres,
    Redis,
}

/// Runs the faults of the plan; each waits until the work goes on after the one before.
///
/// # Errors
/// When the suite does not come back.
pub async fn run(
    plan: &Plan,
    process: &mut Process,
    client: &Client,
    ledger: &Ledger,
    report: &mut Report,
) -> anyhow::Result<()> {
    progress(ledger, plan.progress).await?;
    let mut slowest: [Duration; 3] = Default::default();
    for fault in order(plan) {
        let before = process.servers()?;
        let struck = Instant::now();
        match fault {
            Fault::Suite => {
                process.kill().await?;
                process.start_again()?;
                process.ready(client).await?;
                let after = process.servers()?;
                report.expect_equal("servers adopted after kill -9", &before, &after);
            }
            Fault::Postgres => process.kill_postgres()?,
            Fault::Redis => process.flush_redis().await?,
        }
        let first = progress(ledger, 1).await?;
        let recovery = &mut slowest[fault as usize];
        *recovery = (*recovery).max(first.duration_since(struck));
        progress(ledger, plan.progress).await?;
        if fault == Fault::Postgres {
            let after = process.servers()?;
            report.expect("Postgres restarted after kill -9", before.postgres != after.postgres);
        }
    }
    let (batches, demands) = ledger.progress();
    let told = |count: usize, fault: Fault| {
        format!("{count}; work went on after at most {:.1?}", slowest[fault as usize])
    };
    report.note("kill -9 of the suite", told(plan.suite_kills, Fault::Suite));
    report.note("kill -9 of Postgres", told(plan.postgres_kills, Fault::Postgres));
    report.note("FLUSHALL of Redis", told(plan.redis_flushes, Fault::Redis));
    report.note("acknowledged batches of events", batches);
    report.note("demands carried to their end", demands);
    report.note("calls repeated because not acknowledged", ledger.repeats());
    Ok(())
}

/// The faults, spread: no kind comes only at the beginning or at the end.
fn order(plan: &Plan) -> Vec<Fault> {
    let kinds = [
        (Fault::Suite, plan.suite_kills),
        (Fault::Postgres, plan.postgres_kills),
        (Fault::Redis, plan.redis_flushes),
    ];
    let mut placed: Vec<(f64, Fault)> = Vec::new();
    for (fault, count) in kinds {
        let at = |number: usize| (number as f64 + 0.5) / count as f64;
        placed.extend((0..count).map(|number| (at(number), fault)));
    }
    placed.sort_by(|(left, _), (right, _)| left.total_cmp(right));
    placed.into_iter().map(|(_, fault)| fault).collect()
}

/// Waits until so many more batches and demands are acknowledged; the time of the last.
async fn progress(ledger: &Ledger, more: u64) -> anyhow::Result<Instant> {
    let (batches, demands) = ledger.progress();
    let deadline = Instant::now() + PROGRESS_LIMIT;
    loop {
        let now = ledger.progress();
        if now.0 >= batches + more && now.1 >= demands + more {
            return Ok(Instant::now());
        }
        ensure!(
            Instant::now() < deadline,
            "no progress within {PROGRESS_LIMIT:?}: from {batches} batches and {demands} demands \
             to {now:?}; {}",
            ledger.all_wrong().join("; ")
        );
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_place_and_kinds_are_mixed() {
        let plan = Plan {
            program: "rapport".into(),
            directory: "data".into(),
            suite_kills: 10,
            postgres_kills: 3,
            redis_flushes: 3,
            progress: 1,
            resumes: false,
        };
        let order = order(&plan);
        let count = |fault| order.iter().filter(|one| **one == fault).count();
        assert_eq!((count(Fault::Suite), count(Fault::Postgres), count(Fault::Redis)), (10, 3, 3));
        assert!(order[..8].contains(&Fault::Postgres) && order[8..].contains(&Fault::Postgres));
    }
}
