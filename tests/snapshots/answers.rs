//! What an app server may answer, and how it arrives over each kind of stream.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::app::{App, answer, json};
use crate::support::{PATIENCE, pause};
use crate::{board, expect_state, gateway};

#[test]
fn an_event_stream_is_passed_on_with_its_names() {
    let app = App::new(|_| {
        let body =
            "id: theirs\nevent: dashboard_overview\ndata: a\ndata: b\n\ndata: plain\n\ndata: cut";
        answer("200 OK", &[("content-type", "text/event-stream")], body)
    });
    let gateway = gateway(&app, "");
    let mut stream = board(&gateway).open();
    let cursor = stream.expect_hello().cursor;
    let overview = stream.expect_named("dashboard_overview");
    assert_eq!((&*overview.data, &*overview.id), ("a\nb", ""));
    let plain = stream.expect_named("message");
    assert_eq!((plain.data, plain.id), ("plain".into(), cursor));
    gateway.topic("board.42").publish("live");
    stream.expect_data("live");
}

#[test]
fn nothing_to_say_is_no_event() {
    let app = App::new(|_| answer("204 No Content", &[], ""));
    let gateway = gateway(&app, "");
    gateway.topic("board.42").publish("before");
    let mut stream = board(&gateway).open();
    let cursor = stream.expect_hello().cursor;
    gateway.topic("board.42").publish("live");
    stream.expect_data("live");
    assert!(stream.last_event_id() > &*cursor);
}

#[test]
fn clients_share_an_answer_only_if_their_credentials_are_the_same() {
    let app = App::new(|request| {
        json(&format!("{:?} {:?}", request.header("authorization"), request.header("cookie")))
    });
    let gateway = gateway(&app, "ttl = '1m'");
    for _ in 0..2 {
        for (field, value) in [("authorization", "Bearer a"), ("cookie", "a"), ("cookie", "b")] {
            let mut stream = board(&gateway).header(field, value).header("x-other", "1").open();
            stream.expect_hello();
            let state = stream.expect_named("state").data;
            assert!(state.contains(&format!("Some({value:?})")), "{state}");
        }
    }
    let asked = app.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked.iter().all(|request| request.header("x-other").is_none()));
}

#[test]
fn a_large_snapshot_reaches_a_slow_client_whole() {
    let body = "x".repeat(900_000);
    let sent = body.clone();
    let app = App::new(move |_| json(&sent));
    let gateway = gateway(&app, "");
    let mut slow = board(&gateway).receive_buffer(4096).open();
    pause(Duration::from_millis(200));
    gateway.topic("board.42").publish("live");
    slow.expect_hello();
    expect_state(&mut slow, &body);
    slow.expect_data("live");
}

#[test]
fn over_http2_it_is_the_same() {
    let body = "y".repeat(200_000);
    let sent = body.clone();
    let app = App::new(move |_| json(&sent));
    let gateway = gateway(&app, "");
    let mut curl = Command::new("curl");
    let time = PATIENCE.as_secs().to_string();
    curl.args(["--http2-prior-knowledge", "--silent", "--max-time", &time]);
    curl.arg(format!("http://{}/boards/42/events?limit=1", gateway.public));
    let child =
        curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl is installed");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http2")], 1.0);
    gateway.topic("board.42").publish("live");
    let output = child.wait_with_output().expect("curl ends");
    let text = String::from_utf8(output.stdout).expect("a stream is UTF-8");
    let (hello, rest) = text.split_once("\n\n").expect("an event");
    assert!(hello.starts_with("event: hello\n"), "{hello}");
    let (state, rest) = rest.split_once("\n\n").expect("an event");
    assert!(state.starts_with("id: ") && state.contains("\nevent: state\n"), "{}", &state[..60]);
    assert!(state.ends_with(&format!("data: {body}")));
    assert!(rest.contains("\ndata: live\n\n"), "{rest}");
}
