//! The SDKs, and how the driver of each is started.

use std::fs::File;
use std::path::Path;

use tokio::process::Command;

use super::installed;
use crate::process::Program;

/// How many requests a driver has under way at most, where its SDK makes several.
const CONCURRENCY: usize = 4;
/// Whose events a server sends, as the drivers have it; a browser belongs to one person.
const PEOPLE: usize = 50;

/// An SDK with a driver in `tests/sdks`.
#[derive(Debug, Clone, Copy)]
pub struct Sdk {
    /// As people know it.
    pub name: &'static str,
    runtime: Runtime,
    driver: &'static str,
    /// Events of a full request.
    batch: usize,
    /// Whose events they are.
    pub people: usize,
    /// What its driver takes besides.
    extra: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum Runtime {
    Node,
    Python,
}

/// Those that run in servers.
pub const SERVER_SIDE: [Sdk; 5] = [
    Sdk {
        name: "@segment/analytics-node",
        runtime: Runtime::Node,
        driver: "segment-node.mjs",
        batch: 100,
        people: PEOPLE,
        extra: &[],
    },
    Sdk {
        name: "analytics-node",
        runtime: Runtime::Node,
        driver: "segment-node-legacy.mjs",
        batch: 100,
        people: PEOPLE,
        extra: &[],
    },
    Sdk {
        name: "@rudderstack/rudder-sdk-node",
        runtime: Runtime::Node,
        driver: "rudder-node.mjs",
        batch: 100,
        people: PEOPLE,
        extra: &[],
    },
    Sdk {
        name: "segment-analytics-python",
        runtime: Runtime::Python,
        driver: "segment_python.py",
        batch: 100,
        people: PEOPLE,
        extra: &[],
    },
    Sdk {
        name: "rudder-sdk-python",
        runtime: Runtime::Python,
        driver: "rudder_python.py",
        batch: 100,
        people: PEOPLE,
        extra: &[],
    },
];

/// The one of browsers, in Chromium, in batches.
pub const ANALYTICS_NEXT: Sdk = Sdk {
    name: "@segment/analytics-next",
    runtime: Runtime::Node,
    driver: "browser.mjs",
    batch: 25,
    people: 1,
    extra: &[],
};

/// The same, as most sites use it: one request per event.
pub const ANALYTICS_NEXT_SINGLE: Sdk = Sdk {
    name: "@segment/analytics-next, event by event",
    batch: 1,
    extra: &["--single"],
    ..ANALYTICS_NEXT
};

impl Sdk {
    /// How many requests deliver so many events, if all are full and none fails.
    pub(super) fn requests(&self, events: usize) -> u64 {
        u64::try_from(events / self.batch).unwrap_or(u64::MAX)
    }

    /// Starts its driver; what that says goes to a file in the directory.
    pub(super) fn start(
        &self,
        host: &str,
        write_key: &str,
        events: usize,
        directory: &Path,
    ) -> anyhow::Result<Program> {
        let driver = installed(&Path::new("sdks").join(self.driver), "its driver")?;
        let mut command = match self.runtime {
            Runtime::Node => {
                installed(Path::new("sdks/node_modules"), "its library")?;
                Command::new("node")
            }
            Runtime::Python => {
                Command::new(installed(Path::new("python/.venv/bin/python"), "its library")?)
            }
        };
        command.arg(driver).args([host, write_key]);
        command.args([events.to_string(), CONCURRENCY.to_string()]).args(self.extra);
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        let log = directory.join(format!("{}.log", self.driver));
        let output = File::create(&log)?;
        Program::start(self.name, &mut command, log, output)
    }
}
