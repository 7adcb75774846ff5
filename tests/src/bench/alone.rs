//! Phases with identity and profile alone, on the data that the suite left.

use embedded::{Postgres, PostgresOptions, Redis, RedisOptions};
use sqlx::{Connection as _, PgConnection};

use super::process::Process;
use super::run::Bench;
use super::table::Row;
use super::turns::Side;
use super::{door, floor, reads};

impl Bench {
    /// Phases with identity and profile alone, on the data that the suite left.
    pub(crate) async fn parts_alone(&mut self, progress: &impl Fn(&str)) -> anyhow::Result<()> {
        let data = self.place.data();
        let postgres = Postgres::start(&PostgresOptions::new(data.join("postgres"))).await?;
        let redis = Redis::start(&RedisOptions::new(data.join("redis"))).await?;
        progress("ingest over StreamEvents, consumers off, by turns with its floor");
        let row = self.ingest_alone(&redis.url()).await;
        self.report.add(1, "StreamEvents, consumers off (`serve` identity and profile only)", row);
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

    async fn ingest_alone(&self, redis: &str) -> anyhow::Result<Row> {
        let identity = self.serve_identity(redis).await?;
        let profile = self.serve_profile(&identity, &[("RAPPORT__REDIS__URL", redis)]).await?;
        let pids = vec![identity.pid, profile.pid];
        let side = Side { process: &profile, pids, consumers: false, seed: 2 };
        let row = self.ingest_beside_floor(&side).await;
        profile.stop().await?;
        identity.stop().await?;
        row
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
