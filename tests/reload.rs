//! Reloads: what changes at once, what waits for a restart, what refuses the whole, and that no stream
//! notices. Certificates are in `tests/tls.rs`.

mod support;

#[path = "reload/parts.rs"]
mod parts;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Gateway, eventually};

fn with(config: &str) -> Gateway {
    Gateway::builder().config(config).start()
}

/// Reloads with another file; gives what the answer says of the keys.
#[track_caller]
fn reload(gateway: &Gateway, config: &str) -> Vec<Value> {
    gateway.write_config(config);
    let answer = gateway.reload_by_api().expect_status(200).json();
    answer["changed"].as_array().expect("a list of keys").clone()
}

/// Reloads with a file that is refused; gives why.
#[track_caller]
fn refused(gateway: &Gateway, config: &str) -> String {
    gateway.write_config(config);
    let answer = gateway.reload_by_api().expect_status(422).json();
    assert_eq!(answer["type"], "urn:tidegate:problem:bad-configuration");
    answer["detail"].as_str().expect("a text").to_owned()
}

fn end_event(name: &str) -> String {
    format!("[stream.control]\nend = '{name}'\n")
}

#[test]
fn new_streams_are_like_the_new_file_and_open_ones_stay_as_they_were() {
    let gateway = with(&end_event("old-end"));
    let mut open = gateway.subscribe("topic=t&limit=2");
    open.expect_hello();
    gateway.topic("t").publish("one");
    open.expect_data("one");

    let changed = reload(&gateway, &end_event("new-end"));
    let expected = json!([
        {"key": "stream.control.end", "result": "applied", "counts_for": "new streams"}
    ]);
    assert_eq!(Value::from(changed), expected);
    let mut new = gateway.subscribe("topic=t&limit=1");
    new.expect_hello();
    gateway.topic("t").publish("two");
    open.expect_data("two");
    open.expect_named("old-end");
    open.expect_closed();
    new.expect_data("two");
    new.expect_named("new-end");
    // The name is free again.
    gateway.publish(r#"{"topic": "t", "event": "old-end"}"#).expect_status(202);
    gateway.publish(r#"{"topic": "t", "event": "new-end"}"#).expect_status(403);
    gateway.expect_metric("tidegate_config_reloads_total", &[("result", "ok")], 1.0);
    assert!(gateway.metric("tidegate_config_reload_success_timestamp_seconds", &[]) > 1.7e9);
}

#[test]
fn a_signal_does_the_same_and_the_log_says_what() {
    let gateway = with(&end_event("old-end"));
    gateway.write_config(&format!("[server]\nshards = 7\n{}", end_event("new-end")));
    gateway.reload();
    gateway.expect_log("the configuration is reloaded");
    let said = gateway.expect_log("stream.control.end");
    assert!(said.contains("applied") && said.contains("new streams"), "{said}");
    let said = gateway.expect_log("server.shards");
    assert!(said.contains("needs a restart"), "{said}");
    let mut new = gateway.subscribe("topic=t&max_duration=100ms");
    new.expect_hello();
    new.expect_named("new-end");
}

#[test]
fn f76_a_bad_file_changes_nothing_and_says_where_it_is_bad() {
    let gateway = with(&end_event("old-end"));
    let mut open = gateway.topic("t").subscribe();
    open.expect_hello();
    let with_authority = "[[proxy.upstreams]]\nname = 'a'\nservers = ['https://a']\n\
                          ca = '/does/not/exist'\n[[proxy.routes]]\nupstream = 'a'\n";
    for (bad, reasons) in [
        ("[stream\n", &[".toml:1:8"][..]),
        ("[stream]\nheartbeet = '1s'\n", &[".toml:2:1", "heartbeat"]),
        ("[server]\ndrain = 7\n[log]\nlevel = 'loud'\n", &[".toml:2:9", "server.drain"]),
        ("[log]\nlevel = 'loud'\n", &["log.level", "loud"]),
        (with_authority, &["proxy.upstreams.ca", "/does/not/exist"]),
    ] {
        // A part of it would be fine.
        let file = format!("{}{bad}", end_event("new-end"));
        let file = if bad.starts_with("[stream") { bad.to_owned() } else { file };
        let why = refused(&gateway, &file);
        let shifted = |reason: &str| match file == bad {
            true => reason.to_owned(),
            false => reason.replace(":2:", ":4:"),
        };
        for reason in reasons {
            assert!(why.contains(&shifted(reason)), "no {reason} in {why}");
        }
    }
    gateway.write_config("nonsense");
    gateway.reload();
    gateway.expect_metric("tidegate_config_reloads_total", &[("result", "failed")], 6.0);
    gateway.expect_log("the configuration stays as it was");
    gateway.expect_metric("tidegate_config_reloads_total", &[("result", "ok")], 0.0);
    gateway.expect_metric("tidegate_config_reload_success_timestamp_seconds", &[], 0.0);
    gateway.topic("t").publish("still here");
    open.expect_data("still here");
    let mut new = gateway.subscribe("topic=t&max_duration=100ms");
    new.expect_hello();
    new.expect_named("old-end");
}

#[test]
fn what_needs_a_restart_is_named_each_time_and_the_rest_is_applied() {
    let gateway = with("");
    let file = format!("[server]\nshards = 7\nlisten = '127.0.0.1:1'\n{}", end_event("new-end"));
    // The tests' own flag says where to listen: it beats the file, as at the start.
    let restart = json!({"key": "server.shards", "result": "needs a restart"});
    let changed = reload(&gateway, &file);
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!(changed[0], restart);
    assert_eq!(changed[1]["result"], "applied");
    assert_eq!(reload(&gateway, &file), [restart]);
    assert_eq!(reload(&gateway, &end_event("new-end")), [json!(null); 0]);
}

#[test]
fn f76_what_only_goes_together_with_a_restart_is_refused() {
    let gateway = with("");
    let larger = "[mailbox]\nbytes_max = '256MiB'\n[publish]\nbody_bytes_max = '32MiB'\n";
    let why = refused(&gateway, larger);
    for part in ["publish.body_bytes_max", "64MiB", "restart", "mailbox.bytes_max"] {
        assert!(why.contains(part), "no {part} in {why}");
    }
}

#[test]
fn streams_notice_nothing_of_reloads_under_load() {
    const EVENTS: usize = 400;
    let gateway = with(&end_event("end-0"));
    let mut open: Vec<_> = (0..20).map(|_| gateway.topic("t").subscribe()).collect();
    open.iter_mut().for_each(|stream| drop(stream.expect_hello()));
    std::thread::scope(|scope| {
        let reloading = scope.spawn(|| {
            for number in 1..=60 {
                let heartbeat = format!("[stream]\nheartbeat = '{number}s'\n");
                reload(&gateway, &format!("{heartbeat}{}", end_event(&format!("end-{number}"))));
                let mut new = gateway.subscribe("topic=other&max_duration=100ms");
                assert_eq!(new.expect_hello().heartbeat_ms, number * 1000);
                new.expect_named(&format!("end-{number}"));
            }
        });
        for number in 0..EVENTS {
            gateway.topic("t").publish(&number.to_string());
        }
        reloading.join().expect("each reload counts for the next stream");
    });
    for stream in &mut open {
        for number in 0..EVENTS {
            stream.expect_data(&number.to_string());
        }
    }
    gateway.expect_metric("tidegate_config_reloads_total", &[("result", "ok")], 60.0);
}

#[test]
fn only_a_post_that_is_no_other_sites_page_reloads() {
    let gateway = with("");
    gateway.get("/reload").expect_status(405);
    let headers = [("sec-fetch-site", "cross-site")];
    gateway.post("/reload", &headers, b"").expect_status(403);
    gateway.expect_metric("tidegate_config_reloads_total", &[], 0.0);
}

#[test]
fn a_gateway_that_drains_reads_no_configuration() {
    let gateway = Gateway::builder().config("").arg("--set=server.drain=20s").start();
    let mut half = gateway.connect_public();
    half.send(b"GET / HTTP/1.1\r\nhost: a");
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    gateway.terminate();
    eventually("readiness to fail", || (gateway.get("/readyz").status == 503).then_some(()));
    assert!(gateway.reload_by_api().expect_problem(503).ends_with("draining"));
}

#[test]
fn the_drain_time_is_that_of_the_last_reload() {
    let mut gateway = with("[server]\ndrain = '1h'\n");
    let mut half = gateway.connect_public();
    half.send(b"GET / HTTP/1.1\r\nhost: a");
    gateway.expect_metric("tidegate_connections", &[("listener", "public")], 1.0);
    reload(&gateway, "[server]\ndrain = '300ms'\nheader_timeout = '1h'\n");
    gateway.terminate();
    let began = std::time::Instant::now();
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    gateway.expect_log("the drain time is over");
}
