//! The database goes away for a minute while clients send as SDKs do: they repeat a body until it
//! is taken, and wait as long as the answer says. Measured: what the services answer meanwhile, how
//! their memory grows, how soon they take events again, and whether each is there exactly once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use embedded::{Postgres, PostgresOptions};
use http::StatusCode;
use prost::bytes::Bytes;
use sqlx::{Connection as _, PgConnection};
use tokio::task::JoinSet;

use super::cpu;
use super::http::Http;
use super::load::Random;
use super::process::Process;
use super::run::Bench;
use super::table::{Row, thousands};

const CLIENTS: u64 = 16;
const EVENTS: usize = 20;
const LEAD_IN: Duration = Duration::from_secs(5);
const LEAD_OUT: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(250);
/// After a connection that broke.
const PAUSE: Duration = Duration::from_millis(500);
const MAX_GROWTH_MIB: f64 = 128.0;
const MAX_RECOVERY: Duration = Duration::from_secs(5);
const EVENT_COUNT: &str = "select count(*) from event";

/// What the clients share.
#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    taken: AtomicU64,
    /// How often each answer came, connections that broke as 0.
    answers: Mutex<BTreeMap<u16, u64>>,
    /// When each client was last answered 200.
    last: Mutex<BTreeMap<u64, Instant>>,
}

impl Seen {
    fn answered(&self, code: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry(code).or_default() += 1;
    }

    fn taken(&self, client: u64) {
        self.taken.fetch_add(EVENTS as u64, Ordering::Relaxed);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.insert(client, Instant::now());
    }

    /// How many clients were answered 200 since then.
    fn since(&self, instant: Instant) -> u64 {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.values().filter(|at| **at > instant).count() as u64
    }
}

/// What was seen from outside.
struct Observed {
    growth_mib: f64,
    /// Until the first client was answered 200, and until all were.
    recovery: [Duration; 2],
}

impl Bench {
    /// Stops Postgres under load and starts it again; gives it back running.
    pub(crate) async fn outage(
        &self,
        postgres: Postgres,
        redis: &str,
    ) -> anyhow::Result<(Postgres, anyhow::Result<Row>)> {
        let identity = self.serve_identity(redis).await?;
        let profile = self.serve_profile(&identity, &[("RAPPORT__REDIS__URL", redis)]).await?;
        let gateway = self.place.gateway(&identity, &profile).await?;
        let (postgres, row) = self.interrupted(postgres, [&identity, &profile, &gateway]).await?;
        gateway.stop().await?;
        profile.stop().await?;
        identity.stop().await?;
        Ok((postgres, row))
    }

    async fn interrupted(
        &self,
        postgres: Postgres,
        processes: [&Process; 3],
    ) -> anyhow::Result<(Postgres, anyhow::Result<Row>)> {
        let before = self.count_events().await?;
        let seen = Arc::new(Seen::default());
        let mut clients = self.clients(processes[2], &seen).await?;
        tokio::time::sleep(LEAD_IN).await;
        let pids = processes.map(|process| process.pid);
        let base = resident(pids)?;
        postgres.stop().await?;
        let mut top = watch_memory(pids, self.plan.outage()).await?;
        let options = PostgresOptions::new(self.place.data().join("postgres"));
        let postgres = Postgres::start(&options).await?;
        let back = Instant::now();
        let recovery = recovery(&seen, back).await;
        top = top.max(watch_memory(pids, LEAD_OUT).await?);
        seen.stop.store(true, Ordering::Relaxed);
        let mut ended = Ok(());
        while let Some(client) = clients.join_next().await {
            ended = ended.and(client.map_err(Into::into).and_then(|client| client));
        }
        let after = self.count_events().await?;
        let row = ended.and(recovery).and_then(|recovery| {
            let observed = Observed { growth_mib: top - base, recovery };
            row(&seen, &observed, after - before)
        });
        Ok((postgres, row))
    }

