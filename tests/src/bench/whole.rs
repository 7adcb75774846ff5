//! Phases with all services in `rapport up`.

use std::time::Duration;

use super::latency::{self, Latencies, RATE};
use super::meter::quantile;
use super::process::Process;
use super::run::{Bench, HOT_CUSTOMERS, SETTLE};
use super::table::{Row, micros, per_second, spread};
use super::turns::Side;
use super::{idle, ingest, reads};

impl Bench {
    /// Phases with all services in `rapport up`.
    pub(crate) async fn whole_suite(
        &mut self,
        up: &Process,
        progress: &impl Fn(&str),
    ) -> anyhow::Result<()> {
        progress("ingest over StreamEvents, all services at work, by turns with its floor");
        let side = Side { process: up, pids: vec![up.pid], consumers: true, seed: 1 };
        let row = self.ingest_beside_floor(&side).await;
        self.report.add(0, "StreamEvents, 4 × chunks of 500, all services at work", row);
        progress("single events, 64 clients");
        let row = self.single(up).await;
        self.report.add(2, "IngestEvents, one event per call, 64 clients", row);
        self.settle("the single events").await?;
        progress("GetProfile, cached, by turns with its floor");
        let row = self.read_cached(up).await;
        self.report.add(3, "GetProfile, cached, beside an echo behind the same layers", row);
        progress("GetProfile as JSON, by turns with gRPC");
        let row = self.json_beside_grpc(up).await;
        self.report.add(10, "GetProfile as JSON (HTTP/1.1), beside gRPC", row);
        progress("batches over HTTP, by turns with StreamEvents");
        let row = self.batches(up).await;
        self.report.add(8, "/v1/batch, 100 events, 16 connections, beside StreamEvents", row);
        progress("single events over HTTP, 64 connections");
        let row = self.tracks(up).await;
        self.report.add(9, "/v1/track, one event per call, 64 connections", row);
        self.settle("the events over HTTP").await?;
        progress("event acknowledged → new score, 500/s");
        let row = self.scores(up).await;
        self.report.add(5, "event acknowledged → new score on WatchScores, 500/s", row);
        progress("demand created → offer, 500/s");
        let row = self.offers(up).await;
        self.report.add(6, "demand created → offer on WatchOffers, 500/s", row);
        progress("an import of orders, twice");
        let row = self.import(up).await;
        self.report.add(11, "`rapport import` of orders, ten of each customer", row);
        progress("idle after the load");
        self.settle("the offers").await?;
        let row = self.idle(up).await;
        self.report.add(7, "`rapport up` idle after the load (own process)", row);
        Ok(())
    }

    async fn settle(&mut self, what: &str) -> anyhow::Result<()> {
        let settled = idle::settle(&self.place, SETTLE).await?;
        self.report.remark(format!("{settled} after {what}"));
        Ok(())
    }

    async fn single(&self, up: &Process) -> anyhow::Result<Row> {
        let processes = self.processes(vec![up.pid])?;
        let time = self.plan.short();
        let (phase, ms) =
            ingest::single(up, &self.token, &self.population, &processes, time).await?;
        Ok(Row {
            measured: per_second(phase.rate()),
            latency: spread(&ms),
            service: micros(phase.service_us()),
            postgres: micros(phase.postgres_us()),
            target: "≥ 2,000/s".to_owned(),
            reached: Some(phase.rate() >= 2_000.0),
            ..Row::default()
        })
    }

    async fn read_cached(&self, up: &Process) -> anyhow::Result<Row> {
        let hot = &self.customers[..self.customers.len().min(HOT_CUSTOMERS)];
        let answer = reads::sample(up, &self.token, &self.customers).await?;
        let path = self.place.answer(&answer)?;
        let door = self.place.door(&["--answer", &path]).await?;
        let row = self.read_beside((up, &door), hot, 0.6).await;
        door.stop().await?;
        row
    }

    /// How many calls a latency phase makes, its first second included.
    fn calls(&self) -> usize {
        RATE as usize * (self.plan.phase().as_secs() as usize + 1)
    }

    async fn scores(&self, up: &Process) -> anyhow::Result<Row> {
        // The least busy ones: each call is to be the only news about its customer.
        let people = self.population.people();
        let people: Vec<usize> = (people - self.calls()..people).rev().collect();
        let seen = latency::scores(up, &self.token, &self.population, &people).await?;
        Ok(latency_row(&seen))
    }

    async fn offers(&self, up: &Process) -> anyhow::Result<Row> {
        let customers = &self.customers[..self.calls()];
        Ok(latency_row(&latency::offers(up, &self.token, customers).await?))
    }

    async fn idle(&self, up: &Process) -> anyhow::Result<Row> {
        let time = Duration::from_secs(if self.plan.quick { 3 } else { 10 });
        let seen = idle::observe(up.pid, time).await?;
        Ok(Row {
            measured: format!("{:.0} MiB, {:.1} % of one core", seen.mib, seen.percent),
            target: "≤ 256 MiB, ≤ 2 %".to_owned(),
            reached: Some(seen.mib <= 256.0 && seen.percent <= 2.0),
            ..Row::default()
        })
    }
}

fn latency_row(seen: &Latencies) -> Row {
    let quantile = |q| quantile(seen.effect_ms.clone(), q);
    let calls = match seen.refused {
        0 => format!("{} calls", seen.effect_ms.len()),
        refused => format!("{refused} calls REFUSED, {} taken", seen.effect_ms.len()),
    };
    Row {
        measured: format!("{calls}; from their appointed time {}", spread(&seen.whole_ms)),
        latency: spread(&seen.effect_ms),
        target: "p50 ≤ 15 ms, p99 ≤ 100 ms".to_owned(),
        reached: Some(seen.refused == 0 && quantile(0.5) <= 15.0 && quantile(0.99) <= 100.0),
        ..Row::default()
    }
}
