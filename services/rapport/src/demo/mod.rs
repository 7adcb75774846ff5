//! The demonstration: the suite at work on real data, through the public API only, told so
//! that a manager understands it.
//!
//! Three acts, each in a tenant of its own on a fresh private suite: recognition of
//! generated visitors with known truth, the learning loop on a bank's campaign, customer
//! value on a shop's invoices.

pub mod data;
pub mod learning;
pub mod recognition;
pub mod report;
pub mod value;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use contracts::profile::v1::EventResult;
use kernel::TenantId;
use prost_reflect::DescriptorPool;
use server::settings::Layer;
use uuid::Uuid;

use crate::apply;
use crate::client::Client;
use crate::suite::{Options, Suite};

/// How many of the bank's calls are taken by default, evenly thinned.
pub const SAMPLE: usize = 9_000;

const BANK: &str = include_str!("../../demo/bank.yaml");

/// Runs the demonstration and removes everything it made.
///
/// # Errors
/// What went wrong; the private suite is stopped and removed all the same.
pub async fn run(
    data: Option<&Path>,
    calls: usize,
    pg_bin: Option<PathBuf>,
    layers: Vec<Layer>,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let data = data::directory(data)?;
    let directory = std::env::temp_dir().join(format!("rapport-demo-{}", Uuid::new_v4().simple()));
    let options = Options {
        directory: directory.clone(),
        pg_bin,
        rpc_port: 0,
        http_port: 0,
        admin_port: 0,
        layers: [layers, vec![Layer::toml("the demonstration", "[backup]\nenabled = false\n")]]
            .concat(),
        durable: true,
    };
    let mut signals = server::drain::signals()?;
    // First of all: whatever ends this, what was made is removed.
    let remains = Remains(directory);
    report::heading("Rapport: recognise, know, judge, route, learn");
    report::say("A fresh private suite is started: Postgres, Redis and five services.");
    let told = tokio::select! {
        told = whole(&options, &data, calls) => told,
        // Whoever stops it does not want its servers to stay either: they stop as they are
        // dropped, and so does a start half-way.
        () = signals.next() => Err(anyhow::anyhow!("stopped; everything it had started is gone")),
    };
    remains.remove()?;
    told?;
    report::say(&format!(
        "\nAll of it in {:.0} s. Everything was stopped and removed again.\n\
         `make up` starts a suite that stays; README.md says what to try.",
        started.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// The directory of the demonstration, with keys in it: never left behind.
struct Remains(PathBuf);

impl Remains {
    fn remove(&self) -> anyhow::Result<()> {
        match std::fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Remains {
    fn drop(&mut self) {
        // Said already, if it was the second try.
        let _ = self.remove();
    }
}

/// Start, acts, stop. Dropped half-way it leaves no server, only the directory.
async fn whole(options: &Options, data: &Path, calls: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    let (suite, private) = crate::start(options).await?;
    report::say(&format!("It is up after {:.1} s.\n", started.elapsed().as_secs_f64()));
    let told = acts(&suite, data, calls).await;
    suite.stop().await;
    let stopped = private.stop().await;
    told.and(stopped)
}

/// None of the events may be refused: the figures would be of fewer than they say.
fn all_accepted(results: &[EventResult]) -> anyhow::Result<()> {
    for result in results {
        anyhow::ensure!(result.violations.is_empty(), "rejected: {:?}", result.violations);
    }
    Ok(())
}

async fn acts(suite: &Suite, data: &Path, calls: usize) -> anyhow::Result<()> {
    let visitors = suite.client(TenantId::new(Uuid::from_u128(1)))?;
    let bank = suite.client(TenantId::new(Uuid::from_u128(2)))?;
    let shop = suite.client(TenantId::new(Uuid::from_u128(3)))?;

    let stream = data::identifier_stream(data)?;
    recognition::run(&visitors, &stream).await.context("recognition")?.print();

    let all = data::bank_calls(data)?;
    configure(&bank, BANK).await.context("configuring the bank")?;
    let sample = data::thin(&all, calls);
    learning::run(&bank, &sample, all.len()).await.context("the learning loop")?.print();

    let invoices = data::invoices(data)?;
    value::run(&shop, &invoices).await.context("customer value")?.print();
    report::say(
        "\nData: identifier stream, generated, CC0. Bank marketing: Moro, Cortez, Rita (2014), UCI,\n\
         CC BY 4.0. Online retail: Chen, Sain, Guo (2012), UCI, CC BY 4.0, one row per invoice.",
    );
    Ok(())
}

/// Applies compiled-in resources as `rapport apply` would.
async fn configure(client: &Client, text: &str) -> anyhow::Result<()> {
    let pool = DescriptorPool::decode(contracts::DESCRIPTORS)?;
    let listed = |findings: Vec<apply::Finding>| {
        let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("\n"))
    };
    let resources = apply::read_text("bank.yaml".as_ref(), text, &pool).map_err(listed)?;
    apply::apply(&mut client.clone(), &pool, &resources, false).await.map_err(listed)?;
    Ok(())
}
