//! Streams: the gateway beside the floor, the naive server, nginx with nchan, and pushpin.

mod plan;
mod rows;

use crate::compare::comparison::Comparison;
use crate::compare::servers::Server;
use Server::{Floor, Hello, Naive, Nchan, Pushpin, Tidegate};

#[cfg(test)]
pub(super) use rows::CPU_PER_DELIVERY;

pub(super) const COMPARISON: Comparison = Comparison {
    title: "Tidegate beside the floor and its peers",
    about,
    promise: "Every stream of every server got every event once, in order, unchanged.",
    reference: Floor,
    peers: &[Naive, Nchan, Pushpin],
    servers: &[Floor, Tidegate, Naive, Nchan, Pushpin, Hello],
    packages: &["nginx", "libnginx-mod-nchan", "pushpin", "condure", "zurl"],
    measurements: plan::MEASUREMENTS,
    rows: rows::ROWS,
    panels: rows::PANELS,
};

fn about() -> String {
    format!(
        "Events have 128 bytes. pushpin holds {} streams only, opened one after the other, since it \
         loses some of those that open together; events in flight together reach it as one POST, \
         since it takes no pipelined ones.",
        Pushpin.streams_max()
    )
}
