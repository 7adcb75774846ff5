//! Private servers, for real: started, adopted, killed, restarted, stopped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod postgres;
mod redis;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use embedded::{Care, OnDrop};

/// A directory below the build directory that every account can reach; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("scratch-{}", uuid::Uuid::new_v4().simple());
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn care(supervise: bool, on_drop: OnDrop) -> Care {
    Care { supervise, on_drop, ..Care::default() }
}

fn process(pid: u32) -> rustix::process::Pid {
    rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

fn runs(pid: u32) -> bool {
    rustix::process::test_kill_process(process(pid)).is_ok()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
