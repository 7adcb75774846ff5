//! `rapport export`: everything of a kind into one file, through the public API.
//!
//! Pages are read one after the other in an order that stays the same, and written by a thread of
//! their own; what is held in memory is a few pages, whatever the file's size. The file has
//! another name until it is whole. What depends on the time is of the instant at which the export
//! began; what changes while it runs is in the file as it was when its page was read.
//!
//! Deliberately absent: formulas, nested columns, and going on after an interruption.

mod csv;
mod parquet;
mod source;
mod table;
mod xlsx;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use tokio::sync::mpsc;

use self::source::Source;
use self::table::{Column, Row};
use crate::client::Client;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum What {
    /// One row for each customer.
    Profiles,
    /// One row for each customer and scorer.
    Scores,
    /// One row for each demand.
    Demands,
    /// One row for each demand that has an outcome.
    Outcomes,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::Profiles => "profiles",
            Self::Scores => "scores",
            Self::Demands => "demands",
            Self::Outcomes => "outcomes",
        }
    }
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Comma-separated values, UTF-8.
    Csv,
    /// An Excel workbook.
    Xlsx,
    /// Apache Parquet.
    Parquet,
}

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    /// What.
    pub what: What,
    /// In which form.
    pub format: Format,
    /// Where to.
    pub output: PathBuf,
    /// Whether a file that is there may be replaced.
    pub overwrite: bool,
    /// Only these attributes of profiles; all that may be shown if empty.
    pub traits: Vec<String>,
    /// Personal attributes too.
    pub with_personal: bool,
    /// CSV as it is: no apostrophe before what a spreadsheet may take for a formula.
    pub raw: bool,
}

/// What was done.
#[derive(Debug)]
pub struct Summary {
    /// Without headers.
    pub rows: u64,
    /// How long it took.
    pub took: Duration,
}

/// Pages between the one who reads and the one who writes.
const WAITING: usize = 2;
const OFTEN: Duration = Duration::from_millis(250);

/// Exports.
///
/// # Errors
/// When the options do not fit, a service does not answer or refuses, or the file cannot be
/// written. Then there is no new file.
pub async fn run(options: &Options, client: &Client) -> anyhow::Result<Summary> {
    if options.what != What::Profiles && (options.with_personal || !options.traits.is_empty()) {
        bail!("only profiles have attributes: leave --traits and --with-personal out");
    }
    if options.raw && options.format != Format::Csv {
        bail!("--raw is for CSV: the other formats keep every text as it is");
    }
    let began = Instant::now();
    let unfinished = Unfinished::create(&options.output, options.overwrite)?;
    let mut source = Source::open(options, client).await?;
    let writer = Writer::new(options, unfinished.file.try_clone()?, source.columns())?;
    let (pages, waiting) = mpsc::channel(WAITING);
    let writing = tokio::task::spawn_blocking(move || write(writer, waiting));
    let read = read(&mut source, pages, began).await;
    // What the writer says is the cause when the reader found nobody who takes its pages.
    writing.await.context("the writer broke off")??;
    let rows = read?;
    unfinished.put_in_place()?;
    Ok(Summary { rows, took: began.elapsed() })
}

/// Hands over all pages, and the word that they were all.
async fn read(
    source: &mut Source,
    pages: mpsc::Sender<Option<Vec<Row>>>,
    began: Instant,
) -> anyhow::Result<u64> {
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(OFTEN);
    let mut rows = 0;
    let gone = "the writer broke off";
    while let Some(page) = source.page().await? {
        rows += page.len() as u64;
        pages.send(Some(page)).await.ok().context(gone)?;
        let rate = rows as f64 / began.elapsed().as_secs_f64().max(0.001);
        bar.set_message(format!("{rows} rows, {rate:.0} per second"));
    }
    pages.send(None).await.ok().context(gone)?;
    bar.finish_and_clear();
    Ok(rows)
}

/// Writes pages until there are no more; a reader that breaks off says nothing.
fn write(mut writer: Writer, mut pages: mpsc::Receiver<Option<Vec<Row>>>) -> anyhow::Result<()> {
    while let Some(page) = pages.blocking_recv() {
        let Some(page) = page else { return writer.finish() };
        for row in page {
            writer.write(row)?;
        }
    }
    Ok(())
}

enum Writer {
    Csv(Box<csv::Csv>),
    Xlsx(Box<xlsx::Xlsx>),
    Parquet(Box<parquet::Parquet>),
}

impl Writer {
    fn new(options: &Options, file: File, columns: &[Column]) -> anyhow::Result<Self> {
        Ok(match options.format {
            Format::Csv => Self::Csv(Box::new(csv::Csv::new(file, columns, options.raw)?)),
            Format::Xlsx => {
                Self::Xlsx(Box::new(xlsx::Xlsx::new(file, options.what.name(), columns)?))
            }
            Format::Parquet => Self::Parquet(Box::new(parquet::Parquet::new(file, columns)?)),
        })
    }

    fn write(&mut self, row: Row) -> anyhow::Result<()> {
        match self {
            Self::Csv(csv) => csv.write(&row),
            Self::Xlsx(xlsx) => xlsx.write(&row),
            Self::Parquet(parquet) => parquet.write(row),
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Csv(csv) => csv.finish(),
            Self::Xlsx(xlsx) => xlsx.finish(),
            Self::Parquet(parquet) => parquet.finish(),
        }
    }
}

/// The file under its other name; gone with this value unless it was put in its place.
struct Unfinished {
    file: File,
    path: PathBuf,
    output: PathBuf,
    done: bool,
}

impl Unfinished {
    fn create(output: &Path, overwrite: bool) -> anyhow::Result<Self> {
        let shown = output.display();
        if !overwrite && output.exists() {
            bail!("{shown} is there already: name another file, or say --overwrite");
        }
        let mut path = output.as_os_str().to_owned();
        path.push(".part");
        let path = PathBuf::from(path);
        let mut options = File::options();
        let opened = options.create(true).truncate(false).read(true).write(true).open(&path);
        let file = opened.with_context(|| format!("writing {}", path.display()))?;
        // Locked before it is emptied: it may be another one's.
        file.try_lock().ok().with_context(|| format!("another export writes {shown} just now"))?;
        file.set_len(0)?;
        Ok(Self { file, path, output: output.to_owned(), done: false })
    }

    fn put_in_place(mut self) -> anyhow::Result<()> {
        let output = self.output.display();
        std::fs::rename(&self.path, &self.output).with_context(|| format!("writing {output}"))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.done {
            let _best_effort = std::fs::remove_file(&self.path);
        }
    }
}
