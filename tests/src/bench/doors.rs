//! The gateway: Segment's paths beside StreamEvents, and JSON beside gRPC, each by turns in the
//! same minutes, so that both meet the same weather.
//!
//! Both sides of a comparison say the same about the same people. Segment's events carry no
//! ledger entries, so the streamed ones of this comparison do not either.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use prost::bytes::Bytes;
use tokio::task::JoinSet;

use super::http::Http;
use super::ingest::{self, Known};
use super::load::{Population, Random};
use super::meter::{Phase, Processes};
use super::process::Process;
use super::reads;
use super::run::{Bench, HOT_CUSTOMERS};
use super::table::{Row, micros, per_second, percent, spread};

const BATCH: usize = 100;
const BATCH_CONNECTIONS: u64 = 16;
const SINGLE_CONNECTIONS: u64 = 64;
const READ_CONNECTIONS: u64 = 64;
const TURNS: u32 = 3;
const WARM_UP: Duration = Duration::from_secs(1);
const GET_PROFILE: &str = "/rapport.profile.v1.ProfileService/GetProfile";
/// What RudderStack publishes for two cores, times three.
const RUDDERSTACK_THREE_TIMES: f64 = 5_100.0;

impl Bench {
    /// Batches over HTTP by turns with StreamEvents, all services at work.
    pub(crate) async fn batches(&self, up: &Process) -> anyhow::Result<Row> {
        let people = Arc::new(self.population.without_ledger());
        let processes = self.processes(vec![up.pid])?;
        let time = self.plan.phase() / TURNS;
        let (mut over_http, mut streamed, mut ms) = (Vec::new(), Vec::new(), Vec::new());
        for turn in 0..u64::from(TURNS) {
            let load = Load { path: "/v1/batch", events: BATCH, lanes: BATCH_CONNECTIONS };
            let (phase, latencies) =
                self.post_events(up, load, (&people, turn), &processes, time).await?;
            over_http.push(phase);
            ms.extend(latencies);
            let seed = (time, 200 + turn);
            streamed.push(ingest::stream(up, &self.token, &people, &processes, seed).await?.phase);
        }
        let (phase, base) = (together(over_http)?, together(streamed)?);
        let ratio = phase.rate() / base.rate();
        Ok(Row {
            measured: per_second(phase.rate()),
            floor: per_second(base.rate()),
            ratio: percent(ratio),
            latency: format!("batch {}", spread(&ms)),
            service: format!("{} / {}", micros(phase.service_us()), micros(base.service_us())),
            postgres: format!("{} / {}", micros(phase.postgres_us()), micros(base.postgres_us())),
            target: "≥ 70 %, ≥ 5,100/s".to_owned(),
            reached: Some(ratio >= 0.7 && phase.rate() >= RUDDERSTACK_THREE_TIMES),
            ..Row::default()
        })
    }

    /// Single events over HTTP.
    pub(crate) async fn tracks(&self, up: &Process) -> anyhow::Result<Row> {
        let people = Arc::new(self.population.without_ledger());
        let processes = self.processes(vec![up.pid])?;
        let load = Load { path: "/v1/track", events: 1, lanes: SINGLE_CONNECTIONS };
        let (phase, ms) =
            self.post_events(up, load, (&people, 90), &processes, self.plan.short()).await?;
        Ok(Row {
            measured: per_second(phase.rate()),
            latency: spread(&ms),
            service: micros(phase.service_us()),
            postgres: micros(phase.postgres_us()),
            target: "≥ 1,500/s".to_owned(),
            reached: Some(phase.rate() >= 1_500.0),
            ..Row::default()
        })
    }

