//! CPU time and memory of processes, from /proc. Ticks are 10 ms, whatever the machine
//! (`USER_HZ` is part of the kernel's interface).

use std::collections::HashMap;
use std::fs;

use anyhow::Context as _;

const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of CPU that a process has used, threads included.
pub(crate) fn seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = Stat::read(pid).with_context(|| format!("process {pid} is gone"))?;
    Ok(stat.own as f64 / TICKS_PER_SECOND)
}

/// The same of a process and all below it, those that ended included.
pub(crate) fn tree_seconds(root: u32) -> anyhow::Result<f64> {
    let stat = Stat::read(root).with_context(|| format!("process {root} is gone"))?;
    let mut children: HashMap<u32, Vec<(u32, u64)>> = HashMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process that ended meanwhile is in its parent's sum of ended children.
        if let Some(stat) = Stat::read(pid) {
            children.entry(stat.parent).or_default().push((pid, stat.own));
        }
    }
    let mut ticks = stat.own + stat.ended_children;
    let mut waiting = vec![root];
    while let Some(pid) = waiting.pop() {
        for (child, own) in children.get(&pid).into_iter().flatten() {
            ticks += own;
            waiting.push(*child);
        }
    }
    Ok(ticks as f64 / TICKS_PER_SECOND)
}

/// Resident memory in MiB.
pub(crate) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    status_mib(pid, "VmRSS:")
}

/// The most resident memory there ever was, in MiB.
pub(crate) fn peak_mib(pid: u32) -> anyhow::Result<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, field: &str) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: f64 = line
        .and_then(|rest| rest.split_whitespace().next())
        .with_context(|| format!("no {field} in /proc/PID/status"))?
        .parse()?;
    Ok(kib / 1_024.0)
}

struct Stat {
    parent: u32,
    own: u64,
    ended_children: u64,
}

impl Stat {
    /// proc(5): the name in brackets may hold anything, so count from the last bracket.
    fn read(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: ticks(11)? + ticks(12)?,
            ended_children: ticks(13)? + ticks(14)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_as_cpu_time_of_the_process_and_its_tree() {
        let pid = std::process::id();
        let before = seconds(pid).unwrap();
        let begin = std::time::Instant::now();
        let mut sum = 0_u64;
        while seconds(pid).unwrap() < before + 0.05 {
            assert!(begin.elapsed().as_secs() < 30, "no CPU time is counted ({sum})");
            sum = (0..1_000_000_u64).fold(sum, |sum, n| sum.wrapping_add(std::hint::black_box(n)));
        }
        assert!(tree_seconds(pid).unwrap() >= before + 0.05);
        assert!(resident_mib(pid).unwrap() > 0.5);
        assert!(peak_mib(pid).unwrap() >= resident_mib(pid).unwrap() / 2.0);
    }
}
