//! GetProfile, closed loop: what a request costs the service, beside what it costs a server
//! that has nothing behind the same layers, or one SELECT. Both run at the same time and are read
//! by turns, so that they meet the same weather.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contracts::profile::v1::GetProfileRequest;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use prost::Message as _;
use tokio::task::JoinSet;

use super::ingest::Known;
use super::load::Random;
use super::meter::{Phase, Processes};
use super::process::{Process, Token, is_refusal};
use super::run::Bench;
use super::table::{Row, micros, per_second, percent, thousands};

const CONNECTIONS: usize = 4;
const IN_FLIGHT: usize = 16;
const WARM_UP: Duration = Duration::from_secs(2);
const TURNS: u32 = 3;

/// One answer as it travels: the payload of the floors.
pub(crate) async fn sample(
    process: &Process,
    token: &Token,
    customers: &[Known],
) -> anyhow::Result<Vec<u8>> {
    let mut profile = ProfileServiceClient::new(process.connect(token).await?);
    // Of the middle of the ranks: neither the busiest nor one with a single event.
    let customer = customers.get(customers.len() / 20).context("no customers")?;
    let request =
        GetProfileRequest { customer_id: customer.customer_id.clone(), ..Default::default() };
    Ok(profile.get_profile(request).await?.into_inner().encode_to_vec())
}

impl Bench {
    /// A read of the service by turns with its floor, compared by requests per second of CPU.
    pub(crate) async fn read_beside(
        &self,
        (service, floor): (&Process, &Process),
        customers: &[Known],
        target: f64,
    ) -> anyhow::Result<Row> {
        let postgres = Some(self.place.postmaster()?);
        let time = self.plan.short() / TURNS;
        let turn = async |process| read(process, &self.token, customers, postgres, time).await;
        let (mut phase, mut base) = (turn(service).await?, turn(floor).await?);
        for _ in 1..TURNS {
            phase.absorb(turn(service).await?);
            base.absorb(turn(floor).await?);
        }
        let per_cpu_second = |phase: &Phase| 1e6 / phase.service_us().max(0.001);
        let ratio = per_cpu_second(&phase) / per_cpu_second(&base);
        let text = |phase: &Phase| {
            let cost = thousands(per_cpu_second(phase));
            format!("{cost} per CPU-second ({})", per_second(phase.rate()))
        };
        Ok(Row {
            measured: text(&phase),
            floor: text(&base),
            ratio: percent(ratio),
            service: format!("{} / {}", micros(phase.service_us()), micros(base.service_us())),
            postgres: format!("{} / {}", micros(phase.postgres_us()), micros(base.postgres_us())),
            target: format!("≥ {}", percent(target)),
            reached: Some(ratio >= target),
            ..Row::default()
        })
    }
}

/// Reads profiles of these customers for a while.
pub(crate) async fn read(
    process: &Process,
    token: &Token,
    customers: &[Known],
    postgres: Option<u32>,
    time: Duration,
) -> anyhow::Result<Phase> {
    let ids: Arc<[String]> = customers.iter().map(|known| known.customer_id.clone()).collect();
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut clients = JoinSet::new();
    for connection in process.connections(CONNECTIONS, token).await? {
        for lane in 0..IN_FLIGHT {
            let mut profile = ProfileServiceClient::new(connection.clone());
            let (ids, done, stop) = (Arc::clone(&ids), Arc::clone(&done), Arc::clone(&stop));
            let mut random = Random::new(70_000 + lane as u64 + clients.len() as u64);
            clients.spawn(async move {
                let mut refused = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    let customer_id = ids[random.below(ids.len())].clone();
                    let request = GetProfileRequest { customer_id, ..Default::default() };
                    match profile.get_profile(request).await.map_err(anyhow::Error::new) {
                        Ok(answer) => {
                            let found = answer.into_inner().profile.is_some();
                            ensure!(found, "an answer without a profile");
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) if is_refusal(&error) => refused += 1,
                        Err(error) => return Err(error),
                    }
                }
                anyhow::Ok(refused)
            });
        }
    }
    tokio::time::sleep(WARM_UP).await;
    let processes = Processes { service: vec![process.pid], postgres };
    let phase = Phase::measure(time, &done, &processes).await;
    stop.store(true, Ordering::Relaxed);
    let mut refused = 0;
    while let Some(client) = clients.join_next().await {
        refused += client??;
    }
    let phase = phase?;
    // A few while connections are made; more would be another figure.
    ensure!(refused * 100 <= phase.done, "{refused} calls were refused, {} taken", phase.done);
    Ok(phase)
}
