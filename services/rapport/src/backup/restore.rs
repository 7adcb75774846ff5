//! Brings a backup back as a data directory for `rapport up`.
//!
//! Everything is made in `<target>.restoring`, which gets its name when all is done: a kill leaves
//! either nothing under the wanted name or the whole. Before anything serves: positions in feeds of
//! before are void (a new epoch), and everybody who was erased after the backup is erased again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ::backup::{Ledger, Listing, Manifest, Repository};
use anyhow::{Context as _, bail, ensure};
use embedded::{Care, OnDrop, Postgres, PostgresOptions};
use identity::erasure::LedgerRow;
use jiff::Timestamp;
use server::settings::Layer;
use store::{Cache, Database};

use super::scratch::{Unpacked, Until, recovery, room, unpack};
use super::{KEY_FILE, blocking, key, tell_refused};
use crate::suite::{Databases, Keys, Listeners, Options, SERVICES, assemble, private};

const RECOVERY_LIMIT: Duration = Duration::from_secs(12 * 3_600);
/// How long the other services may take over one more erasure.
const STANDSTILL: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(100);
const PAGE: usize = 500;
/// What Postgres says when the log ends before the wanted time (`xlogrecovery.c`).
const NOT_REACHED: &str = "recovery ended before configured recovery target was reached";

/// What shall be restored, and where to.
#[derive(Debug)]
pub struct Plan {
    /// The place of backups.
    pub from: PathBuf,
    /// The data directory to be; absent or empty.
    pub data: PathBuf,
    /// The keys of the installation, kept elsewhere: no backup has them.
    pub keys: PathBuf,
    /// Which backup; the newest good one if not said.
    pub backup: Option<String>,
    /// The moment to go back to; the end of the archived log if not said.
    pub until: Option<Timestamp>,
    /// Where Postgres' programs are.
    pub pg_bin: Option<PathBuf>,
    /// Settings of the services, which erase again.
    pub layers: Vec<Layer>,
}

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// The last segment of the log that was there.
    pub last_segment: String,
    /// The segment of the log that was missing or damaged, although there was more: what was written
    /// from it on is lost.
    pub broken_at: Option<String>,
    /// Whether the log went beyond the wanted moment; without one, true.
    pub reached: bool,
    /// Erasures that the backup did not know.
    pub erased_again: u64,
}

/// Restores.
///
/// # Errors
/// What is wrong with the target, the keys, the backup or the recovery; the target is untouched then.
pub async fn restore(plan: &Plan) -> anyhow::Result<Restored> {
    refuse_occupied(&plan.data)?;
    ensure!(
        plan.keys.join(KEY_FILE).is_file(),
        "{} is not there: give the directory in which the keys were kept (--keys)",
        plan.keys.join(KEY_FILE).display()
    );
    ensure!(plan.from.is_dir(), "{} is no directory of backups", plan.from.display());
    let repository = Repository::open(&plan.from, key(&plan.keys)?)?;
    let listing = repository.list()?;
    tell_refused(&listing.refused);
    let manifest = choose(&repository, &listing, plan)?;
    let erasures = erasures(&repository, &listing)?;
    let work = beside(&plan.data)?;
    let _claim = clear(&work).await?;
    let keys = copy_keys(&plan.keys, &work.join("keys"))?;
    tracing::info!(event = "restore_begins", id = manifest.id, time = %manifest.time);

    let until = plan.until.map_or(Until::Last, Until::Time);
    let mut options = private::postgres_options(&work, plan.pg_bin.as_deref());
    options.care = Care { supervise: false, on_drop: OnDrop::Stop, start_limit: RECOVERY_LIMIT };
    let (from, of, to) = (repository.clone(), manifest.clone(), options.clone());
    let unpacked = blocking(move || {
        room(&from, &of, until, &to.dir)?;
        unpack(&from, &of, &to, until)
    });
    let Unpacked { last: last_segment, broken_at } = unpacked.await?;
    let (postgres, reached) = recover(&mut options, &manifest, until).await?;
    // Damage behind the wanted moment does not matter.
    let broken_at = broken_at.filter(|_| plan.until.is_none() || !reached);
    let renewed = renew(plan, &work, &postgres, keys, &erasures).await;
    postgres.stop().await?;
    let erased_again = renewed?;
    fs::rename(&work, &plan.data)
        .with_context(|| format!("putting the result to {}", plan.data.display()))?;
    fs::File::open(parent(&plan.data))?.sync_all()?;
    tracing::info!(event = "restored", id = manifest.id, last_segment, erased_again);
    Ok(Restored { manifest, last_segment, broken_at, reached, erased_again })
}

