//! The reverse proxy: what reaches the app servers, what comes back, and what happens when it does not.

mod support;

#[path = "proxy/balancer.rs"]
mod balancer;
#[path = "proxy/collapse.rs"]
mod collapse;
#[path = "proxy/drain.rs"]
mod drain;
#[path = "proxy/failures.rs"]
mod failures;
#[path = "proxy/headers.rs"]
mod headers;
#[path = "proxy/http2.rs"]
mod http2;
#[path = "proxy/interim.rs"]
mod interim;
#[path = "proxy/load.rs"]
mod load;
#[path = "proxy/metrics.rs"]
mod metrics;
#[path = "proxy/passing.rs"]
mod passing;
#[path = "proxy/upgrades.rs"]
mod upgrades;

use support::{Builder, Gateway, Origin};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A gateway in front of one server.
fn in_front_of(origin: &Origin) -> Gateway {
    Gateway::builder().arg("--upstream").arg(&origin.url()).start()
}

/// A gateway whose group `app` has these servers and settings, for all requests.
fn with_group(servers: &[&Origin], settings: &str) -> Builder {
    let urls: Vec<String> = servers.iter().map(|origin| origin.url()).collect();
    Gateway::builder().config(&format!(
        "[[proxy.upstreams]]\nname = 'app'\nservers = {urls:?}\n{settings}\n\
         [[proxy.routes]]\nupstream = 'app'\n"
    ))
}
