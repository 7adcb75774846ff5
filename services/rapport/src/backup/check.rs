//! Restores a backup into a Postgres of its own, looks whether everything is there, and throws it
//! away.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::backup::{Database, Manifest, Repository, Verified};
use anyhow::{Context as _, bail, ensure};
use embedded::{Care, OnDrop, Postgres, PostgresOptions};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::scratch::{Until, recovery, room, unpack};
use super::{Target, blocking, instant};

/// A large log takes its time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(6 * 3_600);
const FEED: &str = "select count(*), coalesce(min(seq), 1), coalesce(max(seq), 0) from feed";
/// Evidence that was erased and is there as of before.
const UNERASED: &str = "select count(*) from erasure e \
     cross join lateral unnest(e.evidence_ids, e.map_versions) as erased(id, version) \
     join evidence v on v.tenant_id = e.tenant_id and v.evidence_id = erased.id \
         and v.map_version <= erased.version";
/// What profile says that it has erased.
const CARRIED_OUT: &str = "select e.seq, e.tenant_id, e.evidence_ids, e.map_versions from erasure e \
     join receipt r on r.tenant_id = e.tenant_id and r.part_id = e.part_id and r.service = 'profile' \
     where e.seq > $1 order by e.seq limit 100";
const KEYS_LEFT: &str = "select count(*) from unnest($2::uuid[], $3::bigint[]) as erased(id, version) \
     join fragment f on f.tenant_id = $1 and f.evidence_id = erased.id \
         and f.map_version <= erased.version and f.wrapped_key is not null";

/// Checks a backup and writes the result into its manifest.
///
/// # Errors
/// When it is not good, or could not be checked. Both stand in the manifest, except that there was
/// no room or nobody waited for the end.
pub async fn check(
    repository: &Repository,
    manifest: &Manifest,
    directory: &Path,
    pg_bin: Option<&Path>,
    cancel: &CancellationToken,
) -> anyhow::Result<Manifest> {
    let began = Instant::now();
    let mut checked = manifest.clone();
    let place = Scratch::new(directory, pg_bin)?;
    // Says nothing about the backup: it stays unchecked, and is checked when there is room.
    let (from, of, to) = (repository.clone(), manifest.clone(), place.directory.clone());
    blocking(move || room(&from, &of, Until::Counted, &to))
        .await
        .context("the backup was not checked (backup.scratch may be on another disk)")?;
    let found = tokio::select! {
        found = attempt(repository, manifest, &place) => found,
        () = cancel.cancelled() => bail!("the check was given up: the suite is stopping"),
    };
    drop(place);
    match &found {
        Ok(()) => {
            let milliseconds = u64::try_from(began.elapsed().as_millis())?;
            checked.verified = Some(Verified { at: Timestamp::now(), milliseconds });
            checked.failure = None;
            tracing::info!(event = "backup_verified", id = checked.id, milliseconds);
        }
        Err(error) => {
            checked.verified = None;
            checked.failure = Some(format!("{error:#}"));
            tracing::error!(
                event = "backup_not_good",
                id = checked.id,
                error = format!("{error:#}")
            );
        }
    }
    let (amended, place) = (checked.clone(), repository.clone());
    blocking(move || Ok(place.amend(&amended)?)).await?;
    found.with_context(|| format!("the backup {} is not good", checked.id))?;
    Ok(checked)
}

/// Ends and removes what a killed check left.
pub(super) fn clear(directory: &Path) -> anyhow::Result<()> {
    if directory.exists() { Scratch::new(directory, None).map(drop) } else { Ok(()) }
}

/// The place of a check; empty before and after.
struct Scratch {
    options: PostgresOptions,
    directory: PathBuf,
}