/// Lets Postgres recover; false if the log ends before the wanted moment. Then nothing in it is later,
/// and all of it is the state of that moment.
async fn recover(
    options: &mut PostgresOptions,
    manifest: &Manifest,
    until: Until,
) -> anyhow::Result<(Postgres, bool)> {
    options.settings = recovery(manifest, until);
    let error = match Postgres::start(options).await {
        Ok(postgres) => return Ok((postgres, true)),
        Err(error) => error,
    };
    if !matches!(until, Until::Time(_)) || !error.to_string().contains(NOT_REACHED) {
        return Err(error).context("recovering the backup");
    }
    options.settings = recovery(manifest, Until::Last);
    let postgres = Postgres::start(options).await.context("recovering the backup")?;
    Ok((postgres, false))
}

fn refuse_occupied(data: &Path) -> anyhow::Result<()> {
    let mut entries = match fs::read_dir(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        listed => listed.with_context(|| format!("looking into {}", data.display()))?,
    };
    ensure!(
        entries.next().is_none(),
        "{} is not empty: restore to a new directory, and move the old one away if it shall be \
         replaced",
        data.display()
    );
    Ok(())
}

fn parent(data: &Path) -> &Path {
    data.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn beside(data: &Path) -> anyhow::Result<PathBuf> {
    let mut name = data.file_name().context("the data directory has no name")?.to_owned();
    name.push(".restoring");
    fs::create_dir_all(parent(data))
        .with_context(|| format!("creating {}", parent(data).display()))?;
    Ok(parent(data).canonicalize()?.join(name))
}

/// Takes the working directory and removes what a killed restore left in it.
async fn clear(work: &Path) -> anyhow::Result<fs::File> {
    fs::create_dir_all(work).with_context(|| format!("creating {}", work.display()))?;
    let claim = match embedded::lock(work, Duration::ZERO).await {
        Err(embedded::Error::Locked(_)) => {
            bail!("another restore is at work in {}", work.display())
        }
        taken => taken?,
    };
    private::postgres_options(work, None).end_remains()?;
    for name in ["postgres", "keys"] {
        match fs::remove_dir_all(work.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("emptying {}", work.display()));
            }
            _ => {}
        }
    }
    Ok(claim)
}

fn choose(repository: &Repository, listing: &Listing, plan: &Plan) -> anyhow::Result<Manifest> {
    if let Some(id) = &plan.backup {
        let named = repository.find(id)?;
        if let Some(until) = plan.until {
            let (id, time) = (&named.id, named.time);
            ensure!(time <= until, "the backup {id} shows {time}, which is later than {until}");
        }
        return Ok(named);
    }
    let is_old_enough = |backup: &Manifest| plan.until.is_none_or(|until| backup.time <= until);
    let suits = |backup: &&Manifest| backup.is_good() && is_old_enough(backup);
    if let Some(newest) = listing.backups.iter().rfind(suits) {
        return Ok(newest.clone());
    }
    let there: Vec<&str> = listing.backups.iter().map(|backup| backup.id.as_str()).collect();
    let refused: Vec<String> = listing.refused.iter().map(ToString::to_string).collect();
    bail!(
        "{} has no backup that was found good{}; there are: [{}]; not readable: [{}]",
        repository.directory().display(),
        plan.until.map(|until| format!(" and is older than {until}")).unwrap_or_default(),
        there.join(", "),
        refused.join(", "),
    )
}

