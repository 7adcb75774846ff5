//! Phases with identity and profile alone, and the floors, on the data that the suite left.

use std::sync::Arc;

use embedded::{Postgres, PostgresOptions, Redis, RedisOptions};
use sqlx::{Connection as _, PgConnection};

use super::ingest::{self, Streamed};
use super::meter::{Phase, wal_bytes};
use super::process::Process;
use super::run::Bench;
use super::table::{Row, micros, per_second, percent, spread, thousands};
use super::{door, floor, reads};

impl Bench {
    /// Phases with identity and profile alone, and the floors, on the data that the suite left.
    pub(crate) async fn parts_alone(&mut self, progress: &impl Fn(&str)) -> anyhow::Result<()> {
        let data = self.place.data();
        let postgres = Postgres::start(&PostgresOptions::new(data.join("postgres"))).await?;
        let redis = Redis::start(&RedisOptions::new(data.join("redis"))).await?;
        progress("floor of ingest: the same rows by SQL alone");
        let floor = self.ingest_floor().await;
        progress("ingest over StreamEvents, consumers off");
        let alone = self.ingest_alone(&redis.url()).await;
        self.ingest_rows(floor, alone);
        progress("GetProfile, uncached, by turns with its floor");
        if let Err(error) = self.reads().await {
            self.report.fail("GetProfile", &error);
        }
        progress("Postgres away under load");
        let (postgres, row) = self.outage(postgres, &redis.url()).await?;
        let seconds = self.plan.outage().as_secs();
        self.report.add(12, &format!("Postgres stopped for {seconds} s, 16 clients"), row);
        redis.stop().await?;
        postgres.stop().await?;
        Ok(())
    }

    async fn ingest_floor(&self) -> anyhow::Result<(Phase, f64)> {
        let mut admin = PgConnection::connect(&self.place.database("postgres")).await?;
        floor::clone_database(&mut admin).await?;
        let url = self.place.database(floor::DATABASE);
        let rows = Arc::new(floor::Rows::read(&mut PgConnection::connect(&url).await?).await?);
        sqlx::raw_sql("checkpoint").execute(&mut admin).await?;
        let before = wal_bytes(&mut admin).await?;
        let processes = self.processes(Vec::new())?;
        let (phase, written) = floor::write(&url, &rows, &processes, self.plan.phase()).await?;
        let wal = wal_bytes(&mut admin).await? - before;
        Ok((phase, wal as f64 / written as f64))
    }

    async fn ingest_alone(&self, redis: &str) -> anyhow::Result<(Streamed, f64)> {
        let identity = self.serve_identity(redis).await?;
        let profile = self.serve_profile(&identity, &[("RAPPORT__REDIS__URL", redis)]).await?;
        let mut admin = PgConnection::connect(&self.place.database("postgres")).await?;
        sqlx::raw_sql("checkpoint").execute(&mut admin).await?;
        let before = wal_bytes(&mut admin).await?;
        let processes = self.processes(vec![identity.pid, profile.pid])?;
        let time = (self.plan.phase(), 2);
        let streamed =
            ingest::stream(&profile, &self.token, &self.population, &processes, time).await;
        let wal = wal_bytes(&mut admin).await? - before;
        profile.stop().await?;
        identity.stop().await?;
        let streamed = streamed?;
        let wal_per_event = wal as f64 / streamed.acknowledged as f64;
        Ok((streamed, wal_per_event))
    }

    pub(crate) async fn serve_identity(&self, redis: &str) -> anyhow::Result<Process> {
        let url = self.place.database("identity");
        let settings = [("RAPPORT__DATABASE__URL", url.as_str()), ("RAPPORT__REDIS__URL", redis)];
        self.place.serve("identity", &settings).await
    }

    pub(crate) async fn serve_profile(
        &self,
        identity: &Process,
        more: &[(&str, &str)],
    ) -> anyhow::Result<Process> {
        let url = self.place.database("profile");
        let peer = format!("http://{}", identity.rpc);
        let mut settings =
            vec![("RAPPORT__DATABASE__URL", url.as_str()), ("RAPPORT__PEERS__IDENTITY", &peer)];
        settings.extend_from_slice(more);
        self.place.serve("profile", &settings).await
    }

    fn ingest_rows(
        &mut self,
        floor: anyhow::Result<(Phase, f64)>,
        alone: anyhow::Result<(Streamed, f64)>,
    ) {
        let floor = match floor {
            Ok(floor) => floor,
            Err(error) => return self.report.fail("the floor of ingest", &error),
        };
        if let Some(whole) = self.whole.take() {
            let row = ingest_row(&whole.streamed, whole.wal_per_event, &floor);
            self.report.add(0, "StreamEvents, 4 × chunks of 500, all services at work", Ok(row));
        }
        let row = alone.map(|(streamed, wal)| ingest_row(&streamed, wal, &floor));
        self.report.add(1, "StreamEvents, consumers off (`serve` identity and profile only)", row);
    }

    async fn reads(&mut self) -> anyhow::Result<()> {
        let identity = self.serve_identity("").await?;
        let uncached = [("RAPPORT__PROFILE__CACHED_PROFILES", "0")];
        let profile = self.serve_profile(&identity, &uncached).await?;
        let answer = reads::sample(&profile, &self.token, &self.customers).await?;
        self.report.remark(format!("GetProfile answers with {} bytes", answer.len()));
        let path = self.place.answer(&answer)?;
        // Neither side is to pay for what the ingest phases left behind.
        let mut profiles = PgConnection::connect(&self.place.database("profile")).await?;
        sqlx::raw_sql("vacuum analyze customer, fragment").execute(&mut profiles).await?;
        let url = self.place.database(floor::DATABASE);
        door::prepare(&mut PgConnection::connect(&url).await?, &answer).await?;
        let door = self.place.door(&["--answer", &path, "--database", &url]).await?;
        let row = self.read_beside((&profile, &door), &self.customers, 0.7).await;
        self.report.add(4, "GetProfile, uncached, beside one SELECT behind the same layers", row);
        door.stop().await?;
        profile.stop().await?;
        identity.stop().await
    }
}

fn ingest_row(streamed: &Streamed, wal_per_event: f64, floor: &(Phase, f64)) -> Row {
    let (phase, floor_phase) = (&streamed.phase, &floor.0);
    let ratio = phase.rate() / floor_phase.rate();
    Row {
        measured: per_second(phase.rate()),
        latency: format!("chunk {}", spread(&streamed.chunk_ms)),
        wal: format!("{} / {} B", thousands(wal_per_event), thousands(floor.1)),
        floor: per_second(floor_phase.rate()),
        ratio: percent(ratio),
        service: micros(phase.service_us()),
        postgres: format!(
            "{} / {}",
            micros(phase.postgres_us()),
            micros(floor_phase.postgres_us())
        ),
        target: "≥ 50 %, ≥ 8,000/s".to_owned(),
        reached: Some(ratio >= 0.5 && phase.rate() >= 8_000.0),
        ..Row::default()
    }
}
