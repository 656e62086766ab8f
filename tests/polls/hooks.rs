//! An app server decides on polls and says what they begin with, as it does for streams.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::app::{self, App, answer};
use crate::support::{Gateway, Request, eventually, http, pause};
use crate::{Poller, data};

const TARGET: &str = "/boards/42/events?wait=20s";

/// Boards with forward auth and a snapshot, with some more keys of that.
fn config(app: &App, keys: &str) -> String {
    let url = app.url();
    format!(
        "[[stream.routes]]\npath = '/boards/{{boardId}}/events'\n\
         topics = ['board.{{boardId}}', 'agents.*']\n\
         [stream.routes.auth]\nurl = '{url}/auth/{{boardId}}'\nheaders = ['cookie']\n\
         [stream.routes.snapshot]\nurl = '{url}/state/{{boardId}}'\nevent = 'state'\n{keys}\n"
    )
}

fn gateway(app: &App, keys: &str) -> Gateway {
    Gateway::builder().config(&config(app, keys)).start()
}

fn poller(gateway: &Gateway) -> Poller {
    let mut poller = Poller::new(gateway, TARGET);
    poller.cookie = "anna";
    poller
}

fn is_for_auth(request: &Request) -> bool {
    request.line.contains("/auth/")
}

/// Lets Anna in as `session`, and nobody else.
fn decide(request: &Request, fields: &[(&str, &str)]) -> String {
    match request.header("cookie") {
        Some("anna") => answer("204 Yes", fields, ""),
        _ => answer("401 Unauthorized", &[("www-authenticate", "Cookie")], "log in"),
    }
}

fn revoke(gateway: &Gateway, session: &str) -> Value {
    let answered = http("DELETE", gateway.internal, &format!("/sessions/{session}"), &[], b"");
    answered.expect_status(200).json()
}

#[test]
fn need_a4_a_poll_has_the_rights_and_the_snapshot_of_its_route() {
    let lines = "1\n{\"cards\":[2]}\n";
    let app = App::new(move |request| match is_for_auth(request) {
        true => decide(request, &[]),
        false => answer("200 OK", &[("content-type", "application/x-ndjson")], lines),
    });
    let gateway = gateway(&app, "ttl = '0s'");
    let head = gateway.topic("board.42").publish("in the snapshot");

    let mut stranger = Poller::new(&gateway, TARGET);
    stranger.ask();
    let refused = stranger.response();
    assert_eq!((refused.status, refused.text()), (401, "log in"));
    assert_eq!(refused.header("www-authenticate"), Some("Cookie"));
    assert!(app.asked().iter().all(is_for_auth), "a stranger's state is asked for");

    // The events are those of a stream: no topic, and an id where the cursor moves.
    let mut poller = poller(&gateway);
    let state = json!([
        {"id": null, "topic": null, "event": "state", "data": "1"},
        {"id": head, "topic": null, "event": "state", "data": "{\"cards\":[2]}"},
    ]);
    assert_eq!(Value::from(poller.poll()), state);
    assert_eq!(poller.cursor.as_deref(), Some(&*head));
    poller.ask();
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    let id = gateway.topic("agents.7").publish("live");
    let live = json!([{"id": id, "topic": "agents.7", "event": null, "data": "live"}]);
    assert_eq!(Value::from(poller.answer()), live);
    let of_snapshots = |app: &App| app.asked().iter().filter(|asked| !is_for_auth(asked)).count();
    assert_eq!(of_snapshots(&app), 1, "who has a good cursor needs no snapshot");

    // What is lost is told of, and a snapshot heals it.
    poller.cursor = Some("nonsense".into());
    let events = poller.poll();
    assert_eq!(data(&events), ["1", "{\"cards\":[2]}"]);
    assert_eq!((&poller.gap["reason"], &poller.gap["to"]), (&"epoch".into(), &id.into()));
    // Retained values come behind it, and until then a client's cursor stays.
    gateway.publish(r#"{"topic":"agents.1","event":"status","data":"idle","retain":true}"#);
    poller.cursor = None;
    let events = poller.poll();
    assert_eq!(data(&events), ["1", "{\"cards\":[2]}", "idle"]);
    assert_eq!(events[1]["id"], Value::Null);
    assert_eq!(poller.cursor.as_deref(), events[2]["id"].as_str());
    gateway.expect_metric("tidegate_snapshot_fetches_total", &[("result", "ok")], 3.0);
}

#[test]
fn need_a4_what_a_poll_without_its_snapshot_is_answered_its_route_says() {
    let is_well = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_well);
    let app = App::new(move |request| match is_for_auth(request) {
        true => decide(request, &[]),
        false if asked.load(Ordering::SeqCst) => app::json("state"),
        false => answer("500 Oh", &[], "secret"),
    });
    let fails = gateway(&app, "");
    let mut client = poller(&fails);
    client.ask();
    assert_eq!(client.response().expect_whole_problem(502), "bad-upstream");

    let skips = gateway(&app, "on_failure = 'skip'");
    assert_eq!(poller(&skips).poll(), Vec::<Value>::new());

    let retries = gateway(&app, "on_failure = 'retry'");
    let mut client = poller(&retries);
    client.ask();
    let later = client.response();
    let seconds = later.header("retry-after").and_then(|text| text.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| (1..=5).contains(&seconds)), "{seconds:?}");
    assert_eq!(later.expect_whole_problem(503), "poll-later");
    is_well.store(true, Ordering::SeqCst);
    assert_eq!(data(&client.poll()), ["state"]);
}

