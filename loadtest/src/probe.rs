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

/// CPU time of this process, in nanoseconds, with that of threads which have ended.
pub(crate) fn own_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The sum of `probe` over a server's processes; `None` when none was named, or when one is
/// gone.
pub(crate) fn sum(pids: &[u32], probe: impl Fn(u32) -> Option<u64>) -> Option<u64> {
    if pids.is_empty() { None } else { pids.iter().map(|pid| probe(*pid)).sum() }
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

/// A process and all that descend from it, as far as their parents live.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let all: Vec<(u32, u32)> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((pid, parent(pid)?))
        })
        .collect();
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(&above) = found.get(at) {
        found.extend(all.iter().filter(|(_, parent)| *parent == above).map(|(pid, _)| *pid));
        at += 1;
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // `pid (name) state ppid …`, and a name may hold anything, brackets too.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(1)?.parse().ok()
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
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
}

impl Machine {
    /// For folder names: `amd-epyc-9r14-2-cores`.
    pub(crate) fn slug(&self) -> String {
        let name = format!("{} {} cores", self.cpu, self.cores).to_ascii_lowercase();
        let words = name.split(|sign: char| !sign.is_ascii_alphanumeric());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
    }

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
