//! Stream routes: paths and queries with parameters, topics made of them, and what each route has of
//! its own. The tests are named after the applications' needs where they are one (`need_b1_…`). Pages
//! of other origins are in `routes/origins.rs`.

mod support;

#[path = "routes/origins.rs"]
mod origins;

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Gateway, PATIENCE, Response, Subscriber};

/// The four applications' routes side by side, with short intervals.
const ROUTES: &str = r#"
[stream]
heartbeat = "150ms"

# A dashboard of terminal sessions: JavaScript has to see the heartbeat.
[[stream.routes]]
path = "/api/sessions/events"
topics = ["sessions.>"]
heartbeat_kind = "event"
heartbeat_data = '{"type":"ping"}'
control = { hello = "", heartbeat = "", end = "" }

# A kanban board, whose events have names that are the gateway's by default.
[[stream.routes]]
path = "/api/boards/{boardId}/events"
topics = ["board.{boardId}", "agents.*"]
parameters = { boardId = "[A-Za-z0-9_-]{1,16}" }
control = { hello = "tidegate-hello", gap = "tidegate-gap", end = "tidegate-end" }

[[stream.routes]]
path = "/api/board/events"
topics = ["board.{boardId}"]
parameters = { boardId = "[A-Za-z0-9_-]{1,16}" }
control = { hello = "tidegate-hello", gap = "tidegate-gap", end = "tidegate-end" }

# Its dashboard, on a path that a board's would match too.
[[stream.routes]]
path = "/api/boards/dashboard/events"
topics = ["dashboard"]
control = { hello = "tidegate-hello", gap = "tidegate-gap", end = "tidegate-end" }

# The firehose of an app builder.
[[stream.routes]]
path = "/api/events"
topics = [">"]
broadcast = false
control = { hello = "", gap = "tidegate-gap" }

[[stream.routes]]
path = "/brief"
topics = ["tasks"]
max_lifetime = "1s"
control = { hello = "", gap = "tidegate-gap" }

[[stream.routes]]
path = "/live-only"
topics = ["board.*"]
heartbeat_kind = "off"
resume = false
control = { hello = "tidegate-hello", gap = "tidegate-gap", end = "tidegate-end" }
"#;

#[track_caller]
fn gateway() -> Gateway {
    Gateway::builder().config(ROUTES).start()
}

/// A stream at this path and query.
#[track_caller]
fn open(gateway: &Gateway, target: &str) -> Subscriber {
    gateway.subscriber("").target(target).open()
}

#[track_caller]
fn ask(gateway: &Gateway, target: &str) -> Response {
    gateway.subscriber("").target(target).response()
}

/// What curl gets over HTTP/2: once the stream is there, `publish` is called.
#[track_caller]
fn over_http2(gateway: &Gateway, target: &str, publish: impl FnOnce()) -> String {
    let mut curl = Command::new("curl");
    let time = PATIENCE.as_secs().to_string();
    curl.args(["--http2-prior-knowledge", "--silent", "--include", "--max-time", &time]);
    curl.arg(format!("http://{}{target}", gateway.public));
    let child =
        curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl is installed");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http2")], 1.0);
    publish();
    let output = child.wait_with_output().expect("curl ends");
    assert!(output.status.success(), "curl failed: {output:?}");
    String::from_utf8(output.stdout).expect("a stream is UTF-8")
}

