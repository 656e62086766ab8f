//! Snapshots: a stream begins with what an app server says, and goes on with everything since, once.
//! What the answers may be, and what becomes of a stream without one, is in `snapshots/`.

mod support;

#[path = "snapshots/answers.rs"]
mod answers;
#[path = "snapshots/cursors.rs"]
mod cursors;
#[path = "snapshots/failures.rs"]
mod failures;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use support::app::{App, json};
use support::{Gateway, Subscribe, Subscriber, pause};

/// A route of boards whose streams begin with `state`, with some more keys of the hook.
fn route(app: &App, keys: &str) -> String {
    format!(
        "[[stream.routes]]\npath = '/boards/{{boardId}}/events'\ntopics = ['board.{{boardId}}']\n\
         [stream.routes.snapshot]\nurl = '{}/api/boards/{{boardId}}/state'\nevent = 'state'\n{keys}\n",
        app.url()
    )
}

fn gateway(app: &App, keys: &str) -> Gateway {
    Gateway::builder().config(&route(app, keys)).start()
}

fn board(gateway: &Gateway) -> Subscribe {
    gateway.subscriber("").target("/boards/42/events")
}

/// An app whose state is how often it was asked.
fn counting() -> App {
    let count = AtomicUsize::new(0);
    App::new(move |_| json(&format!("{}", 1 + count.fetch_add(1, Ordering::Relaxed))))
}

/// The `state`, which must come next.
#[track_caller]
fn expect_state(stream: &mut Subscriber, data: &str) -> String {
    let event = stream.expect_named("state");
    assert_eq!(event.data, data);
    event.id
}

#[test]
fn need_b2_hello_comes_first_and_has_the_servers_time() {
    let app = counting();
    let gateway = gateway(&app, "");
    let mut stream = board(&gateway).open();
    let hello = stream.expect_hello();
    assert!(hello.time > 1_700_000_000_000, "{hello:?}");
    assert!(!hello.resumed && hello.id.is_empty(), "the snapshot moves the cursor: {hello:?}");
    assert_eq!(expect_state(&mut stream, "1"), hello.cursor);
}

#[test]
fn need_b3_snapshot_then_live() {
    let app = App::new(|_| json("{\"cards\":[1,\r\n2]}"));
    let gateway = gateway(&app, "ttl = '0s'");
    let mut quiet = board(&gateway).open();
    quiet.expect_hello();
    expect_state(&mut quiet, "{\"cards\":[1,\n2]}");
    // The recent statuses of attempts are retained; then there is what is published from now on.
    let retain = |event: &str, data: &str| {
        let text =
            format!(r#"{{"topic":"board.42","event":"{event}","data":"{data}","retain":true}}"#);
        gateway.publish(&text).expect_status(202);
    };
    retain("attempt_status", "old");
    retain("attempt_pr", "running");
    retain("attempt_status", "done");
    let mut stream = board(&gateway).open();
    stream.expect_hello();
    assert_eq!(expect_state(&mut stream, "{\"cards\":[1,\n2]}"), "", "values follow");
    let mut last = String::new();
    for (event, data) in [("attempt_pr", "running"), ("attempt_status", "done")] {
        let status = stream.expect_named(event);
        assert_eq!(status.data, data);
        last = status.id;
    }
    assert_eq!(gateway.topic("board.42").publish("live"), stream.expect_data("live").id);
    for data in ["old", "running", "done", "live"] {
        assert_eq!(quiet.next().data, data);
    }
    // Who comes back from here has everything.
    let mut back = board(&gateway).after(&last).open();
    assert!(back.expect_hello().resumed);
    back.expect_data("live");
    let asked = app.asked();
    assert_eq!(asked[0].line, "GET /api/boards/42/state HTTP/1.1");
    assert!(asked[0].header("accept").is_some_and(|accept| accept.contains("application/json")));
}

/// An app changes its state, then publishes what has changed. Whatever a snapshot has, the stream has
/// the rest: each number up to the last is in the snapshot or comes as an event, and none twice.
#[track_caller]
fn expect_everything(stream: &mut Subscriber, last: usize) {
    stream.expect_hello();
    let state: usize = stream.expect_named("state").data.parse().expect("a number");
    let mut next = None;
    while next != Some(last + 1) && !(next.is_none() && state == last) {
        let number: usize = stream.expect_event().data.parse().expect("a number");
        let expected = next.unwrap_or(number);
        assert_eq!(number, expected, "after a snapshot of {state}");
        assert!(next.is_some() || number <= state + 1, "{number} comes after {state}");
        next = Some(number + 1);
    }
}

#[test]
fn need_b3_a_burst_of_5000_connects_is_a_handful_of_fetches_and_each_event_once() {
    const CLIENTS: usize = 5_000;
    let state = Arc::new(AtomicUsize::new(0));
    let shown = Arc::clone(&state);
    let app = App::new(move |_| {
        let seen = shown.load(Ordering::SeqCst);
        // Events are published while it thinks.
        pause(Duration::from_millis(300));
        json(&seen.to_string())
    });
    let gateway = gateway(&app, "ttl = '300ms'\ntimeout = '20s'");
    let done = AtomicBool::new(false);
    let mut streams = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                let number = state.fetch_add(1, Ordering::SeqCst) + 1;
                gateway.topic("board.42").publish(&number.to_string());
                pause(Duration::from_millis(20));
            }
        });
        let asked: Vec<_> = (0..CLIENTS).map(|_| board(&gateway).ask()).collect();
        streams.extend(asked.into_iter().map(|asked| asked.open()));
        done.store(true, Ordering::SeqCst);
    });
    let last = state.load(Ordering::SeqCst);
    for stream in &mut streams {
        expect_everything(stream, last);
    }
    let last = last + 1;
    gateway.topic("board.42").publish(&last.to_string());
    for stream in &mut streams {
        stream.expect_data(&last.to_string());
    }
    let fetches = app.asked().len();
    assert!((1..=20).contains(&fetches), "{fetches} fetches");
    let counted = gateway.metric("tidegate_snapshot_fetches_total", &[("result", "ok")]);
    assert_eq!(counted as usize, fetches);
    assert_eq!(gateway.metric("tidegate_gaps_total", &[]), 0.0);
}
