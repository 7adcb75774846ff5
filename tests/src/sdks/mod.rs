//! SDKs of others, unmodified, deliver through faults to the real binary with full durability.
//!
//! Each SDK has a driver program (`tests/sdks`), a tenant and a [`proxy`] of its own. All run at
//! once against one suite, while their requests meet 429, 503 and lost answers by a seeded
//! [`schedule`]. The suite is killed (-9) and started again on the same data whenever an SDK is
//! half through, until each was caught in the middle. Afterwards an [`audit`] reads everything
//! back: each event is there once, whatever its SDK believes.

pub mod audit;
pub mod proxy;
pub mod schedule;
mod sdk;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use kernel::TenantId;
use rapport::client::Client;
use rapport::suite::{ALL_SCOPES, Keys};
use server::token::{Audience, Grant};

pub use self::sdk::{ANALYTICS_NEXT, ANALYTICS_NEXT_SINGLE, SERVER_SIDE, Sdk};

use self::proxy::{Proxy, Seen};
use self::schedule::{FAULTS, Schedule};
use crate::faults::process::Process;
use crate::faults::report::Report;
use crate::process::Program;

/// Everything that the drivers do, on a busy machine.
const DELIVERY_LIMIT: Duration = Duration::from_secs(360);
/// A few events without faults, on a busy machine.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(60);
/// Longer than the pauses of most retries, shorter than what any SDK puts up with.
const NOTICE_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(20);

/// What is delivered.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The program: `rapport`, or another that behaves like it.
    pub program: PathBuf,
    /// For the suite's data and what it keeps beside it; removed at the end if all went well.
    pub directory: PathBuf,
    /// By whom, and how many events each.
    pub sdks: Vec<(Sdk, usize)>,
}

/// An SDK at work.
#[derive(Debug)]
struct Delivery {
    sdk: Sdk,
    events: usize,
    tenant: TenantId,
    proxy: Proxy,
    driver: Program,
    begun: Instant,
    took: Option<Duration>,
    /// How many of its requests were taken when the suite was first killed in the middle.
    struck_at: Option<u64>,
}

/// What became of one driver without faults.
#[derive(Debug)]
pub struct Attempt {
    /// Whether it believes to have delivered everything, without an error.
    pub is_delivered: bool,
    /// The end of what it said.
    pub said: String,
}

/// Lets one driver deliver to a host, and waits for its end; its log comes into the directory.
///
/// # Errors
/// When it cannot be started, or does not end in time.
pub async fn attempt(
    sdk: &Sdk,
    host: &str,
    write_key: &str,
    events: usize,
    directory: &Path,
) -> anyhow::Result<Attempt> {
    let mut driver = sdk.start(host, write_key, events, directory)?;
    let ended = driver.ended(ATTEMPT_LIMIT).await;
    let said = driver.last_words();
    let is_delivered = ended.with_context(|| said.clone())?.success();
    Ok(Attempt { is_delivered, said })
}

/// Runs the whole and says what was found.
///
/// # Errors
/// When it could not be carried out; what went wrong with the events stands in the report.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    let mut process = Process::start(&plan.program, &plan.directory.join("data")).await?;
    let found = attempt_all(plan, &mut process).await;
    process.kill().await?;
    process.clean_up().await?;
    let report = found?;
    if report.is_good() {
        std::fs::remove_dir_all(&plan.directory)
            .with_context(|| format!("removing {}", plan.directory.display()))?;
    }
    Ok(report)
}

async fn attempt_all(plan: &Plan, process: &mut Process) -> anyhow::Result<Report> {
    let keys = Keys::load(&process.directory().join("keys"))?;
    let address = process.rpc_address();
    let client = |tenant| Client::new(&address, &token(&keys, tenant, ALL_SCOPES)?);
    let operator = client(TenantId::new(uuid::Uuid::new_v4()))?;
    process.ready(&operator).await?;
    let mut deliveries = Vec::new();
    for (seed, (sdk, events)) in (0..).zip(&plan.sdks) {
        let tenant = TenantId::new(uuid::Uuid::new_v4());
        let schedule = Schedule::new(seed, sdk.requests(*events));
        let proxy = Proxy::start(process.gateway(), schedule).await?;
        let write_key = token(&keys, tenant, &["profile:ingest"])?;
        let driver = sdk.start(&proxy.host(), &write_key, *events, process.directory())?;
        deliveries.push(Delivery {
            sdk: *sdk,
            events: *events,
            tenant,
            proxy,
            driver,
            begun: Instant::now(),
            took: None,
            struck_at: None,
        });
    }
    let clients: Vec<Client> =
        deliveries.iter().map(|delivery| client(delivery.tenant)).collect::<Result<_, _>>()?;
    let mut report = Report::default();
    let kills = storm(process, &operator, &mut deliveries, &mut report).await?;
    report.note("kill -9 of the suite", kills);
    for (delivery, client) in deliveries.iter().zip(&clients) {
        faults(delivery, &mut report);
        let begun = Instant::now();
        let Sdk { name, people, .. } = delivery.sdk;
        audit::run(name, client, people, delivery.events, &mut report).await?;
        report.note(&format!("{name}: audit"), format!("{:.1?}", begun.elapsed()));
    }
    Ok(report)
}

