//! The configuration of a private server, written whole at each launch.

use std::fs;
use std::time::Duration;

use super::{Listen, PostgresEngine};

/// Whoever can open the socket (its directory is 0700) is trusted; TCP needs the password.
pub(super) const ACCESS: &str = "\
# Written at each start.
local all all trust
local replication all trust
host all all 127.0.0.1/32 scram-sha-256
";

/// Puts each finished segment of the log into `spool` beside the data, whole and on the disk before
/// it has its name. The server works in its data directory, so no path needs quoting. A segment that
/// is put there twice, because the server went down in between, is the same one.
const ARCHIVE_COMMAND: &str = "cp %p ../spool/%f.new && sync -d ../spool/%f.new \
    && mv -f ../spool/%f.new ../spool/%f && sync ../spool";

fn archive(latest: Duration) -> [(&'static str, String); 3] {
    [
        ("archive_mode", "on".to_owned()),
        ("archive_command", ARCHIVE_COMMAND.to_owned()),
        ("archive_timeout", format!("{}s", latest.as_secs().max(1))),
    ]
}

impl PostgresEngine {
    pub(super) fn configuration(&self) -> String {
        let options = &self.options;
        let address = match options.listen {
            Listen::SocketOnly => "",
            Listen::Loopback { .. } => "127.0.0.1",
        };
        let switch = if options.durable { "on" } else { "off" };
        let compression = fs::read_to_string(self.compression_record());
        let number = |value: u32| value.to_string();
        let mut lines = vec![
            ("listen_addresses", address.to_owned()),
            ("port", self.port.to_string()),
            ("unix_socket_directories", self.socket_directory.display().to_string()),
            ("unix_socket_permissions", "0700".to_owned()),
            ("max_connections", number(options.max_connections)),
            ("shared_buffers", format!("{}MB", options.shared_buffers_mib)),
            ("max_wal_size", format!("{}MB", options.max_wal_size_mib)),
            ("min_wal_size", "64MB".to_owned()),
            ("fsync", switch.to_owned()),
            ("synchronous_commit", switch.to_owned()),
            ("full_page_writes", switch.to_owned()),
            ("wal_compression", compression.unwrap_or_else(|_| "on".to_owned())),
        ];
        if let Some(latest) = options.archive {
            lines.extend(archive(latest));
        }
        // Short keyed statements on two cores: parallel plans and JIT only cost start-up.
        let fixed = [
            ("jit", "off"),
            ("max_worker_processes", "4"),
            ("max_logical_replication_workers", "0"),
            ("max_parallel_workers_per_gather", "0"),
            ("random_page_cost", "1.1"),
            ("checkpoint_timeout", "15min"),
            // Well below the services' lock_timeout of 1 s: a deadlock is found as one.
            ("deadlock_timeout", "200ms"),
            ("password_encryption", "scram-sha-256"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("lc_messages", "C"),
            ("log_line_prefix", "%m [%p] "),
            ("log_checkpoints", "off"),
        ];
        lines.extend(fixed.map(|(name, value)| (name, value.to_owned())));
        let mut text =
            String::from("# Written at each start; the last of two equal names holds.\n");
        let extra = options.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in lines.into_iter().chain(extra) {
            text.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
        }
        text
    }
}
