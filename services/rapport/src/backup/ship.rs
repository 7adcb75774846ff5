//! Takes finished segments of the log out of the spool into the archive, and new erasures into the
//! ledger. Postgres only copies plain files beside its data: it has no key.

use std::fs;
use std::path::PathBuf;

use ::backup::archive::Segment as Log;
use ::backup::{Erasure, Ledger, Repository, write_sealed};
use anyhow::Context as _;
use identity::erasure::LedgerRow;
use store::Database;
use uuid::Uuid;

use super::{Metrics, blocking};

const PAGE: i64 = 500;
/// The length of a segment's name; those of other files that Postgres archives are longer, except
/// histories of timelines.
const SEGMENT: usize = 24;

/// Empties the spool of a private Postgres.
#[derive(Debug, Clone)]
pub struct Shipper {
    /// Where Postgres puts them.
    pub spool: PathBuf,
    /// Where they go.
    pub repository: Repository,
    /// Of which life they are.
    pub incarnation: Uuid,
    /// How much may wait when the place of backups takes nothing: more would fill the disk of the
    /// database.
    pub backlog_bytes: u64,
    /// What is told of it.
    pub metrics: Metrics,
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Round {
    /// Segments that are in the archive now.
    pub shipped: usize,
    /// Finished log was given up, or did not reach the archive in another way, and the newest backup
    /// needs it: the next one must come at once.
    pub gave_up: bool,
}

impl Shipper {
    /// Ships what waits, in order. A segment leaves the spool when it is in the archive, on the disk;
    /// shipped twice, it is the same. Blocks.
    ///
    /// # Errors
    /// The first file that could not be shipped, unless too much waits already.
    pub fn round(&self) -> anyhow::Result<Round> {
        let mut waiting = self.waiting()?;
        let archive = self.repository.archive(self.incarnation);
        let mut round = Round::default();
        if waiting.is_empty() {
            self.metrics.waiting(0);
            return Ok(round);
        }
        let looked = archive.prepare().and_then(|()| archive.names());
        let jumps = looked.as_ref().is_ok_and(|archived| jumps(archived, &waiting));
        let mut result = looked.map(drop).map_err(anyhow::Error::from);
        while result.is_ok()
            && let Some((name, _)) = waiting.first()
        {
            result = self.ship(name);
            if result.is_ok() {
                round.shipped += 1;
                waiting.remove(0);
                self.metrics.archived();
            }
        }
        let bytes: u64 = waiting.iter().map(|(_, bytes)| bytes).sum();
        self.metrics.waiting(bytes);
        if jumps && round.shipped > 0 {
            // Not knowing it is no reason to let the spool grow.
            round.gave_up = self.is_broken().unwrap_or(true);
        }
        let Err(error) = result else { return Ok(round) };
        self.metrics.archive_failures.inc();
        if bytes <= self.backlog_bytes && !round.gave_up {
            return Err(error);
        }
        if bytes <= self.backlog_bytes {
            tracing::error!(event = "archive_failed", error = format!("{error:#}"));
            return Ok(round);
        }
        let (first, count) = (waiting.first().map(|(name, _)| name.clone()), waiting.len());
        for (name, _) in waiting {
            fs::remove_file(self.spool.join(name)).context("emptying the spool")?;
        }
        tracing::error!(
            event = "log_given_up",
            first,
            count,
            error = format!("{error:#}"),
            "too much of the log waits for the archive (backup.archive_backlog_mib): restores end \
             before it, until the next backup"
        );
        round.gave_up = true;
        Ok(round)
    }

    /// Whether a restore would end before what was archived just now.
    fn is_broken(&self) -> anyhow::Result<bool> {
        let Some(missing) = self.repository.gap(self.incarnation)? else { return Ok(false) };
        tracing::error!(
            event = "log_missing",
            missing,
            "a part of the log never reached the archive: restores end before it, until the next \
             backup, which is made now"
        );
        Ok(true)
    }

    fn ship(&self, name: &str) -> anyhow::Result<()> {
        let path = self.spool.join(name);
        let is_log = name.len() == SEGMENT || name.ends_with(".history");
        if is_log {
            let mut file =
                fs::File::open(&path).with_context(|| format!("reading {}", path.display()))?;
            let (target, label) = self.repository.archive(self.incarnation).place(name);
            write_sealed(&target, self.repository.key(), &label, &mut file)?;
        }
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
    }

