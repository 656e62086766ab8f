//! What the configuration leaves to the machine: shards by its cores, public connections by the limit of
//! open files. Called by the gateway at a start and a reload, and by `sizing` for other machines.

use super::schema::{Config, Server};

/// Descriptors kept for everything that is not a public connection: listeners, publishers, logs.
pub const DESCRIPTORS_RESERVED: u64 = 256;

impl Server {
    /// Shard threads on a machine with so many cores.
    pub fn shard_count(&self, cores: usize) -> usize {
        if self.shards == 0 { cores } else { self.shards }
    }
}

impl Config {
    /// Public connections that a limit of open files has room for, at least 1. The configured sources have a
    /// descriptor each; those that are put later come out of the reserve.
    pub fn connections_fit(&self, open_files: u64) -> usize {
        let kept = DESCRIPTORS_RESERVED + self.source.len() as u64;
        usize::try_from(open_files.saturating_sub(kept).max(1)).unwrap_or(usize::MAX)
    }

    /// Public connections that are let in under a limit of open files.
    pub fn connections_max(&self, open_files: u64) -> usize {
        match self.server.connections_max {
            0 => self.connections_fit(open_files),
            asked => asked,
        }
    }
}