/// Kills the suite until each SDK was struck; ends when all drivers have. How often it killed.
async fn storm(
    process: &mut Process,
    operator: &Client,
    deliveries: &mut [Delivery],
    report: &mut Report,
) -> anyhow::Result<usize> {
    let mut kills = 0;
    let deadline = Instant::now() + DELIVERY_LIMIT;
    while deliveries.iter().any(|delivery| delivery.took.is_none()) {
        for delivery in deliveries.iter_mut() {
            delivery.observe(report).await?;
        }
        if deliveries.iter().any(Delivery::is_due) {
            process.kill().await?;
            deliveries.iter_mut().for_each(Delivery::strike);
            kills += 1;
            noticed(deliveries).await;
            process.start_again()?;
            process.ready(operator).await?;
        }
        if Instant::now() > deadline {
            let told: Vec<String> = deliveries.iter().map(Delivery::told).collect();
            anyhow::bail!("not delivered within {DELIVERY_LIMIT:?}: {}", told.join("; "));
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(kills)
}

/// Waits until each SDK at work has met the dead suite: some pause just now.
async fn noticed(deliveries: &[Delivery]) {
    let deadline = Instant::now() + NOTICE_LIMIT;
    let unaware =
        |delivery: &Delivery| delivery.took.is_none() && delivery.proxy.seen().broken == 0;
    while deliveries.iter().any(unaware) && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
}

impl Delivery {
    /// Notices the end of the driver.
    async fn observe(&mut self, report: &mut Report) -> anyhow::Result<()> {
        if self.took.is_some() || self.driver.is_running()? {
            return Ok(());
        }
        self.took = Some(self.begun.elapsed());
        let status = self.driver.ended(POLL).await?;
        let failed = if status.success() { None } else { Some(self.driver.last_words()) };
        let what = format!("{}: errors that the SDK reports", self.sdk.name);
        report.expect_none(&what, failed.as_slice());
        Ok(())
    }

    /// Half through, and not struck yet.
    fn is_due(&self) -> bool {
        let half = self.sdk.requests(self.events) / 2;
        self.took.is_none() && self.struck_at.is_none() && self.proxy.seen().taken >= half
    }

    /// The suite was just killed.
    fn strike(&mut self) {
        let taken = self.proxy.seen().taken;
        if self.took.is_none() && taken > 0 {
            self.struck_at.get_or_insert(taken);
        }
    }

    fn told(&self) -> String {
        format!("{}: {:?}, {}", self.sdk.name, self.proxy.seen(), self.driver.last_words())
    }
}

/// What the SDK went through, which must have been everything.
fn faults(delivery: &Delivery, report: &mut Report) {
    let name = delivery.sdk.name;
    let Seen { requests, taken, broken, refused, injected } = delivery.proxy.seen();
    let took = delivery.took.unwrap_or_default();
    report.note(
        &format!("{name}: {} events", delivery.events),
        format!(
            "{took:.1?}, {requests} requests, {taken} taken, {broken} met a dead suite, {refused} \
             put off by the gateway, {FAULTS:?} {injected:?}"
        ),
    );
    let every = injected.iter().all(|count| *count > 0);
    report.expect(&format!("{name}: every kind of fault was met"), every);
    let in_the_middle = delivery.struck_at.is_some_and(|at| at < taken);
    let met = in_the_middle && broken > 0;
    report.expect(&format!("{name}: met a dead suite in the middle"), met);
}

fn token(keys: &Keys, tenant: TenantId, scopes: &[&str]) -> anyhow::Result<String> {
    let grant = Grant {
        audience: Audience::Public,
        tenant,
        subject: "sdks",
        scopes,
        ttl: Duration::from_secs(3_600),
    };
    Ok(keys.signer.issue(&grant)?.0)
}

/// Where the drivers are, and what `scripts/setup` installs beside them.
fn installed(file: &Path, what: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    ensure!(path.exists(), "{what} is not installed ({}): run scripts/setup", path.display());
    Ok(path)
}
