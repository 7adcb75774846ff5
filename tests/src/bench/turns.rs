//! Ingest by turns with its floor, in the same minutes: the speed of a machine wanders.

use std::sync::Arc;

use sqlx::{Connection as _, PgConnection};

use super::ingest::{self, Streamed};
use super::meter::{Phase, Processes, wal_bytes};
use super::process::Process;
use super::run::{Bench, SETTLE};
use super::table::{Row, micros, per_second, percent, spread, thousands};
use super::{floor, idle};

const TURNS: u32 = 3;

/// Who takes the events, and who else is at work.
pub(crate) struct Side<'a> {
    /// The process that is called.
    pub(crate) process: &'a Process,
    /// The processes that count.
    pub(crate) pids: Vec<u32>,
    /// Wait for consumers after each turn: what they write belongs to the events.
    pub(crate) consumers: bool,
    /// Makes its events others than those of another side.
    pub(crate) seed: u64,
}

/// Write-ahead log, and the events that it was written for.
#[derive(Debug, Default)]
struct Wal {
    bytes: i64,
    events: u64,
}

impl Wal {
    fn per_event(&self) -> f64 {
        self.bytes as f64 / self.events.max(1) as f64
    }
}

/// What the turns showed.
#[derive(Default)]
struct Turns {
    streamed: Option<Streamed>,
    floor: Option<Phase>,
    wal: Wal,
    floor_wal: Wal,
}

impl Bench {
    /// Streams and writes the floor by turns.
    pub(crate) async fn ingest_beside_floor(&self, side: &Side<'_>) -> anyhow::Result<Row> {
        let mut admin = PgConnection::connect(&self.place.database("postgres")).await?;
        let url = self.place.database(floor::DATABASE);
        let mut connection = PgConnection::connect(&url).await?;
        let rows = Arc::new(floor::Rows::read(&mut connection).await?);
        sqlx::raw_sql("checkpoint").execute(&mut admin).await?;
        let time = self.plan.phase() / TURNS;
        let mut turns = Turns::default();
        for turn in 0..u64::from(TURNS) {
            let seed = side.seed * 10 + turn;
            let before = wal_bytes(&mut admin).await?;
            let nobody = self.processes(Vec::new())?;
            let (phase, written) = floor::write(&url, &rows, &nobody, (time, seed)).await?;
            let between = wal_bytes(&mut admin).await?;
            let streamed = self.stream_turn(side, (time, seed)).await?;
            let after = wal_bytes(&mut admin).await?;
            turns.floor_wal.bytes += between - before;
            turns.floor_wal.events += written;
            turns.wal.bytes += after - between;
            turns.wal.events += streamed.acknowledged;
            turns.add(streamed, phase);
        }
        turns.row()
    }

    async fn stream_turn(
        &self,
        side: &Side<'_>,
        turn: (std::time::Duration, u64),
    ) -> anyhow::Result<Streamed> {
        let processes: Processes = self.processes(side.pids.clone())?;
        let streamed =
            ingest::stream(side.process, &self.token, &self.population, &processes, turn).await?;
        if side.consumers {
            idle::settle(&self.place, SETTLE).await?;
        }
        Ok(streamed)
    }
}

impl Turns {
    fn add(&mut self, streamed: Streamed, floor: Phase) {
        match &mut self.streamed {
            Some(sum) => sum.absorb(streamed),
            None => self.streamed = Some(streamed),
        }
        match &mut self.floor {
            Some(sum) => sum.absorb(floor),
            None => self.floor = Some(floor),
        }
    }

    fn row(self) -> anyhow::Result<Row> {
        let (Some(streamed), Some(floor)) = (self.streamed, self.floor) else {
            anyhow::bail!("no turns");
        };
        let phase = &streamed.phase;
        let ratio = phase.rate() / floor.rate();
        Ok(Row {
            measured: per_second(phase.rate()),
            latency: format!("chunk {}", spread(&streamed.chunk_ms)),
            wal: format!(
                "{} / {} B",
                thousands(self.wal.per_event()),
                thousands(self.floor_wal.per_event())
            ),
            floor: per_second(floor.rate()),
            ratio: percent(ratio),
            service: micros(phase.service_us()),
            postgres: format!("{} / {}", micros(phase.postgres_us()), micros(floor.postgres_us())),
            target: "≥ 50 %, ≥ 8,000/s".to_owned(),
            reached: Some(ratio >= 0.5 && phase.rate() >= 8_000.0),
            ..Row::default()
        })
    }
}
