//! The watchdog that keeps test servers from outliving their tests for ever.
//!
//! A test may be killed at any moment, and with nextest no process sees the end of the run.
//! So the sign of life is a shared file lock, which the system drops with its process, and
//! the watchdog is a shell loop detached from all of them.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

const SCRIPT: &str = include_str!("watchdog.sh");

/// What the watchdog does with the directory at the end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Afterwards {
    Keep,
    Remove,
}

/// The sign of life of this process: servers in the directory stay up while it is held.
pub(crate) struct InUse {
    _users: File,
}

/// Signs this process in as a user of the servers in `dir` (absolute) and sees to it that
/// a watchdog is on duty. Waits while a watchdog is just stopping them.
pub(crate) async fn sign_in(
    dir: &Path,
    patience: Duration,
    afterwards: Afterwards,
) -> anyhow::Result<InUse> {
    let path = dir.join("users");
    let users = OpenOptions::new().create(true).append(true).open(&path).context("users file")?;
    let users = tokio::task::spawn_blocking(move || users.lock_shared().map(|()| users))
        .await?
        .context("signing in as a user of the test servers")?;
    release(dir, patience, afterwards)?;
    Ok(InUse { _users: users })
}

/// Starts a watchdog; it leaves at once if another is on duty.
fn release(dir: &Path, patience: Duration, afterwards: Afterwards) -> anyhow::Result<()> {
    let duty = dir.join("watchdog");
    if let Ok(file) = File::open(&duty)
        && file.try_lock_shared().is_err()
    {
        return Ok(());
    }
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT, "watchdog"])
        .arg(dir)
        .arg(patience.as_secs().to_string())
        .arg(match afterwards {
            Afterwards::Keep => "keep",
            Afterwards::Remove => "remove",
        })
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .context("starting the watchdog of the test servers")?;
    // Reaps a watchdog that ends before we do.
    std::thread::spawn(move || child.wait());
    Ok(())
}

/// Deletes the directory; what is left over the watchdog deletes.
pub(crate) fn remove(dir: &Path) {
    let _left_to_the_watchdog = fs::remove_dir_all(dir);
}