#[test]
fn need_a4_polls_that_wait_end_with_their_session() {
    let has_left = Arc::new(AtomicBool::new(false));
    let left = Arc::clone(&has_left);
    let app = App::new(move |request| match is_for_auth(request) {
        true if left.load(Ordering::SeqCst) => answer("401 Unauthorized", &[], "log in"),
        true => decide(request, &[("tidegate-session", "s")]),
        false => app::json("state"),
    });
    let gateway = gateway(&app, "");
    let mut pollers = [poller(&gateway), poller(&gateway)];
    for poller in &mut pollers {
        poller.poll();
        poller.ask();
    }
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 2.0);
    has_left.store(true, Ordering::SeqCst);
    let began = Instant::now();
    assert_eq!(revoke(&gateway, "s"), json!({"ended": 2}));
    for poller in &mut pollers {
        let cursor = poller.cursor.clone();
        assert_eq!((poller.answer(), &poller.cursor), (vec![], &cursor));
        // Why is the app's to say.
        poller.ask();
        assert_eq!(poller.response().status, 401);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn need_a4_a_poll_does_not_wait_longer_than_it_may() {
    let count = AtomicUsize::new(0);
    let app = App::new(move |request| match is_for_auth(request) {
        true if count.fetch_add(1, Ordering::SeqCst) == 0 => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
            let expires = (now.as_secs() + 2).to_string();
            decide(request, &[("tidegate-expires", &expires)])
        }
        true => answer("401 Unauthorized", &[], "log in"),
        false => app::json("state"),
    });
    let gateway = gateway(&app, "");
    let began = Instant::now();
    let mut poller = poller(&gateway);
    assert_eq!(data(&poller.poll()), ["state"]);
    // The decision is kept, and what is left of it is how long this one waits.
    assert_eq!(poller.poll(), Vec::<Value>::new());
    let waited = began.elapsed();
    assert!((900..3500).contains(&waited.as_millis()), "{waited:?}");
    pause(Duration::from_millis(100));
    poller.ask();
    assert_eq!(poller.response().status, 401);
}

#[test]
fn f57_a_poll_that_a_revocation_overtakes_is_told_nothing() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let app = App::new(move |request| match is_for_auth(request) {
        true if counted.fetch_add(1, Ordering::SeqCst) == 0 => {
            pause(Duration::from_millis(500));
            decide(request, &[("tidegate-session", "s")])
        }
        true => answer("401 Unauthorized", &[], "log in"),
        false => app::json("state"),
    });
    let gateway = gateway(&app, "");
    let mut poller = poller(&gateway);
    poller.ask();
    eventually("the app to be asked", || (count.load(Ordering::SeqCst) == 1).then_some(()));
    revoke(&gateway, "s");
    assert_eq!(poller.response().expect_whole_problem(503), "poll-later");
    poller.ask();
    assert_eq!(poller.response().status, 401);
    gateway.expect_metric("tidegate_subscribers", &[], 0.0);
}
