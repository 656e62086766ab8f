//! The reverse proxy: the gateway beside nginx and haproxy, before the same upstream.

mod peers;
mod plan;
mod rows;

use crate::compare::comparison::Comparison;
use crate::compare::servers::Server;
use Server::{Haproxy, Nginx, Tidegate};

pub(super) use peers::{haproxy, haproxy_missing, nginx, nginx_missing};

pub(super) const COMPARISON: Comparison = Comparison {
    title: "Tidegate as a reverse proxy, beside nginx and haproxy",
    about,
    promise: "Every answer was the upstream's, byte by byte, and so was every body that it was sent.",
    reference: Nginx,
    peers: &[Haproxy],
    servers: &[Nginx, Tidegate, Haproxy],
    packages: &["nginx", "haproxy"],
    measurements: plan::MEASUREMENTS,
    rows: rows::ROWS,
    panels: rows::PANELS,
};

fn about() -> String {
    "Each proxy has one worker or thread, keeps connections to the upstream, and sets the same seven \
     fields in the request and `Via` in the answer. The upstream (`serve upstream`) shares the \
     load's core and counts as load: where that is near 100 % busy, requests/s and latencies are those \
     of the load, and what a proxy costs is seen in its CPU time alone. Memory is that of all of a server's processes: \
     nginx has two."
        .to_owned()
}
