//! What is measured, and on whom.

use crate::compare::comparison::{Load, Measurement};
use crate::compare::servers::Server;
use Server::{Haproxy, Nginx, Tidegate};

/// In this order, in each round.
pub(super) const MEASUREMENTS: &[Measurement] = &[
    of("get-small", "--get 128 --connections 32"),
    of("get-64k", "--get 65536 --connections 32"),
    of("post-1k", "--post 1024 --connections 32"),
    of("post-64k", "--post 65536 --connections 32"),
    // Each asks once a second.
    of("many-connections", "--get 128 --connections 4000 --rate 4000"),
    of("new-connections", "--get 128 --connections 32 --reconnect"),
];

const fn of(name: &'static str, flags: &'static str) -> Measurement {
    Measurement {
        name,
        servers: &[Nginx, Tidegate, Haproxy],
        load: Load::Requests { flags },
        measured: [4, 1],
        once: false,
    }
}
