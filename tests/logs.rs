//! The log: its level while the gateway runs, access lines, and that nobody can flood it. What clients
//! write into it is in `tests/hostile_input/logs.rs`.

mod support;

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::{App, Builder, Gateway, Response, app, eventually, http, pause};

/// An event that is refused, which is told at the level debug, with its topic.
#[track_caller]
fn refused(gateway: &Gateway, topic: &str) {
    gateway.post(&format!("/topics/{topic}?retain=perhaps"), &[], b"x").expect_status(400);
}

fn put_level(gateway: &Gateway, level: &str) -> Response {
    gateway.connect_internal().request("PUT", "/log/level", &[], level.as_bytes())
}

/// Lines with this message, waited for until there are so many.
#[track_caller]
fn lines(gateway: &Gateway, message: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} lines {message:?}"), || {
        let lines = all_lines(gateway, message);
        (lines.len() >= count).then_some(lines)
    })
}

fn all_lines(gateway: &Gateway, message: &str) -> Vec<Value> {
    let parse = |line: &String| serde_json::from_str::<Value>(line).expect("JSON");
    gateway.log().iter().map(parse).filter(|line| line["message"] == message).collect()
}

// --- The level

#[test]
fn the_level_changes_while_the_gateway_runs() {
    let gateway = Gateway::builder().config("").start();
    refused(&gateway, "before");
    let answer = put_level(&gateway, "warn,tidegate::http=debug\n").expect_status(200).json();
    assert_eq!(answer["level"], "warn,tidegate::http=debug");
    refused(&gateway, "meanwhile");
    gateway.expect_log("meanwhile");
    // A reload has the configuration's again.
    gateway.reload_by_api().expect_status(200);
    assert_eq!(gateway.get("/log/level").expect_status(200).json()["level"], "info");
    refused(&gateway, "after");
    gateway.write_config("[log]\nlevel = 'debug'\n");
    gateway.reload_by_api().expect_status(200);
    refused(&gateway, "at-last");
    gateway.expect_log("at-last");
    let log = gateway.log().join("\n");
    assert!(!log.contains("/topics/before") && !log.contains("/topics/after"), "{log}");
}

#[test]
fn what_is_no_filter_is_refused_and_changes_nothing() {
    let gateway = Gateway::start();
    for bad in ["", "loud", "info,,", "tidegate=loud", "info,tidegate", "\u{0}"] {
        let response = put_level(&gateway, bad);
        assert_eq!(response.status, 400, "{bad:?}");
        let problem = response.json();
        assert_eq!(problem["type"], "urn:tidegate:problem:bad-log-level", "{bad:?}");
        assert_eq!(problem["field"], "level");
    }
    put_level(&gateway, &"x".repeat(2000)).expect_status(413);
    gateway.post("/log/level", &[], b"debug").expect_status(405);
    assert_eq!(gateway.get("/log/level").expect_status(200).json()["level"], "info");
}

// --- Where it goes

#[test]
fn lines_have_a_priority_only_where_the_journal_reads_them() {
    // Of the shell that started it, say: standard error leads to the test.
    let gateway = Gateway::builder().env("JOURNAL_STREAM", "8:1234").start();
    let log = gateway.log();
    assert!(log.iter().all(|line| line.starts_with('{')), "{log:?}");
}

// --- Access lines

fn with_access() -> Builder {
    Gateway::builder().arg("--set=log.access=true")
}

#[test]
fn without_access_lines_nothing_is_said_of_requests() {
    let gateway = Gateway::start();
    http("GET", gateway.public, "/nothing", &[], b"");
    for number in 0..1000 {
        gateway.topic(&format!("topic-{number}")).publish("x");
    }
    let mut stream = gateway.subscribe("topic=topic-1&limit=1");
    stream.expect_hello();
    gateway.topic("topic-1").publish("x");
    stream.expect_event();
    stream.expect_end("limit");
    let log = gateway.log();
    assert_eq!(log.len(), 1, "more than that it listens: {log:#?}");
}

