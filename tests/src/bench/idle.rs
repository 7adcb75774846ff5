//! After the load: when the suite has caught up, and what it costs to keep it waiting.

use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection};

use super::cpu;
use super::process::Place;

const SERVICES: [&str; 5] = ["identity", "profile", "scoring", "routing", "feedback"];
const STEP: Duration = Duration::from_millis(250);
const STILL_STEPS: u32 = 6;

const HEAD: &str = "select coalesce(max(seq), 0) from feed";
const POSITIONS: &str =
    "select consumer, max(position) from checkpoint group by consumer order by consumer";

/// The change logs of all services, and how far their consumers are.
#[derive(Debug, PartialEq, Eq)]
struct Feeds {
    heads: Vec<i64>,
    /// Named `consumer.producer`.
    positions: Vec<(String, i64)>,
}

impl Feeds {
    async fn read(databases: &mut [PgConnection]) -> anyhow::Result<Self> {
        let mut feeds = Self { heads: Vec::new(), positions: Vec::new() };
        for database in databases {
            feeds.heads.push(sqlx::query_scalar(HEAD).fetch_one(&mut *database).await?);
            feeds
                .positions
                .extend(sqlx::query_as::<_, (String, i64)>(POSITIONS).fetch_all(database).await?);
        }
        Ok(feeds)
    }

    /// Entries that some consumer has not applied.
    fn behind(&self) -> i64 {
        let head = |consumer: &str| {
            let producer = consumer.rsplit('.').next()?;
            self.heads.get(SERVICES.iter().position(|service| *service == producer)?)
        };
        let lag = |(name, position): &(String, i64)| head(name).map_or(0, |head| head - position);
        self.positions.iter().map(lag).max().unwrap_or(0)
    }
}

/// Waits until no change log and no consumer of one moves any more; says how that went.
pub(crate) async fn settle(place: &Place, limit: Duration) -> anyhow::Result<String> {
    let mut databases = Vec::new();
    for service in SERVICES {
        databases.push(PgConnection::connect(&place.database(service)).await?);
    }
    let begin = Instant::now();
    let mut last = Feeds::read(&mut databases).await?;
    let mut still = 0;
    while begin.elapsed() < limit {
        tokio::time::sleep(STEP).await;
        let now = Feeds::read(&mut databases).await?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still == STILL_STEPS {
            break;
        }
    }
    let seconds = begin.elapsed().saturating_sub(STEP * still).as_secs_f64();
    let behind = last.behind();
    Ok(match (still == STILL_STEPS, behind) {
        (true, 0) => format!("every consumer caught up {seconds:.1} s"),
        (true, _) => format!("consumers STOPPED with {behind} entries to go {seconds:.1} s"),
        (false, _) => {
            format!("consumers had NOT caught up ({behind} entries to go) {seconds:.0} s")
        }
    })
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
