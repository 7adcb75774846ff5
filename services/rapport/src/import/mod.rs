//! `rapport import`: files of other systems as events. A file is a [`table`], a [`mapping`]
//! says what its columns mean, a row becomes events ([`event`]), and those go through
//! `StreamEvents` in chunks ([`send`]).
//!
//! Invariants: every row is either acknowledged, repeated, left out by a condition, or in the
//! rejects with its line; a second run of the same file and mapping changes nothing; a run
//! that was killed goes on where it was acknowledged. Memory is bounded by the chunks under
//! way and the natural keys, not by the file (an Excel workbook's texts are held by its
//! reader).
//!
//! Deliberately absent: scripts in mappings, reading from a pipe (a file is read twice), and
//! a memory of earlier imports: the service knows its events.

mod book;
mod convert;
mod dry;
mod event;
mod infer;
mod mapping;
mod rejects;
mod row;
mod send;
mod state;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use contracts::profile::v1::ListTraitsRequest;
use contracts::profile::v1::profile_service_client::ProfileServiceClient;
use prost::Message as _;
use tokio::sync::mpsc;

use crate::apply::Finding;
use crate::client::Client;
use book::Book;
use event::Converter;
use mapping::Mapping;
use rejects::{Reject, Rejects};
use row::Item;
use send::Batch;
use state::State;
use table::encoding::{fingerprint, hex};
use table::{Reading, Table};

pub use mapping::keys::reference;
pub use state::Counts;

/// Events per chunk; the service takes as many.
const CHUNK_EVENTS: usize = 500;
/// Rows that became no event also end a batch, so that progress is kept.
const CHUNK_ROWS: u64 = 2_000;
/// Bytes of rows per batch: rows may be long.
const CHUNK_BYTES: usize = 1 << 20;

/// What to import and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file.
    pub file: PathBuf,
    /// The mapping.
    pub mapping: PathBuf,
    /// Where refused rows go; beside the file if absent.
    pub rejects: Option<PathBuf>,
    /// Where the position is kept; beside the file if absent.
    pub state: Option<PathBuf>,
    /// Go on where an earlier run was acknowledged.
    pub resume: bool,
    /// The sheet of a workbook, above the mapping's.
    pub sheet: Option<String>,
    /// The encoding, above the mapping's.
    pub encoding: Option<String>,
    /// How long a service may be away.
    pub patience: Duration,
}

/// What an import did.
#[derive(Debug)]
pub struct Summary {
    /// In numbers.
    pub counts: Counts,
    /// Where refused rows are, if there are any.
    pub rejects: Option<PathBuf>,
    /// How long it took.
    pub took: Duration,
}

/// A file and its mapping, ready to be read.
struct Prepared {
    table: Table,
    mapping: Mapping,
    source: String,
    warnings: Vec<String>,
}

impl Options {
    fn prepare(&self) -> anyhow::Result<Prepared> {
        let shown = self.mapping.display();
        let text = std::fs::read_to_string(&self.mapping)
            .with_context(|| format!("reading the mapping {shown}"))?;
        let read = mapping::read(&self.mapping, &text);
        let mut mapping = read.or_else(|findings| bail!(listed(&findings)))?;
        let mut reading = mapping.reading.clone();
        reading.sheet = self.sheet.clone().or(reading.sheet);
        reading.encoding = self.encoding.clone().or(reading.encoding);
        let table = Table::open(&self.file, &reading)?;
        mapping.bind(&table.header).or_else(|problems| {
            let at = |problem: &crate::apply::resource::Problem| Finding {
                file: Some(self.mapping.clone()),
                place: Some(problem.place),
                message: problem.message.clone(),
            };
            bail!(listed(&problems.iter().map(at).collect::<Vec<_>>()))
        })?;
        let source = mapping.source.clone().unwrap_or_else(|| source_of(&self.file));
        let warnings = warnings(&mapping, &source);
        Ok(Prepared { table, mapping, source, warnings })
    }

