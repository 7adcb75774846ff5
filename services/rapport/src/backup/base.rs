//! The base backup: what `pg_basebackup` streams, sealed as it comes.

use std::io::{self, Read};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use ::backup::archive::position;
use ::backup::{Key, Part, write_sealed};
use anyhow::{Context as _, bail};
use tokio_util::sync::CancellationToken;

use super::{Target, blocking};

/// The file in the directory of a backup.
pub(super) const FILE: &str = "base.sealed";
/// What `pg_basebackup --verbose` says before the end of the log that belongs to the backup.
const END: &str = "write-ahead log end point: ";

/// A base backup on the disk.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) part: Part,
    pub(super) plain_bytes: u64,
    /// Where the log that it contains ends.
    pub(super) end: u64,
}

/// What it is sealed as.
pub(super) fn label(id: &str) -> String {
    format!("backup/{id}/base")
}

/// Ended with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.0.try_wait(), Ok(Some(_))) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// Counts what passes.
struct Counting {
    inner: ChildStdout,
    bytes: u64,
}

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Streams a base backup into the draft. The caller holds a replication slot, or the server might
/// remove log that the backup still needs.
pub(super) async fn take(
    target: &Target,
    key: &Key,
    draft: &::backup::Draft,
    cancel: &CancellationToken,
) -> anyhow::Result<Base> {
    let mut command = target.program("pg_basebackup");
    // Standard output takes one tar with the log in it.
    command
        .args(["--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast"])
        .args(["--verbose", "--no-password"])
        .arg(format!("--label={}", draft.id))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let program = command.get_program().to_string_lossy().into_owned();
    let mut running = Running(command.spawn().with_context(|| format!("starting {program}"))?);
    let (output, errors) = (running.0.stdout.take(), running.0.stderr.take());
    let (output, errors) = output.zip(errors).context("its output is not piped")?;
    let (path, key, label) = (draft.directory.join(FILE), key.clone(), label(&draft.id));
    let streaming = blocking(move || {
        let mut source = Counting { inner: output, bytes: 0 };
        let part = write_sealed(&path, &key, &label, &mut source)?;
        Ok((part, source.bytes))
    });
    let listening = blocking(move || Ok(said(errors)));
    let streamed = tokio::select! {
        streamed = streaming => streamed,
        () = cancel.cancelled() => bail!("the backup was given up: the suite is stopping"),
    };
    if streamed.is_err() {
        // Our side failed: it would wait for us for ever.
        running.0.kill()?;
    }
    let said = listening.await?;
    let status = running.0.wait()?;
    // First what the disk says: the program only knows that nobody listens any more.
    let (part, plain_bytes) = streamed?;
    if !status.success() {
        bail!("pg_basebackup failed: {}", last_lines(&said));
    }
    let end = said.lines().find_map(|line| line.split_once(END)).and_then(|(_, at)| position(at));
    let end = end.context("pg_basebackup did not say where its log ends")?;
    Ok(Base { part, plain_bytes, end })
}

fn said(mut errors: ChildStderr) -> String {
    let mut text = Vec::new();
    // A pipe that breaks ends what it says.
    let _ = errors.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}
