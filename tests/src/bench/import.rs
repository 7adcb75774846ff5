//! `rapport import` of a shop's orders, as a user runs it: how long, how much memory, and what a
//! second run changes. There are ten rows of each customer, and nobody was known before.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use super::cpu;
use super::load::Random;
use super::process::{Process, rapport};
use super::run::Bench;
use super::table::{Row, per_second, thousands};

const LOOK: Duration = Duration::from_millis(200);
const PER_CUSTOMER: usize = 10;
const MAX_SECONDS: f64 = 180.0;
const MAX_MIB: f64 = 300.0;
const MAPPING: &str = "\
source: bench-shop
zone: Asia/Shanghai
currency: CNY
columns:
  ordered_at: {as: time, format: \"%Y-%m-%d %H:%M:%S\"}
ledger:
  - type: order_completed
    entry: order_no
    amount: amount
    time: ordered_at
    identifiers:
      crm_id: {column: customer_no, prefix: \"bench-shop:\"}
      email: email
    properties:
      channel: channel
";

/// One run, as seen from outside.
struct Run {
    seconds: f64,
    mib: f64,
    new: u64,
    known: u64,
}

impl Bench {
    /// Imports the file twice.
    pub(crate) async fn import(&self, up: &Process) -> anyhow::Result<Row> {
        let rows = self.plan.orders();
        let directory = self.place.directory.clone();
        let file = tokio::task::spawn_blocking(move || orders(&directory, rows)).await??;
        let first = self.import_once(up, &file).await?;
        let second = self.import_once(up, &file).await?;
        ensure!(first.new == rows as u64, "{} of {rows} rows were new", first.new);
        let is_still = second.new == 0 && second.known == rows as u64;
        let is_fast = first.seconds * 1e6 <= MAX_SECONDS * rows as f64;
        let mib = first.mib.max(second.mib);
        Ok(Row {
            measured: format!(
                "{} rows in {:.0} s, {mib:.0} MiB",
                thousands(rows as f64),
                first.seconds
            ),
            latency: format!("again {:.0} s, {} new", second.seconds, second.new),
            floor: per_second(rows as f64 / first.seconds),
            target: "1 M in ≤ 180 s, ≤ 300 MB, 0 new".to_owned(),
            reached: Some(is_still && is_fast && mib <= MAX_MIB),
            ..Row::default()
        })
    }

    async fn import_once(&self, up: &Process, file: &Path) -> anyhow::Result<Run> {
        let begin = Instant::now();
        let child = Command::new(rapport()?)
            .arg("import")
            .arg(file)
            .arg("--mapping")
            .arg(file.with_extension("yaml"))
            .args(["--address", &format!("http://{}", up.rpc)])
            .env("RAPPORT_TOKEN", self.token.bearer()?.trim_start_matches("Bearer "))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = child.id().context("it has ended already")?;
        let mut ended = Box::pin(child.wait_with_output());
        let mut mib: f64 = 0.0;
        let output = loop {
            tokio::select! {
                output = ended.as_mut() => break output?,
                () = tokio::time::sleep(LOOK) => {
                    // Between its end and our hearing of it nothing can be read.
                    mib = mib.max(cpu::peak_mib(pid).unwrap_or_default());
                }
            }
        };
        let seconds = begin.elapsed().as_secs_f64();
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        ensure!(output.status.success(), "rapport import: {}", said.concat());
        let said = said.concat();
        Ok(Run {
            seconds,
            mib,
            new: count_before(&said, " events are new")?,
            known: count_before(&said, " were known")?,
        })
    }
}

/// The number before these words.
fn count_before(text: &str, words: &str) -> anyhow::Result<u64> {
    let (before, _) = text.split_once(words).with_context(|| format!("no{words:?} in {text:?}"))?;
    let number = before.rsplit(|letter: char| !letter.is_ascii_digit()).next();
    Ok(number.unwrap_or_default().parse()?)
}

/// Writes the file and its mapping.
fn orders(directory: &Path, rows: usize) -> anyhow::Result<PathBuf> {
    let path = directory.join("orders.csv");
    fs::write(path.with_extension("yaml"), MAPPING)?;
    let mut file = BufWriter::new(File::create(&path)?);
    writeln!(file, "order_no,customer_no,email,ordered_at,amount,channel,note")?;
    let mut random = Random::new(5);
    let mut line = String::new();
    for number in 0..rows {
        let customer = random.below(rows.div_ceil(PER_CUSTOMER));
        let (day, minute) = (number % 28 + 1, number % 60);
        line.clear();
        writeln!(
            line,
            "B{number},K{customer},customer{customer}@shop.example,\
             2026-0{}-{day:02} 1{}:{minute:02}:00,\"¥{},{:03}.50\",web,\"order {number}, green\"",
            number % 9 + 1,
            number % 10,
            number % 9 + 1,
            number % 1_000,
        )?;
        file.write_all(line.as_bytes())?;
    }
    file.flush()?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_import_says_is_read() {
        let said = "12 rows in 0.1 s: 7 events are new, 5 were known, 0 stand in the file twice";
        assert_eq!(count_before(said, " events are new").unwrap(), 7);
        assert_eq!(count_before(said, " were known").unwrap(), 5);
        assert!(count_before("nothing", " were known").is_err());
    }
}