    /// What makes two runs the same import.
    fn state(&self, target: String) -> anyhow::Result<State> {
        let mapping = std::fs::read(&self.mapping)?;
        let told = format!("{:?} {:?}", self.sheet, self.encoding);
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&mapping);
        context.update(told.as_bytes());
        Ok(State {
            version: state::VERSION,
            file: fingerprint(&self.file)?,
            mapping: hex(context.finish().as_ref()),
            target,
            rows: 0,
            rejects_bytes: 0,
            counts: Counts::default(),
        })
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut path = self.file.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    }

    fn rejects(&self) -> PathBuf {
        self.rejects.clone().unwrap_or_else(|| self.beside(".rejects.csv"))
    }
}

/// Imports a file.
///
/// # Errors
/// When the mapping or the file is wrong as a whole, or the service does not take events;
/// with `resume` a further run goes on from there.
pub async fn run(options: &Options, client: &Client, token: &str) -> anyhow::Result<Summary> {
    let began = std::time::Instant::now();
    let prepared = options.prepare()?;
    let target = format!("{} {}", client.address(), tenant_of(token));
    let fresh = options.state(target)?;
    let path = options.state.clone().unwrap_or_else(|| options.beside(".import-state.json"));
    let state = match State::load(&path) {
        Ok(Some(earlier)) if options.resume => {
            earlier.check(&fresh)?;
            earlier
        }
        Ok(None) if options.resume => {
            bail!("{}: there is nothing to resume; run without --resume", path.display())
        }
        Err(error) if options.resume => return Err(error),
        _ => fresh,
    };
    let (done, rejects_path) = (state.rows, options.rejects());
    if rejects_path == options.file || rejects_path == options.mapping {
        bail!("the rejects cannot be written over {}", rejects_path.display());
    }
    let rejects = Rejects::open(&rejects_path, state.rejects_bytes)?;
    let undeclared = undeclared_traits(client, &prepared.mapping).await;
    let size = prepared.table.size;
    let mut book = Book::new(state, path, rejects, &prepared.mapping, size);
    book.save()?;
    for line in prepared.table.notes.iter().chain(&prepared.warnings).chain(&undeclared) {
        book.say(line);
    }
    let (batches, received) = mpsc::channel(2);
    let reading = tokio::task::spawn_blocking(move || produce(prepared, done, &batches));
    let sent = send::send(client, received, options.patience, &mut book).await;
    let read = reading.await.context("the reader was not finished")?;
    let outcome = sent.and(read.map(|_| ()));
    let counts = book.close(outcome.is_ok())?;
    outcome?;
    if counts.rows == 0 {
        bail!("{}: only a header, nothing to import", options.file.display());
    }
    let rejects = (counts.rejected_rows > 0).then_some(rejects_path);
    Ok(Summary { counts, rejects, took: began.elapsed() })
}

/// Reads and judges all rows; the first `done` ones are judged for their keys only.
fn produce(prepared: Prepared, done: u64, batches: &mpsc::Sender<Batch>) -> anyhow::Result<()> {
    let Prepared { table, mapping, source, .. } = prepared;
    let mut converter = Converter::new(mapping, source, table.header.clone());
    let per_row = converter.mapping().outputs.len();
    let mut filling = Filling { number: 1, per_row, ..Filling::default() };
    let mut row = 0_u64;
    table.rows(&mut |item| {
        row += 1;
        if row <= done {
            converter.judge(&item);
            return Ok(true);
        }
        filling.add(&mut converter, item);
        if filling.is_full() {
            // Closed when sending has failed: the reason is told there.
            return Ok(batches.blocking_send(filling.take()).is_ok());
        }
        Ok(true)
    })?;
    if row < done {
        bail!("the file has {row} rows, {done} were imported: it has changed");
    }
    if filling.batch.counts.rows > 0 {
        let _ = batches.blocking_send(filling.take()); // as above
    }
    Ok(())
}

/// A batch that is being filled.
#[derive(Default)]
struct Filling {
    batch: Batch,
    bytes: usize,
    number: i64,
    /// Events that a row becomes at most.
    per_row: usize,
}

