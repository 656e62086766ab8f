//! What the kernel says about the gateway, this process and the machine.

use std::fs;

use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;

/// Descriptors this process needs besides its streams, generously.
const OWN_DESCRIPTORS: u64 = 64;

/// Raises the descriptor limit as far as it goes; `Err` when `streams` do not fit.
pub(crate) fn make_room_for(streams: u32) -> Result<(), String> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)
            .map_err(|error| format!("raising the descriptor limit: {error}"))?;
    }
    match limit.current {
        Some(descriptors) if u64::from(streams) + OWN_DESCRIPTORS > descriptors => Err(format!(
            "{streams} streams do not fit: this process may have {descriptors} descriptors and \
             needs {OWN_DESCRIPTORS} for itself; use fewer streams or several processes"
        )),
        _ => Ok(()),
    }
}

/// CPU time of this process, in nanoseconds, also of threads that have ended.
pub(crate) fn own_cpu_ns() -> u64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64
}

/// CPU time of all threads of a process, in nanoseconds. The scheduler's own account:
/// utime and stime count in ticks of 10 ms. A thread that ends takes its time along.
pub(crate) fn cpu_ns(pid: u32) -> Option<u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let times = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(times.sum())
}

/// Resident bytes of a process: exact from smaps_rollup, else from status.
pub(crate) fn rss_bytes(pid: u32) -> Option<u64> {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib << 10)
    };
    field("smaps_rollup", "Rss:").or_else(|| field("status", "VmRSS:"))
}

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    kernel: String,
    cpu: String,
    cores: usize,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, m)| m);
        Self {
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpu: model.to_owned(),
            cores: cpu.lines().filter(|line| line.starts_with("processor")).count(),
        }
    }
}