impl Scratch {
    fn new(directory: &Path, pg_bin: Option<&Path>) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)
            .with_context(|| format!("creating {}", directory.display()))?;
        let directory = directory.canonicalize()?.join("check");
        let mut options = PostgresOptions::new(&directory);
        options.bin = pg_bin.map(Path::to_owned);
        options.durable = false;
        options.max_connections = 20;
        options.shared_buffers_mib = 32;
        options.care =
            Care { supervise: false, on_drop: OnDrop::Stop, start_limit: RECOVERY_LIMIT };
        // A killed check leaves its server.
        options.end_remains()?;
        let place = Self { options, directory };
        place.empty().with_context(|| format!("emptying {}", place.directory.display()))?;
        Ok(place)
    }

    fn empty(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self
            .options
            .end_remains()
            .map_err(anyhow::Error::from)
            .and_then(|()| self.empty().map_err(anyhow::Error::from))
        {
            tracing::warn!(event = "scratch_not_removed", %error);
        }
    }
}

async fn attempt(
    repository: &Repository,
    manifest: &Manifest,
    place: &Scratch,
) -> anyhow::Result<()> {
    let (from, of, mut options) = (repository.clone(), manifest.clone(), place.options.clone());
    let to = options.clone();
    blocking(move || unpack(&from, &of, &to, Until::Counted)).await?;
    options.settings = recovery(manifest, Until::Counted);
    options.settings.push(("autovacuum".to_owned(), "off".to_owned()));
    let postgres = Postgres::start(&options).await.context("recovering the backup")?;
    let target = Target::new(&postgres.url("postgres"), PathBuf::new(), None)?;
    let mut looked = Ok(());
    for database in &manifest.databases {
        looked = look(&target, database, manifest.counted)
            .await
            .with_context(|| format!("in the restored database {}", database.name));
        if looked.is_err() {
            break;
        }
    }
    let has = |name: &str| manifest.databases.iter().any(|database| database.name == name);
    if looked.is_ok() && has("identity") && has("profile") {
        looked = erased(&target).await.context("looking for who was erased");
    }
    postgres.stop().await?;
    looked
}

async fn look(target: &Target, wanted: &Database, counted: bool) -> anyhow::Result<()> {
    let mut session = target.connect(&wanted.name).await?;
    let found = instant::schema(&wanted.name, &mut session).await?;
    ensure!(found.migrations == wanted.migrations, "the migrations are not those of the backup");
    if counted {
        let tables = instant::count(&mut session).await?;
        for (found, wanted) in tables.iter().zip(&wanted.tables) {
            ensure!(
                found == wanted,
                "{} has {} rows, {} had {}",
                found.name,
                found.rows,
                wanted.name,
                wanted.rows
            );
        }
        ensure!(tables.len() == wanted.tables.len(), "tables are missing");
    }
    let (rows, first, last): (i64, i64, i64) = sqlx::query_as(FEED).fetch_one(&mut session).await?;
    ensure!(rows == last - first + 1, "the feed has {rows} entries from {first} to {last}");
    Ok(())
}

/// Nobody who was erased before the backup is in it: no evidence, and no key for what profile has.
async fn erased(target: &Target) -> anyhow::Result<()> {
    let mut identity = target.connect("identity").await?;
    let left: i64 = sqlx::query_scalar(UNERASED).fetch_one(&mut identity).await?;
    ensure!(left == 0, "identity still has {left} evidence that was erased");
    let mut profile = target.connect("profile").await?;
    let mut after = 0_i64;
    loop {
        let rows: Vec<(i64, Uuid, Vec<Uuid>, Vec<i64>)> =
            sqlx::query_as(CARRIED_OUT).bind(after).fetch_all(&mut identity).await?;
        let Some((last, ..)) = rows.last() else { return Ok(()) };
        after = *last;
        for (_, tenant, evidence, versions) in rows {
            let query = sqlx::query_scalar(KEYS_LEFT).bind(tenant).bind(evidence).bind(versions);
            let left: i64 = query.fetch_one(&mut profile).await?;
            ensure!(left == 0, "profile still has the keys of {left} erased evidence");
        }
    }
}
