//! Brings a backup back as a running Postgres: in a directory of its own that is thrown away (a
//! check), or in the one that shall serve (a restore).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ::backup::archive::{Segment, unbroken};
use ::backup::{Error, Manifest, Repository, free_bytes, read_sealed};
use anyhow::{Context as _, ensure};
use embedded::{Incoming, PostgresOptions};

use super::base;
use super::make::log_label;

/// How far a recovery goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// To the restore point at which the rows were counted.
    Counted,
    /// To the end of the archived log.
    Last,
    /// To this time.
    Time(jiff::Timestamp),
}

/// What the server writes besides while it recovers.
const MARGIN: u64 = 64 << 20;

/// A file of the log.
struct Sealed {
    path: PathBuf,
    /// What it is sealed as.
    label: String,
    /// Part of the base backup, which is nothing without it.
    is_own: bool,
}

/// The log that follows a base backup.
struct Log {
    files: BTreeMap<String, Sealed>,
    /// The first segment that is missing although later ones are there.
    missing: Option<String>,
}

/// How far the log goes.
#[derive(Debug, Clone, Default)]
pub(super) struct Unpacked {
    /// The last segment that is used.
    pub(super) last: String,
    /// The segment that is missing or damaged, although there was more: what was written from it on
    /// is lost.
    pub(super) broken_at: Option<String>,
}

/// Whether a backup and its log find room. Blocks.
///
/// # Errors
/// When there is less on the disk of the directory than they need.
pub(super) fn room(
    repository: &Repository,
    manifest: &Manifest,
    until: Until,
    directory: &Path,
) -> anyhow::Result<()> {
    let segments = log(repository, manifest, until)?.files.len() as u64;
    let needed = manifest.plain_bytes + segments * manifest.segment_bytes + MARGIN;
    let is_there = |above: &&Path| above.exists();
    let disk = directory.ancestors().find(is_there).unwrap_or(Path::new("."));
    let free = free_bytes(disk)?;
    ensure!(
        free >= needed,
        "{} has {} MiB free, the backup {} needs {} MiB there: free some",
        disk.display(),
        free >> 20,
        manifest.id,
        needed.div_ceil(1 << 20),
    );
    Ok(())
}

/// Unpacks a backup and its log to where the options say; the next start recovers it. Answers how
/// far the log goes: to its end, or before the first segment of the archive that cannot be read.
/// Blocks.
pub(super) fn unpack(
    repository: &Repository,
    manifest: &Manifest,
    options: &PostgresOptions,
    until: Until,
) -> anyhow::Result<Unpacked> {
    let incoming = options.receive()?;
    base_files(repository, manifest, &incoming)?;
    incoming.verify()?;
    let Log { files, missing } = log(repository, manifest, until)?;
    let mut unpacked = Unpacked { last: String::new(), broken_at: missing };
    for (name, sealed) in files {
        // A segment fits into memory, and a recovery must find it whole or not at all.
        let mut content = Vec::new();
        match read_sealed(&sealed.path, repository.key(), &sealed.label, &mut content) {
            Ok(_) => {}
            Err(error) if !sealed.is_own && is_damage(&error) => {
                tracing::error!(event = "log_broken", %error);
                unpacked.broken_at = Some(name);
                break;
            }
            Err(error) => return Err(error.into()),
        }
        let mut file = incoming.log_file(&name)?;
        file.write_all(&content)
            .and_then(|()| file.sync_all())
            .with_context(|| format!("writing {name}"))?;
        unpacked.last = name;
    }
    if let Some(missing) = &unpacked.broken_at {
        tracing::error!(
            event = "log_broken",
            missing,
            "the archive of the log has a gap: what was written from there on cannot be restored"
        );
    }
    incoming.accept()?;
    Ok(unpacked)
}

/// Whether the file is lost, rather than out of reach.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::Refused { .. } => true,
        Error::Io { source, .. } => source.kind() != std::io::ErrorKind::PermissionDenied,
        _ => false,
    }
}

fn base_files(
    repository: &Repository,
    manifest: &Manifest,
    incoming: &Incoming,
) -> anyhow::Result<()> {
    let path = repository.path(&manifest.id).join(base::FILE);
    let mut unpacking = incoming.unpack()?;
    let read = read_sealed(&path, repository.key(), &base::label(&manifest.id), &mut unpacking);
    match read {
        // What `tar` says explains why it takes no more.
        Err(::backup::Error::Source(_)) => unpacking.finish()?,
        Err(error) => return Err(error.into()),
        Ok(part) => {
            unpacking.finish()?;
            anyhow::ensure!(
                manifest.parts.contains(&part),
                "{} is refused: it is not the file that the manifest names",
                path.display()
            );
        }
    }
    Ok(())
}

/// The log that follows the base backup, without a gap.
fn log(repository: &Repository, manifest: &Manifest, until: Until) -> anyhow::Result<Log> {
    let mut files = BTreeMap::new();
    if until != Until::Counted
        && let Some(incarnation) = manifest.incarnation
    {
        let archive = repository.archive(incarnation);
        for name in archive.names()? {
            let (path, label) = archive.place(&name);
            files.insert(name, Sealed { path, label, is_own: false });
        }
    }
    // The backup's own come last: they win.
    let directory = repository.path(&manifest.id);
    for (name, file) in manifest.log() {
        let (path, label) = (directory.join(file), log_label(&manifest.id, name));
        files.insert(name.to_owned(), Sealed { path, label, is_own: true });
    }
    let bytes = manifest.segment_bytes;
    let names: Vec<String> = files.keys().cloned().collect();
    let (whole, missing) = unbroken(&names, manifest.first_segment, bytes);
    let is_wanted = |name: &String| {
        // The history of timelines is small and always wanted.
        whole.contains(name) || Segment::parse(name, bytes).is_none() && name.ends_with(".history")
    };
    files.retain(|name, _| is_wanted(name));
    Ok(Log { files, missing: missing.map(|segment| segment.name(bytes)) })
}

/// The settings under which a recovery runs. Sessions are let in when it is over.
pub(super) fn recovery(manifest: &Manifest, until: Until) -> Vec<(String, String)> {
    let mut settings = vec![
        // The log is in place already; recovery insists on being told how to fetch more.
        ("restore_command", "false".to_owned()),
        ("hot_standby", "off".to_owned()),
        ("recovery_target_action", "promote".to_owned()),
        ("archive_mode", "off".to_owned()),
    ];
    match until {
        Until::Counted => {
            settings.push(("recovery_target_name", manifest.restore_point.clone()));
        }
        Until::Last => {}
        Until::Time(time) => {
            settings.push((
                "recovery_target_time",
                time.strftime("%Y-%m-%d %H:%M:%S%.f+00").to_string(),
            ));
        }
    }
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
