//! Fault injection against the real binary, with full durability (`make faults`).
//!
//! A driver keeps ingesting events and working on demands through the public RPCs. It repeats
//! what was not acknowledged and writes down what was. Meanwhile a [`storm`] kills the suite
//! and Postgres and flushes Redis. Afterwards an [`audit`] compares what is there with what was
//! acknowledged, a [`drain`] ends the suite under load, and nothing may be left running.

pub mod audit;
pub mod demands;
pub mod drain;
pub mod events;
pub mod ledger;
pub mod process;
pub mod report;
pub mod storm;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rapport::client::Client;
use rapport::suite::{ALL_SCOPES, Keys};
use server::token::{Audience, Grant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::ledger::Ledger;
use self::process::Process;
use self::report::Report;

/// How much of everything.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program: `rapport`, or another that behaves like it.
    pub program: PathBuf,
    /// Where the suite keeps its data; removed at the end if all went well.
    pub directory: PathBuf,
    /// kill -9 of the suite.
    pub suite_kills: usize,
    /// kill -9 of Postgres.
    pub postgres_kills: usize,
    /// FLUSHALL of Redis.
    pub redis_flushes: usize,
    /// Acknowledged batches of events, and finished demands, between two faults.
    pub progress: u64,
    /// Whether a stopped suite is started again to resume its watch.
    pub resumes: bool,
}

/// Runs the whole and says what was found.
///
/// # Errors
/// When it could not be carried out; what the suite did wrong stands in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let mut process = Process::start(&plan.program, &plan.directory).await?;
    let mut signals = server::drain::signals()?;
    let found = tokio::select! {
        found = attempt(plan, &mut process) => found,
        // Whoever loses patience shall not find servers running afterwards.
        () = signals.next() => Err(anyhow::anyhow!("interrupted")),
    };
    let left = process.clean_up().await?;
    let mut report = found?;
    report.expect_none("servers left after the last stop", &left);
    if report.is_good() {
        std::fs::remove_dir_all(&plan.directory)
            .with_context(|| format!("removing {}", plan.directory.display()))?;
    }
    Ok(report)
}

async fn attempt(plan: &Plan, process: &mut Process) -> anyhow::Result<Report> {
    let mut report = Report::default();
    let mut clock = Clock::start();
    let client = client(process)?;
    process.ready(&client).await?;
    demands::set_up(&client).await?;
    clock.lap("until the first start was done", &mut report);
    let ledger = Arc::new(Ledger::default());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    events::spawn(&client, &ledger, &stop, &tasks);
    demands::spawn(&client, &ledger, &stop, &tasks);
    let stormed = storm::run(plan, process, &client, &ledger, &mut report).await;
    clock.lap("the storm", &mut report);
    stop.cancel();
    tasks.close();
    stormed?;
    tokio::time::timeout(Duration::from_secs(60), tasks.wait())
        .await
        .context("the drivers did not finish what they had begun")?;
    clock.lap("what was begun is finished", &mut report);
    events::tie(&client, &ledger).await?;
    audit::run(&client, &ledger, &mut report).await?;
    clock.lap("the audit", &mut report);
    drain::run(plan, process, &client, &mut report).await?;
    Ok(report)
}

/// Says how long each part took.
struct Clock(Instant);

impl Clock {
    fn start() -> Self {
        Self(Instant::now())
    }

    fn lap(&mut self, what: &str, report: &mut Report) {
        report.note(what, format!("{:.1?}", self.0.elapsed()));
        self.0 = Instant::now();
    }
}

/// A client with every scope, of a tenant of its own.
fn client(process: &Process) -> anyhow::Result<Client> {
    let keys = Keys::load(&process.directory().join("keys"))?;
    let grant = Grant {
        audience: Audience::Public,
        tenant: kernel::TenantId::new(uuid::Uuid::new_v4()),
        subject: "faults",
        scopes: ALL_SCOPES,
        ttl: Duration::from_secs(3_600),
    };
    let (token, _) = keys.signer.issue(&grant)?;
    Client::new(&process.rpc_address(), &token)
}