#[test]
fn need_a1_heartbeat_is_a_real_event() {
    let gateway = gateway();
    let mut sessions = open(&gateway, "/api/sessions/events");
    let began = Instant::now();
    for _ in 0..3 {
        let ping = sessions.next();
        assert_eq!((&*ping.event, &*ping.data), ("message", r#"{"type":"ping"}"#));
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "{:?}", began.elapsed());
    gateway.topic("sessions.s1").publish_named("hello", "the application's own");
    let event = std::iter::repeat_with(|| sessions.next()).find(|event| event.event != "message");
    assert_eq!(event.expect("there is one").data, "the application's own");

    let text = over_http2(&gateway, "/api/sessions/events?limit=1", || {
        support::pause(Duration::from_secs(1));
        gateway.topic("sessions.s1").publish("over");
    });
    let (_, stream) = text.split_once("\r\n\r\n").expect("a head");
    assert!(stream.contains("\ndata: {\"type\":\"ping\"}\n\n"), "{stream}");
    assert!(stream.ends_with("data: over\n\n"), "neither hello nor end: {stream}");
    assert!(stream.starts_with("id: ") && stream.contains("\nretry: "), "{stream}");
}

#[test]
fn need_b1_a_board_that_is_missing_or_malformed_is_a_clear_400() {
    let gateway = gateway();
    for (target, detail) in [
        (
            "/api/board/events",
            "the parameter is missing; its value has to match [A-Za-z0-9_-]{1,16}",
        ),
        (
            "/api/board/events?board=1",
            "the parameter is missing; its value has to match [A-Za-z0-9_-]{1,16}",
        ),
        ("/api/board/events?boardId=a.b", "the value has to match [A-Za-z0-9_-]{1,16}"),
        ("/api/board/events?boardId=%3E", "the value has to match [A-Za-z0-9_-]{1,16}"),
        ("/api/board/events?boardId=1&boardId=2", "the parameter is there more than once"),
        ("/api/boards/a%2Fb/events", "the value has to match [A-Za-z0-9_-]{1,16}"),
        ("/api/boards/*/events", "the value has to match [A-Za-z0-9_-]{1,16}"),
        ("/api/boards/%ff/events", "the value is not UTF-8"),
    ] {
        let response = ask(&gateway, target);
        assert_eq!(response.json()["detail"], detail, "{target}");
        assert_eq!(response.expect_refused(400, "boardId"), "bad-parameter", "{target}");
    }
    let mut boards =
        ["/api/boards/42/events", "/api/boards/%34%32/events?_=17", "/api/board/events?boardId=42"]
            .map(|target| open(&gateway, target));
    for board in &mut boards {
        board.expect_named("tidegate-hello");
    }
    gateway.topic("board.43").publish("not yours");
    gateway.topic("board.42").publish("yours");
    for board in &mut boards {
        board.expect_data("yours");
    }
    let text = over_http2(&gateway, "/api/boards/42/events?limit=1", || {
        gateway.topic("board.42").publish("over HTTP/2");
    });
    assert!(text.starts_with("HTTP/2 200") && text.contains("data: over HTTP/2\n"), "{text}");
}

#[test]
fn need_b5_a_dashboard_stream_beside_the_boards() {
    let gateway = gateway();
    let mut dashboard = open(&gateway, "/api/boards/dashboard/events");
    let mut board = open(&gateway, "/api/boards/dashboard2/events");
    dashboard.expect_named("tidegate-hello");
    board.expect_named("tidegate-hello");
    gateway.topic("board.dashboard2").publish("a board");
    gateway.topic("dashboard").publish_named("dashboard_overview", "{}");
    assert_eq!(dashboard.next().event, "dashboard_overview");
    board.expect_data("a board");
    dashboard.expect_comment();
}

#[test]
fn need_b6_star_reaches_every_connection() {
    let gateway = gateway();
    let mut everyone = ["/api/boards/1/events", "/api/boards/dashboard/events", "/live-only"]
        .map(|target| open(&gateway, target));
    for stream in &mut everyone {
        stream.expect_named("tidegate-hello");
    }
    let mut firehose = open(&gateway, "/api/events");
    gateway.expect_metric("tidegate_subscribers", &[], 4.0);
    let star = gateway.publish(r#"{"topic":"*","event":"agent_profile","data":"to all"}"#).json();
    gateway.publish(r#"{"topic":["board.1","tasks"],"data":"to some"}"#);
    for stream in &mut everyone {
        let event = stream.next();
        assert_eq!((&*event.event, &*event.data), ("agent_profile", "to all"));
    }
    // Whose route has `broadcast = false` is not told, neither live nor of what it has missed.
    firehose.expect_data("to some");
    let before = star["id"].as_str().expect("an id").replace("-1", "-0");
    let mut resumed = gateway.subscriber("").target("/api/events").after(&before).open();
    resumed.expect_data("to some");
}

#[test]
fn need_b7_empty_topics_are_cleaned_up() {
    // Each shard counts its own.
    let gateway = Gateway::builder().config(ROUTES).env("TIDEGATE__SERVER__SHARDS", "1").start();
    let streams: Vec<_> =
        (0..20).map(|board| open(&gateway, &format!("/api/boards/{board}/events"))).collect();
    // Theirs, and the pattern that they share.
    gateway.expect_metric("tidegate_topics", &[], 21.0);
    drop(streams);
    gateway.expect_metric("tidegate_topics", &[], 0.0);
}

#[test]
fn need_b9_the_applications_names_are_free_once_no_route_uses_them() {
    let gateway = gateway();
    let mut board = open(&gateway, "/api/boards/1/events");
    board.expect_named("tidegate-hello");
    for free in ["hello", "state", "heartbeat"] {
        gateway.topic("board.1").publish_named(free, "{}");
        assert_eq!(board.next().event, free);
    }
    // `end` is still used on another route, and `gap` on the sessions'.
    for reserved in ["end", "gap", "tidegate-hello", "tidegate-gap", "tidegate-end"] {
        let response = gateway.publish(&format!(r#"{{"topic":"t","event":"{reserved}"}}"#));
        assert_eq!(response.expect_refused(403, "event"), "reserved-name", "{reserved}");
    }
}

#[test]
fn need_c4_a_firehose_at_any_path() {
    let gateway = gateway();
    let mut firehose = open(&gateway, "/api/events");
    gateway.expect_metric("tidegate_subscribers", &[], 1.0);
    for topic in ["task", "task.created", "a.b.c.d"] {
        gateway.topic(topic).publish_named("task.status", topic);
        assert_eq!(firehose.next().data, topic);
    }
    // With routes of its own a gateway has no other: none that clients could name topics on.
    assert_eq!(ask(&gateway, "/events?topic=board.1").expect_whole_problem(404), "not-found");
}

#[test]
fn need_c6_lifetimes_are_capped_for_each_route() {
    let gateway = gateway();
    let mut board = open(&gateway, "/api/boards/1/events");
    let began = Instant::now();
    let mut brief = open(&gateway, "/brief");
    brief.expect_end("max_lifetime");
    brief.expect_closed();
    let lived = began.elapsed();
    assert!((700..3000).contains(&lived.as_millis()), "{lived:?}");
    board.expect_named("tidegate-hello");
    gateway.topic("board.1").publish("still here");
    board.expect_data("still here");
}

#[test]
fn need_c6_stream_max_seconds_is_for_routes_that_say_nothing_else() {
    let route = "[[stream.routes]]\npath = '/api/events'\ntopics = ['>']\n";
    let gateway = Gateway::builder().config(route).env("STREAM_MAX_SECONDS", "1").start();
    let mut firehose = open(&gateway, "/api/events");
    firehose.expect_hello();
    let end = firehose.expect_end("max_lifetime");
    assert!(end.retry_ms.is_some());
}

#[test]
fn f77_need_c7_no_proxy_or_cache_keeps_a_stream_back() {
    let gateway = gateway();
    let expected = BTreeMap::from([
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
    ]);
    for target in ["/api/events", "/api/boards/1/events", "/api/sessions/events", "/live-only"] {
        let stream = open(&gateway, target);
        let head = gateway.connect_public().request("HEAD", target, &[], b"").expect_status(200);
        for (name, value) in &expected {
            assert_eq!(stream.head().header(name), Some(*value), "{target}");
            assert_eq!(head.header(name), Some(*value), "HEAD {target}");
        }
    }
    let text = over_http2(&gateway, "/api/boards/2/events?limit=1", || {
        gateway.topic("board.2").publish("x");
    });
    for (name, value) in &expected {
        assert!(text.contains(&format!("\r\n{name}: {value}\r\n")), "{text}");
    }
}

#[test]
fn without_heartbeats_a_quiet_stream_is_silent_and_still_ends() {
    let gateway = gateway();
    let mut quiet = open(&gateway, "/live-only?max_duration=700ms");
    let hello = quiet.expect_named("tidegate-hello");
    assert!(hello.data.contains(r#""heartbeat_ms":0"#), "{hello:?}");
    assert_eq!(quiet.next().event, "tidegate-end");
    assert_eq!(quiet.drain(Duration::from_millis(100)), []);
}

#[test]
fn without_resume_what_was_missed_is_a_gap_and_then_live() {
    let gateway = gateway();
    let first = gateway.topic("board.1").publish("one");
    let second = gateway.topic("board.1").publish("two");
    let after = |id: &str| {
        let mut stream = gateway.subscriber("").target("/live-only").after(id).open();
        let hello = stream.expect_named("tidegate-hello");
        (stream, hello.data.contains(r#""resumed":true"#))
    };
    let (mut stream, is_resumed) = after(&first);
    assert!(!is_resumed);
    let gap = stream.expect_named("tidegate-gap");
    let expected =
        format!(r#"{{"after":"{first}","to":"{second}","count":null,"reason":"expired"}}"#);
    assert_eq!((gap.data, &gap.id), (expected, &second));
    // Who has missed nothing is told nothing.
    let (mut current, is_resumed) = after(&second);
    assert!(is_resumed);
    gateway.topic("board.1").publish("three");
    stream.expect_data("three");
    current.expect_data("three");
}

#[test]
fn a_route_has_its_own_ring_and_what_becomes_of_slow_streams() {
    let config = "[[stream.routes]]\npath = '/strict'\ntopics = ['t']\nslow = 'disconnect'\n\
        ring_frames_max = 4\n[[stream.routes]]\npath = '/patient'\ntopics = ['t']\nring_frames_max = 64\n";
    let gateway =
        Gateway::builder().config(config).env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB").start();
    let stuck = |target: &str| gateway.subscriber("").target(target).receive_buffer(4096).open();
    let (mut strict, mut patient) = (stuck("/strict"), stuck("/patient"));
    let events = 100;
    for number in 0..events {
        gateway.topic("t").publish(&format!("{number} {}", "x".repeat(10_000)));
    }
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "slow")], 1.0);
    patient.expect_hello();
    let (mut got, mut lost) = (0, 0);
    while got + lost < events {
        let event = patient.next();
        match &*event.event {
            "gap" => {
                let data: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
                lost += data["count"].as_u64().expect("a count");
            }
            _ => got += 1,
        }
    }
    assert!(got >= 64 && lost > 0, "{got} came, {lost} were lost");
    strict.expect_hello();
    assert!(strict.drain(Duration::from_millis(300)).len() < 64);
}

#[test]
fn a_stream_route_is_for_get_and_head_and_for_nothing_below_it() {
    let gateway = gateway();
    let mut connection = gateway.connect_public();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let response = connection.request(method, "/api/boards/1/events", &[], b"");
        assert_eq!(response.header("allow"), Some("GET, HEAD"), "{method}");
        assert_eq!(response.expect_whole_problem(405), "method-not-allowed");
    }
    for path in ["/api/boards/1/events/", "/api/boards//events", "/api/boards/1", "/API/events"] {
        let response = connection.request("GET", path, &[], b"");
        assert_eq!(response.expect_whole_problem(404), "not-found", "{path}");
    }
}