/// Everybody who was erased, as the ledger beside the backups says. None of the backups may have
/// known more: an older one restored with a ledger that lost its end would bring persons back.
fn erasures(repository: &Repository, listing: &Listing) -> anyhow::Result<Vec<LedgerRow>> {
    let entries = Ledger::read(repository.directory(), repository.key())?;
    if let Some(most) = listing.backups.iter().max_by_key(|backup| backup.ledger.entries) {
        ensure!(
            entries.len() as u64 >= most.ledger.entries,
            "erasure.ledger in {} has {} entries, the backup {} knew {}: put the newest ledger \
             back, or persons who were erased would come back",
            repository.directory().display(),
            entries.len(),
            most.id,
            most.ledger.entries,
        );
    }
    let row = |entry: &::backup::Erasure| serde_json::from_slice(&entry.row);
    let rows: Result<Vec<LedgerRow>, _> = entries.iter().map(row).collect();
    rows.context("erasure.ledger was written by another release")
}

/// All keys of the installation come along.
fn copy_keys(from: &Path, to: &Path) -> anyhow::Result<Keys> {
    fs::create_dir_all(to).with_context(|| format!("creating {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        if entry.path().is_file() {
            let target = to.join(entry.file_name());
            fs::copy(entry.path(), &target)
                .and_then(|_| fs::set_permissions(&target, fs::Permissions::from_mode(0o600)))
                .and_then(|()| fs::File::open(&target)?.sync_all())
                .with_context(|| format!("copying {}", entry.path().display()))?;
        }
    }
    Keys::load(to).context("the directory of keys is not complete")
}

/// Voids what was said before, and erases again.
async fn renew(
    plan: &Plan,
    work: &Path,
    postgres: &Postgres,
    keys: Keys,
    erasures: &[LedgerRow],
) -> anyhow::Result<u64> {
    let mut databases = Vec::new();
    for service in SERVICES {
        private::ensure(postgres, service).await?;
        let options = store::database::Options::new(postgres.url(service), "rapport-restore");
        let database = Database::connect(&options).await?;
        store::migrate::apply(&database, private::migrations(service))
            .await
            .with_context(|| format!("migrating {service}"))?;
        let mut connection = database.acquire().await?;
        feed::schema::renew_epoch(&mut connection).await?;
        drop(connection);
        feed::receipt::reset(&database).await?;
        databases.push(database);
    }
    let identity = databases.first().context("identity's database")?.clone();
    let mut again = 0;
    for rows in erasures.chunks(PAGE) {
        again += identity::erasure::replay(&identity, &keys.ring, rows).await?;
    }
    if identity::erasure::pending(&identity).await? > 0 {
        settle(plan, work, keys, databases.clone()).await?;
    }
    for database in databases {
        database.close().await;
    }
    Ok(again)
}

/// Runs the suite on ports that nobody knows until every service has erased what identity tells it.
async fn settle(
    plan: &Plan,
    work: &Path,
    keys: Keys,
    databases: Vec<Database>,
) -> anyhow::Result<()> {
    let identity = databases.first().context("identity's database")?.clone();
    let options = Options {
        directory: work.to_path_buf(),
        pg_bin: plan.pg_bin.clone(),
        rpc_port: 0,
        http_port: 0,
        admin_port: 0,
        layers: plan.layers.clone(),
        durable: true,
    };
    let listeners = Listeners::bind(&options).await?;
    let databases = Databases::from_five(databases)?;
    let suite = assemble(&options, keys, databases, |_| Ok(Cache::disabled()), listeners).await?;
    let waited = all_erased(&identity).await;
    suite.stop().await;
    waited
}

async fn all_erased(identity: &Database) -> anyhow::Result<()> {
    let (mut least, mut since) = (i64::MAX, Instant::now());
    loop {
        let pending = identity::erasure::pending(identity).await?;
        if pending == 0 {
            return Ok(());
        }
        if pending < least {
            (least, since) = (pending, Instant::now());
        }
        ensure!(
            since.elapsed() < STANDSTILL,
            "{pending} erasures were not carried out by every service; the log above says why"
        );
        tokio::time::sleep(POLL).await;
    }
}