    async fn count_events(&self) -> anyhow::Result<u64> {
        let mut profile = PgConnection::connect(&self.place.database("profile")).await?;
        let count: i64 = sqlx::query_scalar(EVENT_COUNT).fetch_one(&mut profile).await?;
        Ok(count.try_into()?)
    }

    async fn clients(
        &self,
        gateway: &Process,
        seen: &Arc<Seen>,
    ) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
        let (address, key) = (gateway.http()?, self.place.write_key().await?);
        let people = Arc::new(self.population.without_ledger());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (seen, people, key) = (Arc::clone(seen), Arc::clone(&people), key.clone());
            let mut random = Random::new(900_000 + number);
            clients.spawn(async move {
                let mut http = None;
                while !seen.stop.load(Ordering::Relaxed) {
                    let body = people.segment_body(EVENTS, &mut random);
                    deliver(&mut http, || Http::connect(address, &key), body, &seen).await?;
                    seen.taken(number);
                }
                Ok(())
            });
        }
        Ok(clients)
    }
}

/// Repeats a body until it is taken.
async fn deliver<F: Future<Output = anyhow::Result<Http>>>(
    http: &mut Option<Http>,
    connect: impl Fn() -> F,
    body: Bytes,
    seen: &Seen,
) -> anyhow::Result<()> {
    loop {
        let mut connection = match http.take() {
            Some(connection) => connection,
            None => connect().await?,
        };
        let Ok(answer) = connection.post("/v1/batch", body.clone()).await else {
            seen.answered(0);
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        *http = Some(connection);
        seen.answered(answer.status.as_u16());
        match answer.status {
            StatusCode::OK => {
                let said = String::from_utf8_lossy(&answer.body);
                ensure!(said == r#"{"success":true}"#, "an event was refused: {said}");
                return Ok(());
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = answer.retry_after()?;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
            }
            status => anyhow::bail!("{status}, on which clients drop what they have"),
        }
    }
}

/// From `back` until the first client was taken again, and until all were.
async fn recovery(seen: &Seen, back: Instant) -> anyhow::Result<[Duration; 2]> {
    let mut first = None;
    loop {
        let count = seen.since(back);
        if count > 0 {
            first.get_or_insert_with(|| back.elapsed());
        }
        if let (Some(first), true) = (first, count == CLIENTS) {
            return Ok([first, back.elapsed()]);
        }
        ensure!(back.elapsed() < Duration::from_secs(60), "{count} clients of {CLIENTS} came back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn resident(pids: [u32; 3]) -> anyhow::Result<f64> {
    pids.into_iter().map(cpu::resident_mib).sum()
}

/// The most memory that was seen in that time, in MiB.
async fn watch_memory(pids: [u32; 3], time: Duration) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let mut top: f64 = 0.0;
    while begin.elapsed() < time {
        top = top.max(resident(pids)?);
        tokio::time::sleep(LOOK).await;
    }
    Ok(top)
}

fn row(seen: &Seen, observed: &Observed, stored: u64) -> anyhow::Result<Row> {
    let taken = seen.taken.load(Ordering::Relaxed);
    let answers = seen.answers.lock().unwrap_or_else(PoisonError::into_inner);
    let codes: Vec<_> = answers.iter().map(|(code, count)| format!("{code}: {count}")).collect();
    let refused = answers.iter().any(|(code, _)| matches!(code, 429 | 503));
    let [first, all] = observed.recovery;
    let lost = i64::try_from(taken)? - i64::try_from(stored)?;
    Ok(Row {
        measured: format!(
            "{} events taken, {lost} lost; +{:.0} MiB; back after {:.1} s (all {:.1} s)",
            thousands(taken as f64),
            observed.growth_mib,
            first.as_secs_f64(),
            all.as_secs_f64(),
        ),
        latency: format!("answers {}", codes.join(", ")),
        target: "≤ 128 MiB, 503/429, ≤ 5 s, 0 lost".to_owned(),
        reached: Some(
            lost == 0 && refused && observed.growth_mib <= MAX_GROWTH_MIB && all <= MAX_RECOVERY,
        ),
        ..Row::default()
    })
}