    /// Names and sizes of what waits, oldest first.
    fn waiting(&self) -> anyhow::Result<Vec<(String, u64)>> {
        let listed = fs::read_dir(&self.spool)
            .with_context(|| format!("reading {}", self.spool.display()))?;
        let mut found = Vec::new();
        for entry in listed {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Postgres is still writing those.
            if !name.ends_with(".new") {
                found.push((name, entry.metadata()?.len()));
            }
        }
        found.sort();
        Ok(found)
    }
}

/// Whether the segments that wait do not follow those in the archive, or one another.
fn jumps(archived: &[String], waiting: &[(String, u64)]) -> bool {
    // A finished segment says by its size how they are numbered.
    let size = |(name, bytes): &&(String, u64)| name.len() == SEGMENT && *bytes > 0;
    let Some((_, bytes)) = waiting.iter().find(size) else { return false };
    let number = |name: &str| Log::parse(name, *bytes).map(|segment| segment.number);
    let mut last = archived.iter().filter_map(|name| number(name)).max();
    for next in waiting.iter().filter_map(|(name, _)| number(name)) {
        if last.is_some_and(|last| next > last + 1) {
            return true;
        }
        last = last.max(Some(next));
    }
    false
}

/// Appends the erasures after a place to the ledger; answers the ledger and the last place.
///
/// # Errors
/// The database, or the ledger.
pub async fn export(
    database: &Database,
    mut ledger: Ledger,
    after: i64,
) -> anyhow::Result<(Ledger, i64)> {
    let mut last = after;
    loop {
        let rows = identity::erasure::ledger(database, last, PAGE).await?;
        let Some(end) = rows.last() else { return Ok((ledger, last)) };
        last = end.seq;
        let entries: Result<Vec<Erasure>, serde_json::Error> = rows.iter().map(entry).collect();
        let entries = entries?;
        ledger = blocking(move || {
            ledger.append(&entries)?;
            Ok(ledger)
        })
        .await?;
    }
}

/// Reads the ledger of a place.
///
/// # Errors
/// When it was changed, or cannot be read.
pub(super) async fn open_ledger(repository: &Repository) -> anyhow::Result<Ledger> {
    let repository = repository.clone();
    blocking(move || Ok(Ledger::open(repository.directory(), repository.key())?)).await
}

fn entry(row: &LedgerRow) -> Result<Erasure, serde_json::Error> {
    let text = serde_json::to_vec(row)?;
    Ok(Erasure { tenant: row.tenant_id, part: row.part_id, row: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finished_log_leaves_the_spool_for_the_archive_or_when_too_much_waits() {
        let name = format!("rapport-ship-{}", Uuid::new_v4().simple());
        let root = std::env::temp_dir().join(name);
        let spool = root.join("spool");
        fs::create_dir_all(&spool).expect("a spool");
        let key = ::backup::Key::generate().expect("a key");
        let repository = Repository::open(&root.join("backups"), key).expect("a place");
        let mut shipper = Shipper {
            spool: spool.clone(),
            repository: repository.clone(),
            incarnation: Uuid::from_u128(1),
            backlog_bytes: 100,
            metrics: Metrics::default(),
        };
        let segment = |number: u8| format!("0000000100000000000000{number:02X}");
        let finished = |name: &str| fs::write(spool.join(name), [7; 60]).expect("written");
        let left = || fs::read_dir(&spool).expect("listed").count();
        finished(&segment(1));
        finished(&format!("{}.new", segment(2)));
        finished(&format!("{}.00000028.backup", segment(1)));
        let round = shipper.round().expect("shipped");
        assert_eq!((round.shipped, round.gave_up, left()), (2, false, 1));
        let archive = repository.archive(shipper.incarnation);
        assert_eq!(archive.names().expect("listed"), [segment(1)]);

        // A place that takes nothing: a file is where the archive of this life should be.
        shipper.incarnation = Uuid::from_u128(2);
        let place = repository.directory().join("wal").join(shipper.incarnation.to_string());
        fs::write(&place, b"").expect("in the way");
        finished(&segment(2));
        let error = format!("{:#}", shipper.round().expect_err("nowhere to go"));
        assert!(error.contains(&place.display().to_string()), "{error}");
        assert_eq!(left(), 2, "it waits");
        finished(&segment(3));
        assert!(shipper.round().expect("given up").gave_up);
        assert_eq!(left(), 1, "the disk of the database is not filled");
        fs::remove_dir_all(&root).expect("removed");
    }

    #[test]
    fn segments_that_do_not_follow_are_noticed_once() {
        let segment = |number: u8| format!("0000000100000000000000{number:02X}");
        let spooled = |numbers: &[u8]| {
            let mut found = vec![("00000002.history".to_owned(), 41)];
            found.extend(numbers.iter().map(|number| (segment(*number), 16 << 20)));
            found
        };
        assert!(!jumps(&[], &spooled(&[7, 8])), "the first of an archive");
        assert!(!jumps(&[segment(6)], &spooled(&[7, 8])));
        assert!(!jumps(&[segment(8)], &spooled(&[7, 8])), "shipped twice");
        assert!(jumps(&[segment(5)], &spooled(&[7])));
        assert!(jumps(&[segment(6)], &spooled(&[7, 9])));
        assert!(!jumps(&[segment(9)], &spooled(&[10])));
    }
}