    /// GetProfile as JSON by turns with the same over gRPC, by CPU per request.
    pub(crate) async fn json_beside_grpc(&self, up: &Process) -> anyhow::Result<Row> {
        let hot = &self.customers[..self.customers.len().min(HOT_CUSTOMERS)];
        let postgres = Some(self.place.postmaster()?);
        let time = self.plan.short() / TURNS;
        let (mut json, mut grpc) = (Vec::new(), Vec::new());
        for _ in 0..TURNS {
            json.push(self.read_json(up, hot, time).await?);
            grpc.push(reads::read(up, &self.token, hot, postgres, time).await?);
        }
        let (json, grpc) = (together(json)?, together(grpc)?);
        let ratio = json.service_us() / grpc.service_us().max(0.001);
        Ok(Row {
            measured: per_second(json.rate()),
            floor: per_second(grpc.rate()),
            ratio: format!("{ratio:.2} × CPU"),
            service: format!("{} / {}", micros(json.service_us()), micros(grpc.service_us())),
            target: "≤ 1.6 × CPU".to_owned(),
            reached: Some(ratio <= 1.6),
            ..Row::default()
        })
    }

    async fn read_json(
        &self,
        up: &Process,
        customers: &[Known],
        time: Duration,
    ) -> anyhow::Result<Phase> {
        let bodies: Arc<[Bytes]> = customers
            .iter()
            .map(|known| Bytes::from(format!(r#"{{"customerId":"{}"}}"#, known.customer_id)))
            .collect();
        let clients = Clients::default();
        let mut tasks = JoinSet::new();
        for lane in 0..READ_CONNECTIONS {
            let mut http = Http::connect(up.http()?, self.token.bearer()?).await?;
            let (bodies, clients) = (Arc::clone(&bodies), clients.clone());
            let mut random = Random::new(170_000 + lane);
            tasks.spawn(async move {
                while clients.go_on() {
                    let body = bodies[random.below(bodies.len())].clone();
                    let answer = http.post_ok(GET_PROFILE, body).await?;
                    ensure!(answer.starts_with(br#"{"profile":"#), "an answer without a profile");
                    clients.done(1);
                }
                anyhow::Ok(Vec::new())
            });
        }
        let processes = self.processes(vec![up.pid])?;
        Ok(clients.measure(tasks, &processes, time).await?.0)
    }

    async fn post_events(
        &self,
        up: &Process,
        load: Load,
        (people, seed): (&Arc<Population>, u64),
        processes: &Processes,
        time: Duration,
    ) -> anyhow::Result<(Phase, Vec<f64>)> {
        let write_key = self.place.write_key().await?;
        let clients = Clients::default();
        let mut tasks = JoinSet::new();
        for lane in 0..load.lanes {
            let mut http = Http::connect(up.http()?, &write_key).await?;
            let (people, clients) = (Arc::clone(people), clients.clone());
            let mut random = Random::new(300_000 + seed * 1_000 + lane);
            tasks.spawn(async move {
                let mut milliseconds = Vec::new();
                while clients.go_on() {
                    let body = people.segment_body(load.events, &mut random);
                    let begin = Instant::now();
                    let answer = http.post_ok(load.path, body).await?;
                    milliseconds.push(begin.elapsed().as_secs_f64() * 1e3);
                    // Everything else would say what was refused.
                    ensure!(&answer[..] == br#"{"success":true}"#, "an event was refused");
                    clients.done(load.events as u64);
                }
                Ok(milliseconds)
            });
        }
        clients.measure(tasks, processes, time).await
    }
}

#[derive(Debug, Clone, Copy)]
struct Load {
    path: &'static str,
    /// In a body.
    events: usize,
    /// Connections.
    lanes: u64,
}

fn together(phases: Vec<Phase>) -> anyhow::Result<Phase> {
    let sum = phases.into_iter().reduce(|mut sum, phase| {
        sum.absorb(phase);
        sum
    });
    sum.context("no turns")
}

/// What the tasks of a closed loop share.
#[derive(Debug, Clone, Default)]
struct Clients {
    done: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Clients {
    fn go_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn done(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Warms up, measures, stops the tasks; answers what they answered, too.
    async fn measure(
        self,
        mut tasks: JoinSet<anyhow::Result<Vec<f64>>>,
        processes: &Processes,
        time: Duration,
    ) -> anyhow::Result<(Phase, Vec<f64>)> {
        tokio::time::sleep(WARM_UP).await;
        let phase = Phase::measure(time, &self.done, processes).await;
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        while let Some(task) = tasks.join_next().await {
            answers.extend(task??);
        }
        Ok((phase?, answers))
    }
}
