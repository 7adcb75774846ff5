//! The order of a run: the whole suite first, then its parts alone on the same data.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::ingest::{self, Known};
use super::load::Population;
use super::meter::Processes;
use super::process::{Place, Process, Token};
use super::table::{Report, per_second, thousands};
use super::{idle, resources};

/// How often the cached read finds a profile: fewer customers than profile remembers.
pub(crate) const HOT_CUSTOMERS: usize = 1_000;
pub(crate) const SETTLE: Duration = Duration::from_secs(40);

/// How much to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Short phases, few customers: to see that everything works. Figures mean little.
    pub quick: bool,
    /// Where data and logs go; data of an earlier run is removed.
    pub directory: PathBuf,
    /// How this program was built, for the report.
    pub profile: String,
}

impl Plan {
    pub(crate) fn phase(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 8 })
    }

    pub(crate) fn short(&self) -> Duration {
        Duration::from_secs(if self.quick { 2 } else { 6 })
    }

    pub(crate) fn outage(&self) -> Duration {
        Duration::from_secs(if self.quick { 6 } else { 60 })
    }

    pub(crate) const fn orders(&self) -> usize {
        if self.quick { 20_000 } else { 1_000_000 }
    }

    const fn people(&self) -> usize {
        if self.quick { 2_000 } else { 20_000 }
    }
}

/// What is known after the suite ran as a whole.
pub(crate) struct Bench {
    pub(crate) plan: Plan,
    pub(crate) place: Place,
    pub(crate) token: Token,
    pub(crate) population: Arc<Population>,
    pub(crate) customers: Vec<Known>,
    pub(crate) report: Report,
}

/// Measures everything; answers the report as Markdown and whether it is complete.
///
/// # Errors
/// When the suite does not start or stop, or cannot be prepared.
pub async fn run(plan: Plan, progress: impl Fn(&str)) -> anyhow::Result<(String, bool)> {
    let begin = Instant::now();
    fs::create_dir_all(&plan.directory)?;
    let place = Place { directory: plan.directory.canonicalize()? };
    place.clear().await?;
    progress("starting the suite on durable private servers");
    let up = place.up().await?;
    let made = Bench::prepare(plan, place, &up, &progress).await;
    let mut bench = match made {
        Ok(bench) => bench,
        Err(error) => {
            up.stop().await?;
            return Err(error);
        }
    };
    up.stop().await.context("stopping the suite")?;
    progress("copying profile's database for the floor of ingest");
    bench.place.copy_for_floor().await?;
    let up = bench.place.up().await?;
    let whole = bench.whole_suite(&up, &progress).await;
    up.stop().await.context("stopping the suite")?;
    whole?;
    bench.parts_alone(&progress).await?;
    let took = begin.elapsed().as_secs();
    let text = format!(
        "built with profile {}; {} customers, {} sets of identifiers; the whole took {took} s",
        bench.plan.profile,
        thousands(bench.population.people() as f64),
        thousands(bench.population.evidence() as f64),
    );
    bench.report.remark(text);
    Ok((bench.report.markdown(), bench.report.is_complete()))
}

impl Bench {
    async fn prepare(
        plan: Plan,
        place: Place,
        up: &Process,
        progress: &impl Fn(&str),
    ) -> anyhow::Result<Self> {
        let token = place.token().await?;
        resources::apply(&up.connect(&token).await?).await.context("saving the resources")?;
        let population = Arc::new(Population::new(plan.people()));
        let sets = thousands(population.evidence() as f64);
        progress(&format!("making {sets} sets of identifiers known"));
        let begin = Instant::now();
        let customers = ingest::make_known(up, &token, &population)
            .await
            .context("making identifiers known")?;
        let rate = population.evidence() as f64 / begin.elapsed().as_secs_f64();
        let mut report = Report::default();
        report.remark(format!("unknown evidence was taken at {}", per_second(rate)));
        let settled = idle::settle(&place, SETTLE).await?;
        report.remark(format!("{settled} after the first events"));
        Ok(Self { plan, place, token, population, customers, report })
    }

    pub(crate) fn processes(&self, service: Vec<u32>) -> anyhow::Result<Processes> {
        Ok(Processes { service, postgres: Some(self.place.postmaster()?) })
    }
}