impl Filling {
    fn add(&mut self, converter: &mut Converter, item: Item) {
        let judged = converter.judge(&item);
        let batch = &mut self.batch;
        batch.position = item.position;
        batch.counts.rows += 1;
        batch.counts.repeated += judged.repeated;
        self.bytes += item.raw.len();
        if !judged.faults.is_empty() {
            batch.counts.rejected_rows += 1;
            let rejects = judged.faults.into_iter().map(|fault| Reject {
                line: item.line,
                fault,
                raw: item.raw.clone(),
            });
            batch.rejects.extend(rejects);
            return;
        }
        if judged.events.is_empty() {
            batch.counts.skipped_rows += u64::from(judged.repeated == 0);
            return;
        }
        let row = batch.rows.len();
        batch.rows.push((item.line, item.raw));
        for event in judged.events {
            self.bytes += event.encoded_len();
            batch.row_of.push(row);
            batch.events.push(event);
        }
    }

    fn is_full(&self) -> bool {
        self.batch.events.len() + self.per_row > CHUNK_EVENTS
            || self.batch.counts.rows >= CHUNK_ROWS
            || self.bytes >= CHUNK_BYTES
    }

    fn take(&mut self) -> Batch {
        self.bytes = 0;
        let number = self.number;
        self.number += 1;
        Batch { number, ..std::mem::take(&mut self.batch) }
    }
}

/// Reads and converts everything and sends nothing.
///
/// # Errors
/// When the mapping or the file is wrong as a whole.
pub fn dry_run(options: &Options) -> anyhow::Result<DryRun> {
    let prepared = options.prepare()?;
    dry::run(prepared.table, prepared.mapping, prepared.source, prepared.warnings)
}

pub use dry::DryRun;

/// Proposes a mapping for a file: commented YAML.
///
/// # Errors
/// When the file cannot be read.
pub fn infer(
    file: &Path,
    sheet: Option<String>,
    encoding: Option<String>,
) -> anyhow::Result<String> {
    let reading = Reading { sheet, encoding, ..Reading::default() };
    let table = Table::open(file, &reading)?;
    infer::propose(file, &table, &reading)
}

fn listed(findings: &[Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// The file's name without its end, as far as a source may be long.
fn source_of(file: &Path) -> String {
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let mut source = stem.unwrap_or_else(|| "file".to_owned());
    while source.len() > 64 {
        source.pop();
    }
    source
}

fn warnings(mapping: &Mapping, source: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if mapping.source.is_none() {
        warnings.push(format!(
            "the mapping has no `source:`, so the file's name ({source}) is part of every natural \
             key: the same rows under another name count twice"
        ));
    }
    if mapping.assumes_zone {
        warnings.push("times without zone are read as UTC: say `zone:` in the mapping".to_owned());
    }
    for output in &mapping.outputs {
        if output.key.is_empty() && !matches!(output.kind, mapping::OutputKind::Record) {
            let path = &output.path;
            warnings.push(format!(
                "{path} has no `key`: the content of the row is its key, so equal rows count \
                 once and a row that is corrected later counts twice"
            ));
        }
    }
    warnings
}

/// Traits that profiles will not show, as far as the service can be asked.
async fn undeclared_traits(client: &Client, mapping: &Mapping) -> Vec<String> {
    let mut wanted: Vec<&str> = Vec::new();
    for (name, _) in mapping.outputs.iter().flat_map(|output| &output.traits) {
        if !wanted.contains(&name.as_str()) {
            wanted.push(name);
        }
    }
    let mut service = ProfileServiceClient::new(client.service());
    let mut page_token = String::new();
    while !wanted.is_empty() {
        let request = ListTraitsRequest { page_size: 1_000, page_token };
        // A token for ingest alone may not ask, and a service that is away is told later.
        let Ok(answer) = service.list_traits(request).await else { return Vec::new() };
        let answer = answer.into_inner();
        wanted.retain(|name| answer.traits.iter().all(|declared| declared.name != *name));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if wanted.is_empty() {
        return Vec::new();
    }
    let names = wanted.join(", ");
    vec![format!(
        "not declared, so kept with the events and not shown in profiles: {names} (declare them \
         with `rapport apply`, kind: Trait, before importing)"
    )]
}

/// The tenant that a token speaks for, unverified: only to notice that it is another one.
fn tenant_of(token: &str) -> String {
    let claims = token.trim().split('.').nth(1);
    let json = claims.and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims = json.and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok());
    let tenant = claims.as_ref().and_then(|claims| claims.get("tenant")?.as_str());
    tenant.unwrap_or_default().to_owned()
}