#[test]
fn f62_each_request_has_a_line_without_the_values_of_its_query() {
    let app = App::new(|_| app::json("{\"an\": \"answer\"}"));
    let gateway = with_access().arg("--upstream").arg(&app.url()).start();
    let mut client = gateway.connect_public();
    let answer = client.request("GET", "/a/b?token=s3cret&s3cret", &[], b"");
    let bytes = answer.expect_status(200).body.len();
    let line = lines(&gateway, "request", 1).remove(0);
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], "/a/b?token=***&***");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes"], bytes);
    assert_eq!(line["version"], "HTTP/1.1");
    assert_eq!(line["is_complete"], true);
    let peer = client.stream().local_addr().expect("an address").to_string();
    assert_eq!(line["peer"], peer.as_str());
    assert!(line["took"].as_str().is_some_and(|took| took.ends_with('s')), "{line}");
    // The app was told the same id.
    let id = line["request"].as_str().expect("an id");
    assert_eq!(app.asked()[0].header("x-request-id"), Some(id));

    let http2 = Command::new("curl")
        .args([
            "--silent",
            "--http2-prior-knowledge",
            &format!("http://{}/c?x=s3cret", gateway.public),
        ])
        .output()
        .expect("curl runs");
    assert!(http2.status.success());
    let line = lines(&gateway, "request", 2).remove(1);
    assert_eq!((&line["version"], &line["path"]), (&"HTTP/2.0".into(), &"/c?x=***".into()));
    assert_eq!((&line["bytes"], &line["is_complete"]), (&bytes.into(), &true.into()));
    // The internal listener's have theirs.
    gateway.get("/healthz").expect_status(200);
    assert_eq!(lines(&gateway, "request", 3)[2]["path"], "/healthz");
    assert!(!gateway.log().join("").contains("s3cret"));
}

#[test]
fn each_stream_has_a_line_when_it_opens_and_one_with_the_reason_when_it_closes() {
    let gateway = with_access().start();
    let mut ended = gateway.subscribe("topic=t&limit=1");
    ended.expect_hello();
    // Shards do not wait for each other's lines.
    lines(&gateway, "stream opened", 1);
    let mut left = gateway.subscribe("topic=t");
    left.expect_hello();
    let opened = lines(&gateway, "stream opened", 2);
    for line in &opened {
        assert_eq!((&line["method"], &line["version"]), (&"GET".into(), &"HTTP/1.1".into()));
        assert!(line["path"].as_str().is_some_and(|path| path.starts_with("/events?topic=***")));
    }
    assert_eq!(all_lines(&gateway, "stream closed").len(), 0);
    gateway.topic("t").publish("x");
    ended.expect_event();
    ended.expect_end("limit");
    drop(ended);
    let closed = lines(&gateway, "stream closed", 1);
    assert_eq!(
        (&closed[0]["reason"], &closed[0]["request"]),
        (&"limit".into(), &opened[0]["request"])
    );
    drop(left);
    let closed = lines(&gateway, "stream closed", 2);
    assert_eq!(
        (&closed[1]["reason"], &closed[1]["request"]),
        (&"client".into(), &opened[1]["request"])
    );
}

#[test]
fn access_lines_come_whatever_the_level_is_and_with_a_reload() {
    let gateway = Gateway::builder().config("").start();
    put_level(&gateway, "error").expect_status(200);
    http("GET", gateway.public, "/before", &[], b"");
    gateway.write_config("[log]\naccess = true\n");
    gateway.reload_by_api().expect_status(200);
    put_level(&gateway, "off").expect_status(200);
    http("GET", gateway.public, "/after", &[], b"");
    // Requests to the other listener have their lines too.
    eventually("its line", || {
        all_lines(&gateway, "request").into_iter().find(|line| line["path"] == "/after")
    });
    assert!(!gateway.log().join("").contains("/before"));
}

// --- Floods

#[test]
fn a_kind_of_lines_has_so_many_a_second_and_then_one_that_counts_the_others() {
    const REFUSED: u64 = 300;
    let limited = Gateway::builder().arg("--set=log.lines_per_second_max=5");
    let gateway = limited.arg("--log-level=debug").start();
    for number in 0..REFUSED {
        refused(&gateway, &format!("x{number}"));
    }
    // Another kind is told meanwhile.
    http("GET", gateway.public, "/events?topic=a&limit=none", &[], b"").expect_status(400);
    gateway.expect_log("refused a subscription");
    let left_out = || {
        let lines = all_lines(&gateway, "lines of the log were left out");
        let of_kind = lines.iter().filter(|line| {
            line["like"].as_str().is_some_and(|like| like.contains("publish_route.rs"))
        });
        of_kind.map(|line| line["lines"].as_u64().expect("a number")).sum::<u64>()
    };
    let told = || all_lines(&gateway, "refused a publish request").len() as u64;
    eventually("every line to be told or counted", || {
        (told() + left_out() == REFUSED).then_some(())
    });
    assert!(left_out() > 0);
    // Five for each second that it has taken, begun ones too.
    pause(Duration::from_millis(1100));
    let before = told();
    for number in 0..20 {
        refused(&gateway, &format!("y{number}"));
    }
    eventually("more lines", || (told() >= before + 5).then_some(()));
    assert!(told() <= before + 10, "{} of 20 lines in a moment", told() - before);
}
