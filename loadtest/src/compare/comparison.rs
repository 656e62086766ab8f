//! What a comparison is: what is measured and on whom, and what the gateway is held to. There are two,
//! `streams` and `proxy`.

use clap::builder::PossibleValuesParser;
use serde_json::Value;

use crate::compare::servers::Server;
use crate::compare::{proxy, streams};

pub(super) struct Comparison {
    pub(super) title: &'static str,
    /// What one has to know of the servers to read the figures.
    pub(super) about: fn() -> String,
    /// What is so when no round failed and none had a violation.
    pub(super) promise: &'static str,
    /// What the gateway is measured beside first of all.
    pub(super) reference: Server,
    /// The others that have a column in the summary.
    pub(super) peers: &'static [Server],
    /// All, in the order of the charts.
    pub(super) servers: &'static [Server],
    /// Debian's packages, whose versions the summary tells.
    pub(super) packages: &'static [&'static str],
    /// In this order, in each round.
    pub(super) measurements: &'static [Measurement],
    /// The lines of the summary.
    pub(super) rows: &'static [Row],
    /// What the chart shows: a row, its title, and what was measured.
    pub(super) panels: [(Row, &'static str, &'static str); 4],
}

const ALL: [&Comparison; 2] = [&streams::COMPARISON, &proxy::COMPARISON];

pub(super) fn measurement_names() -> PossibleValuesParser {
    let all = ALL.iter().flat_map(|comparison| comparison.measurements);
    PossibleValuesParser::new(all.map(|measurement| measurement.name))
}

pub(super) enum Load {
    /// `fanout`, with further flags.
    Fanout {
        streams: u32,
        flags: &'static str,
    },
    /// A small load beside a large one: what it is told while the server sweeps so many streams
    /// without a pause. The large one is the scheduler's last choice on their core, so that
    /// the small one is not measured waiting for it.
    Beside {
        streams: u32,
        scenario: &'static str,
        flags: &'static str,
    },
    Idle {
        streams: u32,
    },
    /// Single-event POSTs on so many keep-alive connections, one in flight on each.
    Post {
        connections: u32,
    },
    /// `requests` to the upstream behind the server, with these flags.
    Requests {
        flags: &'static str,
    },
    /// From exec to the first 200, again and again.
    Start {
        times: u32,
    },
}

pub(super) struct Measurement {
    pub(super) name: &'static str,
    pub(super) servers: &'static [Server],
    pub(super) load: Load,
    /// How long the load is measured; and in a quick run.
    pub(super) measured: [u32; 2],
    /// Whether it is made in the first round only, because it is long.
    pub(super) once: bool,
}

/// Seconds a measurement takes beyond what is measured: start, open, warm up, settle.
const OVERHEAD_SECONDS: f64 = 2.5;
/// pushpin asks its origin for every stream, and they open one after the other.
const PUSHPIN_OVERHEAD_SECONDS: f64 = 6.0;
/// The load that another is beside of goes on around it.
const BESIDE_OVERHEAD_SECONDS: f64 = 12.0;

impl Measurement {
    pub(super) fn measured_seconds(&self, quick: bool) -> u32 {
        self.measured[usize::from(quick)]
    }

    /// How long it takes in all, roughly.
    pub(super) fn seconds(&self, server: Server, quick: bool) -> f64 {
        let overhead = match self.load {
            Load::Beside { .. } => BESIDE_OVERHEAD_SECONDS,
            _ if server == Server::Pushpin => PUSHPIN_OVERHEAD_SECONDS,
            _ => OVERHEAD_SECONDS,
        };
        overhead + f64::from(self.measured_seconds(quick))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    AtMost,
    AtLeast,
}

/// What the gateway's ratio, or its figure where there is no reference, is held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal {
    pub(super) bound: Bound,
    pub(super) target: f64,
    pub(super) stretch: f64,
}

/// A line of the summary: which figure of which measurement, and what the gateway is held to.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    pub(super) measurement: &'static str,
    /// The figure, out of a report.
    pub(super) figure: fn(&Value) -> Option<f64>,
    /// What the figure is divided by: the same figure of that measurement and server.
    pub(super) reference: Option<(&'static str, Server)>,
    pub(super) goal: Option<Goal>,
}

pub(super) const fn goal(bound: Bound, target: f64, stretch: f64) -> Option<Goal> {
    Some(Goal { bound, target, stretch })
}

pub(super) fn number(report: &Value, pointer: &str) -> Option<f64> {
    report.pointer(pointer)?.as_f64()
}

/// What belongs here: that the tables fit together.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_its_measurement_and_its_reference() {
        for comparison in ALL {
            let find =
                |name: &str| comparison.measurements.iter().find(|each| each.name == name).unwrap();
            for row in comparison.rows.iter().chain(comparison.panels.iter().map(|(row, ..)| row)) {
                assert!(find(row.measurement).servers.contains(&Server::Tidegate), "{}", row.what);
                if let Some((name, server)) = row.reference {
                    assert!(find(name).servers.contains(&server), "{}", row.what);
                }
                if let Some(Goal { bound, target, stretch }) = row.goal {
                    let further =
                        if bound == Bound::AtMost { stretch <= target } else { stretch >= target };
                    assert!(further, "{}", row.what);
                }
            }
        }
    }

    #[test]
    fn a_server_that_is_measured_is_looked_for() {
        for comparison in ALL {
            for server in comparison.measurements.iter().flat_map(|each| each.servers) {
                assert!(comparison.servers.contains(server), "{}", server.name());
            }
            assert!(comparison.servers.contains(&comparison.reference));
            assert!(comparison.peers.iter().all(|peer| comparison.servers.contains(peer)));
        }
    }
}
