//! What is counted of the app servers: by group, and never by path.

use crate::support::{Gateway, Origin, pause};
use crate::upgrades::upgraded;
use crate::{OK, with_group};
use std::time::Duration;

const APP: (&str, &str) = ("upstream", "app");

#[track_caller]
fn requests(gateway: &Gateway, code: &str, count: f64) {
    gateway.expect_metric("tidegate_upstream_requests_total", &[APP, ("code", code)], count);
}

#[test]
fn f78_answers_are_counted_by_class_and_timed_to_the_head() {
    let origin = Origin::listen();
    let gateway = with_group(&[&origin], "keepalive = '1m'").arg("--shards=1").start();
    let mut client = gateway.connect_public();
    client.send_request("GET", "/a/secret?path", &[], b"");
    let mut server = origin.accept();
    server.read_request();
    pause(Duration::from_millis(60));
    server.send(OK);
    client.read_response("GET").expect_status(200);
    client.send_request("GET", "/", &[], b"");
    server.read_request();
    server.send("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n");
    client.read_response("GET").expect_status(404);
    requests(&gateway, "2xx", 1.0);
    requests(&gateway, "4xx", 1.0);
    let duration =
        |name: &str| gateway.metric(&format!("tidegate_upstream_request_seconds_{name}"), &[APP]);
    assert_eq!(duration("count"), 2.0);
    assert!((0.06..5.0).contains(&duration("sum")), "{}", duration("sum"));
    gateway.expect_metric("tidegate_upstream_connections", &[APP], 1.0);
    gateway.expect_metric("tidegate_upstream_connections_idle", &[APP], 1.0);
    drop(server);
    gateway.expect_metric("tidegate_upstream_connections", &[APP], 0.0);
    gateway.expect_metric("tidegate_upstream_connections_idle", &[APP], 0.0);
    assert!(!gateway.get("/metrics").text().contains("secret"));
}

#[test]
fn servers_that_do_not_answer_are_counted_with_what_was_tried() {
    // Their ports take no connection.
    let (one, other) = (Origin::listen(), Origin::listen());
    let config = with_group(&[&one, &other], "failures_max = 1");
    drop((one, other));
    let gateway = config.start();
    gateway.connect_public().request("GET", "/", &[], b"").expect_status(502);
    requests(&gateway, "none", 1.0);
    assert_eq!(gateway.metric("tidegate_upstream_retries_total", &[APP]), 1.0);
    assert_eq!(gateway.metric("tidegate_upstream_ejections_total", &[APP]), 2.0);
    assert_eq!(gateway.metric("tidegate_upstream_connections", &[APP]), 0.0);
}

#[test]
fn upgraded_connections_are_counted_while_they_last() {
    let origin = Origin::listen();
    let gateway = with_group(&[&origin], "").start();
    let sides = upgraded(&gateway, &origin);
    requests(&gateway, "1xx", 1.0);
    gateway.expect_metric("tidegate_upstream_tunnels", &[APP], 1.0);
    gateway.expect_metric("tidegate_upstream_connections", &[APP], 1.0);
    drop(sides);
    gateway.expect_metric("tidegate_upstream_tunnels", &[APP], 0.0);
    gateway.expect_metric("tidegate_upstream_connections", &[APP], 0.0);
}
