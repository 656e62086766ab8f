//! The lines of the summary: which figure of which measurement, and what the gateway is held to.

use serde_json::Value;

use crate::compare::comparison::{Bound, Row, goal, number};
use crate::compare::servers::Server;

const fn row(
    what: &'static str,
    unit: &'static str,
    measurement: &'static str,
    figure: fn(&Value) -> Option<f64>,
) -> Row {
    let reference = Some((measurement, Server::Nginx));
    Row { what, unit, measurement, figure, reference, goal: None }
}

fn rate(report: &Value) -> Option<f64> {
    number(report, "/requests_per_second")
}

fn cpu_us(report: &Value) -> Option<f64> {
    number(report, "/server_cpu_us_per_request")
}

/// What a core would do if nothing else held it up: it says who costs less also where the load is
/// what limits the rate.
fn rate_of_a_core(report: &Value) -> Option<f64> {
    cpu_us(report).filter(|us| *us > 0.0).map(|us| 1e6 / us)
}

fn p50_us(report: &Value) -> Option<f64> {
    number(report, "/latency_us/p50")
}

fn p99_us(report: &Value) -> Option<f64> {
    number(report, "/latency_us/p99")
}

fn rss_mib(report: &Value) -> Option<f64> {
    number(report, "/server_rss_bytes").map(|bytes| bytes / f64::from(1 << 20))
}

const SMALL_CPU: Row = row("small GET: CPU a request", "µs", "get-small", cpu_us);
const LARGE_CPU: Row = row("64 KiB GET: CPU a request", "µs", "get-64k", cpu_us);
const POST_CPU: Row = row("POST of 64 KiB: CPU a request", "µs", "post-64k", cpu_us);
const NEW_CPU: Row =
    row("a new connection for each GET: CPU a request", "µs", "new-connections", cpu_us);

pub(super) const ROWS: &[Row] = &[
    Row {
        goal: goal(Bound::AtLeast, 1.0, 1.3),
        ..row("small GET: requests/s", "", "get-small", rate)
    },
    Row {
        goal: goal(Bound::AtLeast, 1.0, 1.3),
        ..row("small GET: requests in a second of the proxy's CPU", "", "get-small", rate_of_a_core)
    },
    SMALL_CPU,
    row("small GET: p50", "µs", "get-small", p50_us),
    row("small GET: p99", "µs", "get-small", p99_us),
    row("small GET: RSS", "MiB", "get-small", rss_mib),
    row("64 KiB GET: requests/s", "", "get-64k", rate),
    LARGE_CPU,
    row("64 KiB GET: p50", "µs", "get-64k", p50_us),
    row("64 KiB GET: p99", "µs", "get-64k", p99_us),
    row("64 KiB GET: RSS", "MiB", "get-64k", rss_mib),
    row("POST of 1 KiB: requests/s", "", "post-1k", rate),
    row("POST of 1 KiB: CPU a request", "µs", "post-1k", cpu_us),
    row("POST of 1 KiB: p50", "µs", "post-1k", p50_us),
    row("POST of 1 KiB: p99", "µs", "post-1k", p99_us),
    row("POST of 64 KiB: requests/s", "", "post-64k", rate),
    POST_CPU,
    row("POST of 64 KiB: p50", "µs", "post-64k", p50_us),
    row("POST of 64 KiB: p99", "µs", "post-64k", p99_us),
    row("4,000 connections, each a GET a second: CPU a request", "µs", "many-connections", cpu_us),
    row("4,000 connections, each a GET a second: p50", "µs", "many-connections", p50_us),
    row("4,000 connections, each a GET a second: p99", "µs", "many-connections", p99_us),
    row("4,000 connections, each a GET a second: RSS", "MiB", "many-connections", rss_mib),
    row("a new connection for each GET: requests/s", "", "new-connections", rate),
    NEW_CPU,
    row("a new connection for each GET: p50", "µs", "new-connections", p50_us),
    row("a new connection for each GET: p99", "µs", "new-connections", p99_us),
];

pub(super) const PANELS: [(Row, &str, &str); 4] = [
    (SMALL_CPU, "CPU a small GET, µs", "32 connections kept; less is better"),
    (LARGE_CPU, "CPU a GET of 64 KiB, µs", "32 connections kept; less is better"),
    (POST_CPU, "CPU a POST of 64 KiB, µs", "32 connections kept; less is better"),
    (NEW_CPU, "CPU a GET on a new connection, µs", "32 at a time; less is better"),
];
