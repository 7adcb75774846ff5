//! Makes one backup.

use ::backup::archive::Segment;
use ::backup::{Database, Draft, LedgerPosition, Manifest, Part, Repository, write_sealed};
use anyhow::{Context as _, bail};
use jiff::Timestamp;
use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;

use super::instant::{self, Instant};
use super::ship::open_ledger;
use super::{Target, base, blocking, claim, export};
use crate::suite::SERVICES;

const SLOT: &str = "select pg_create_physical_replication_slot($1, true, true)";
const SWITCH: &str = "select pg_switch_wal()";
const FACTS: &str = "select current_setting('server_version'), \
     pg_size_bytes(current_setting('wal_segment_size')), \
     (select timeline_id from pg_control_checkpoint())";
const DATABASES: &str = "select datname::text from pg_database where datallowconn order by 1";
const READ: &str = "select pg_read_binary_file('pg_wal/' || $1, $2, $3)";
const CHUNK: i64 = 1 << 20;

/// What is needed to make one.
#[derive(Debug)]
pub struct Job<'a> {
    /// What is backed up.
    pub target: &'a Target,
    /// Where to.
    pub repository: &'a Repository,
    /// Gives it up.
    pub cancel: CancellationToken,
}

/// Makes a backup, not yet checked. Refused while another one is being made in the same place.
///
/// # Errors
/// What failed; there is no backup then.
pub async fn make(job: &Job<'_>) -> anyhow::Result<Manifest> {
    let _claim = claim(job.repository).await?;
    let began = Timestamp::now();
    let draft = job.repository.draft(began)?;
    tracing::info!(event = "backup_begins", id = draft.id);
    let repository = job.repository.clone();
    let publish = async {
        let manifest = fill(job, &draft, began).await?;
        let (repository, draft) = (repository.clone(), draft.clone());
        blocking(move || {
            repository.publish(&draft, &manifest)?;
            Ok(manifest)
        })
        .await
    };
    let published = publish.await;
    match &published {
        Ok(manifest) => {
            let bytes = manifest.parts.iter().map(|part| part.bytes).sum::<u64>();
            let counted = manifest.counted;
            tracing::info!(event = "backup_made", id = manifest.id, bytes, counted);
        }
        Err(_) => {
            // It would lie there until one succeeds; whatever stays goes with the next prune.
            if let Err(error) = blocking(move || Ok(repository.discard(&draft)?)).await {
                tracing::warn!(event = "draft_not_removed", error = format!("{error:#}"));
            }
        }
    }
    published
}

/// Fills a draft; answers what its manifest says.
async fn fill(job: &Job<'_>, draft: &Draft, began: Timestamp) -> anyhow::Result<Manifest> {
    let mut session = job.target.connect("postgres").await?;
    let (postgres, segment_bytes, timeline): (String, i64, i32) =
        sqlx::query_as(FACTS).fetch_one(&mut session).await?;
    let (segment_bytes, timeline) = (u64::try_from(segment_bytes)?, u32::try_from(timeline)?);
    let there: Vec<String> = sqlx::query_scalar(DATABASES).fetch_all(&mut session).await?;
    let ours: Vec<String> =
        there.into_iter().filter(|name| SERVICES.contains(&name.as_str())).collect();
    if ours.is_empty() {
        bail!("this Postgres has none of the databases {}", SERVICES.join(", "));
    }
    // Ends with the session: no kill leaves a slot that keeps log for ever.
    sqlx::query(SLOT)
        .bind(format!("rapport_{}", draft.id.to_lowercase().replace('-', "_")))
        .execute(&mut session)
        .await
        .context("making a temporary replication slot (the role needs REPLICATION)")?;
    let base = base::take(job.target, job.repository.key(), draft, &job.cancel).await?;
    let instant = tokio::select! {
        marked = instant::mark(job.target, &draft.id, &ours) => marked?,
        () = job.cancel.cancelled() => bail!("the backup was given up: the suite is stopping"),
    };
    let first = Segment::at(timeline, base.end, segment_bytes);
    let last = Segment::at(timeline, instant.position, segment_bytes);
    sqlx::query(SWITCH).execute(&mut session).await.context("finishing a segment of the log")?;
    let mut parts = vec![base.part];
    for number in first.number..=last.number {
        let name = Segment { timeline, number }.name(segment_bytes);
        parts.push(log_file(job, &mut session, draft, &name, segment_bytes).await?);
    }
    let ledger = ledger(job, &ours).await?;
    let Instant { name: restore_point, counted, databases, .. } = instant;
    Ok(Manifest {
        format: Manifest::format(),
        id: draft.id.clone(),
        began,
        time: Timestamp::now(),
        incarnation: job.target.incarnation,
        postgres,
        timeline,
        segment_bytes,
        first_segment: first.number,
        restore_point,
        databases: sorted(databases),
        counted,
        ledger,
        parts,
        plain_bytes: base.plain_bytes,
        verified: None,
        failure: None,
    })
}

fn sorted(mut databases: Vec<Database>) -> Vec<Database> {
    databases.sort_by(|a, b| a.name.cmp(&b.name));
    databases
}

/// What a log file of a backup is sealed as.
pub(super) fn log_label(id: &str, name: &str) -> String {
    format!("backup/{id}/wal/{name}")
}

/// Reads a finished segment through the session and seals it: works for a server far away as well.
async fn log_file(
    job: &Job<'_>,
    session: &mut PgConnection,
    draft: &Draft,
    name: &str,
    segment_bytes: u64,
) -> anyhow::Result<Part> {
    let mut content: Vec<u8> = Vec::with_capacity(usize::try_from(segment_bytes)?);
    while (content.len() as u64) < segment_bytes {
        let offset = i64::try_from(content.len())?;
        let query = sqlx::query_scalar(READ).bind(name).bind(offset).bind(CHUNK);
        let chunk: Vec<u8> = query.fetch_one(&mut *session).await.with_context(|| {
            format!("reading {name} (the role must be allowed pg_read_binary_file)")
        })?;
        if chunk.is_empty() {
            bail!("{name} is shorter than a segment");
        }
        content.extend_from_slice(&chunk);
    }
    let path = draft.directory.join("wal").join(format!("{name}.sealed"));
    let (key, label) = (job.repository.key().clone(), log_label(&draft.id, name));
    let mut part =
        blocking(move || Ok(write_sealed(&path, &key, &label, &mut content.as_slice())?)).await?;
    part.file = format!("wal/{}", part.file);
    Ok(part)
}

/// Brings the ledger of erasures up to date.
async fn ledger(job: &Job<'_>, databases: &[String]) -> anyhow::Result<LedgerPosition> {
    let mut ledger = open_ledger(job.repository).await?;
    if databases.iter().any(|name| name == "identity") {
        let url = job.target.url("identity");
        let mut options = store::database::Options::new(url, "rapport-backup");
        options.max_connections = 1;
        let database = store::Database::connect(&options).await?;
        let exported = export(&database, ledger, 0).await;
        database.close().await;
        (ledger, _) = exported?;
    }
    Ok(LedgerPosition { entries: ledger.entries() })
}
