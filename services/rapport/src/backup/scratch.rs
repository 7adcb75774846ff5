//! Brings a backup back as a running Postgres: in a directory of its own that is thrown away (a
//! check), or in the one that shall serve (a restore).

use std::collections::BTreeMap;
use std::path::PathBuf;

use ::backup::archive::{Segment, unbroken};
use ::backup::{Manifest, Repository, read_sealed};
use anyhow::Context as _;
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

/// A file of the log: where it lies and what it is sealed as.
type Sealed = (PathBuf, String);

/// Unpacks a backup and its log to where the options say; the next start recovers it. Answers the
/// last segment of the log that is used. Blocks.
pub(super) fn unpack(
    repository: &Repository,
    manifest: &Manifest,
    options: &PostgresOptions,
    until: Until,
) -> anyhow::Result<String> {
    let incoming = options.receive()?;
    base_files(repository, manifest, &incoming)?;
    incoming.verify()?;
    let mut last = String::new();
    for (name, (path, label)) in log(repository, manifest, until)? {
        let mut file = incoming.log_file(&name)?;
        read_sealed(&path, repository.key(), &label, &mut file)?;
        file.sync_all().with_context(|| format!("writing {name}"))?;
        last = name;
    }
    incoming.accept()?;
    Ok(last)
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
fn log(
    repository: &Repository,
    manifest: &Manifest,
    until: Until,
) -> anyhow::Result<BTreeMap<String, Sealed>> {
    let mut files = BTreeMap::new();
    if until != Until::Counted
        && let Some(incarnation) = manifest.incarnation
    {
        let archive = repository.archive(incarnation);
        for name in archive.names()? {
            let place = archive.place(&name);
            files.insert(name, place);
        }
    }
    // The backup's own come last: they win.
    let directory = repository.path(&manifest.id);
    for part in &manifest.parts {
        let name = part.file.strip_prefix("wal/").and_then(|file| file.strip_suffix(".sealed"));
        if let Some(name) = name {
            let sealed = (directory.join(&part.file), log_label(&manifest.id, name));
            files.insert(name.to_owned(), sealed);
        }
    }
    let bytes = manifest.segment_bytes;
    let names: Vec<String> = files.keys().cloned().collect();
    let (whole, missing) = unbroken(&names, manifest.first_segment, bytes);
    if let Some(missing) = missing {
        tracing::error!(
            event = "log_broken",
            missing = missing.name(bytes),
            "the archive of the log has a gap: what was written after it cannot be restored"
        );
    }
    let is_wanted = |name: &String| {
        // The history of timelines is small and always wanted.
        whole.contains(name) || Segment::parse(name, bytes).is_none() && name.ends_with(".history")
    };
    files.retain(|name, _| is_wanted(name));
    Ok(files)
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
