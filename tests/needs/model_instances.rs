//! D: a desktop client of many model servers, each on a port of its own.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::page::Page;
use crate::process::node;
use crate::relay::Relay;
use crate::support::{Connection, Gateway, Origin, Subscriber, eventually, http};
use crate::system::{App, System, app_file};

const INSTANCES: &str = "model_instances";

/// A model server.
struct Model(App);

impl Model {
    #[track_caller]
    fn start() -> Self {
        let mut command = node();
        command.arg(app_file("model_instances/model_server.mjs")).env("PORT", "0");
        Self(App::start("a model server", command))
    }

    fn stream_url(&self) -> String {
        format!("{}/event", self.0.url)
    }

    /// Has a session answer with these tokens; gives when it has.
    #[track_caller]
    fn say(&self, session: &str, message: &Value) {
        let path = format!("/sessions/{session}/messages");
        let body = message.to_string();
        http("POST", self.0.address(), &path, &[], body.as_bytes()).expect_status(204);
    }

    /// Closes its streams.
    #[track_caller]
    fn drop_streams(&self) {
        http("POST", self.0.address(), "/drop", &[], b"").expect_status(204);
    }

    #[track_caller]
    fn expect_streams(&self, count: usize) {
        eventually(&format!("the model server to have {count} streams"), || {
            let streams = http("GET", self.0.address(), "/streams", &[], b"").json();
            (streams == json!(count)).then_some(())
        });
    }
}

/// With an app that tries again sooner than after a second.
#[track_caller]
fn quick() -> System {
    System::setup(INSTANCES).app_env("RETRY", "50ms").start()
}

#[track_caller]
fn add(system: &System, name: &str, url: &str) {
    let added = system.ask("PUT", &format!("/api/instances/{name}"), &json!({"url": url}));
    added.expect_status(200);
}

#[track_caller]
fn remove(system: &System, name: &str) {
    system.ask("DELETE", &format!("/api/instances/{name}"), &Value::Null).expect_status(204);
}

#[track_caller]
fn session(system: &System, instance: &str, session: &str) -> Subscriber {
    let target = format!("/api/instances/{instance}/sessions/{session}/events");
    let mut stream = system.stream(&target).open();
    stream.expect_named("tidegate-hello");
    stream
}

fn now_ms() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    time.as_millis() as u64
}

#[track_caller]
fn connected(gateway: &Gateway, count: f64) {
    gateway.expect_metric("tidegate_sources", &[("state", "connected")], count);
}

#[test]
fn need_d1_instances_are_added_and_removed_while_the_client_runs() {
    let system = System::start(INSTANCES);
    let models = [Model::start(), Model::start()];
    let mut page = system.page("/");
    page.wait_for_entry("hello", None);
    for (name, model) in ["a", "b"].iter().zip(&models) {
        add(&system, name, &model.stream_url());
        page.wait(&format!("state.instances.{name} === 'connected'"));
        model.expect_streams(1);
    }
    models[1].say("s-1", &json!({"tokens": ["from", "b"]}));
    page.wait("state.messages['s-1']?.length === 2");
    remove(&system, "a");
    models[0].expect_streams(0);
    page.wait("state.instances.a === 'removed'");
    let left = system.ask("GET", "/api/instances", &Value::Null).json();
    assert_eq!(left, json!([{"name": "b", "state": "connected", "error": null}]));
}

#[test]
fn need_d2_the_status_of_each_instance_is_seen_as_it_changes() {
    let system = quick();
    let model = Model::start();
    let mut page = system.page("/");
    page.wait_for_entry("hello", None);
    add(&system, "a", &model.stream_url());
    page.wait("state.instances.a === 'connected'");
    connected(&system.gateway, 1.0);
    model.drop_streams();
    page.wait("state.history.filter(([, state]) => state === 'connected').length === 2");
    // A page that comes now is told, and so is who asks the app.
    let mut late = system.page("/");
    late.wait("state.instances.a === 'connected'");
    drop(model);
    page.wait("state.instances.a === 'error'");
    let shown = system.ask("GET", "/api/instances", &Value::Null).json();
    assert_eq!(shown[0]["state"], "error");
    assert!(shown[0]["error"].is_string(), "{shown}");
    system.gateway.expect_metric("tidegate_sources", &[("state", "error")], 1.0);
    let states = page.run("state.history.map(([, state]) => state)");
    let begin = json!(["connecting", "connected", "disconnected", "connecting", "connected"]);
    let states = states.as_array().expect("a list");
    assert_eq!(json!(states[..5]), begin);
    assert_eq!(states.last(), Some(&json!("error")));
}

#[test]
fn need_d3_after_five_attempts_at_doubled_intervals_an_instance_is_given_up() {
    const RETRY_MS: u128 = 50;
    // As the app ships, the first interval is a second.
    let shipped = System::start(INSTANCES);
    let silent = Origin::listen();
    let refuse = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n";
    add(&shipped, "a", &silent.url());
    drop(silent.answer(refuse));
    let first = Instant::now();
    drop(silent.answer(refuse));
    let waited = first.elapsed();
    assert!((900..3_000).contains(&waited.as_millis()), "{waited:?}");

    let system = quick();
    let origin = Origin::listen();
    add(&system, "a", &origin.url());
    let mut attempts = Vec::new();
    for _ in 0..5 {
        drop(origin.answer(refuse));
        attempts.push(Instant::now());
    }
    let mut page = system.page("/");
    page.wait("state.instances.a === 'error'");
    for (times, pair) in [1, 2, 4, 8].into_iter().zip(attempts.windows(2)) {
        let waited = (pair[1] - pair[0]).as_millis();
        assert!(waited >= times * RETRY_MS * 9 / 10, "{waited} ms instead of {times} x {RETRY_MS}");
    }
    let deadline = crate::support::Deadline::after(Duration::from_secs(1));
    assert!(origin.accept_within(deadline).is_none(), "it still tries");
}

#[test]
fn need_d4_events_reach_their_instance_and_session_and_children_their_parent() {
    let system = System::start(INSTANCES);
    let models = [Model::start(), Model::start()];
    for (name, model) in ["a", "b"].iter().zip(&models) {
        add(&system, name, &model.stream_url());
    }
    connected(&system.gateway, 2.0);
    let mut parent = session(&system, "a", "s-1");
    let mut other = session(&system, "a", "s-2");
    let mut same_name = session(&system, "b", "s-1");
    models[0].say("s-1", &json!({"tokens": ["hi"]}));
    models[0].say("c-1", &json!({"tokens": ["child"], "parentId": "s-1"}));
    models[1].say("s-1", &json!({"tokens": ["b"]}));
    models[0].say("s-2", &json!({"tokens": []}));
    let expect = |stream: &mut Subscriber, events: &[(&str, &str, Option<&str>)]| {
        for (name, session, token) in events {
            let event = stream.expect_named(name);
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            assert_eq!(
                (data["sessionId"].as_str(), data["token"].as_str()),
                (Some(*session), *token)
            );
        }
    };
    let (message, updated) = ("message_updated", "session_updated");
    expect(
        &mut parent,
        &[
            (message, "s-1", Some("hi")),
            (updated, "s-1", None),
            (message, "c-1", Some("child")),
            (updated, "c-1", None),
        ],
    );
    expect(&mut other, &[(updated, "s-2", None)]);
    expect(&mut same_name, &[(message, "s-1", Some("b")), (updated, "s-1", None)]);
    for stream in [&mut parent, &mut other, &mut same_name] {
        stream.expect_silence(Duration::from_millis(100));
    }
}

#[test]
fn need_d5_messages_go_on_where_they_were_after_both_sides_dropped() {
    const TOKENS: usize = 60;
    let system = quick();
    let model = Model::start();
    add(&system, "a", &model.stream_url());
    connected(&system.gateway, 1.0);
    let mut stream = session(&system, "a", "s-1");
    let relay = Relay::to(system.gateway.public);
    let mut page = Page::open(relay.address, "/?retryBaseMs=50");
    page.wait_for_entry("hello", None);
    let tokens: Vec<usize> = (0..TOKENS).collect();
    let mut seen: Vec<u64> = Vec::new();
    // What has come beyond is lost with the stream: the cursor is that of the last event read.
    let read = |stream: &mut Subscriber, seen: &mut Vec<u64>| loop {
        let event = stream.next();
        if event.event == "session_updated" {
            return event.id;
        }
        assert_eq!(event.event, "message_updated", "{event:?}");
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        seen.push(data["token"].as_u64().expect("a token"));
        if seen.len() == TOKENS / 2 {
            return event.id;
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| model.say("s-1", &json!({"tokens": tokens, "everyMs": 20})));
        page.wait("state.messages['s-1']?.length > 5");
        // The model server's stream breaks off, then the client's.
        model.drop_streams();
        let cursor = read(&mut stream, &mut seen);
        relay.cut();
        let target = "/api/instances/a/sessions/s-1/events";
        stream = system.stream(target).after(&cursor).open();
        assert!(stream.expect_named("tidegate-hello").data.contains(r#""resumed":true"#));
        relay.mend();
    });
    read(&mut stream, &mut seen);
    assert!(seen.iter().copied().eq(0..TOKENS as u64), "{seen:?}");
    page.wait(&format!("state.messages['s-1'].length === {TOKENS}"));
    let on_page = page.run("state.messages['s-1']");
    assert_eq!(on_page, json!(tokens), "each token once, in order");
    assert_eq!(page.entries("refetch").len(), 1, "that of the start: it went on by its stream");
    let source = system.gateway.get("/sources/a").expect_status(200).json();
    assert_eq!(source["connections"], 2, "{source}");
}

#[test]
fn need_d7_text_arrives_token_by_token() {
    const TOKENS: usize = 40;
    const EVERY: Duration = Duration::from_millis(25);
    let system = System::start(INSTANCES);
    let model = Model::start();
    add(&system, "a", &model.stream_url());
    connected(&system.gateway, 1.0);
    let mut stream = session(&system, "a", "s-1");
    let mut arrived: Vec<(u64, u64)> = Vec::new();
    std::thread::scope(|scope| {
        let tokens: Vec<usize> = (0..TOKENS).collect();
        let model = &model;
        scope.spawn(move || {
            model.say("s-1", &json!({"tokens": tokens, "everyMs": EVERY.as_millis()}));
        });
        for token in 0..TOKENS {
            let event = stream.expect_named("message_updated");
            let data: Value = serde_json::from_str(&event.data).expect("JSON");
            assert_eq!(data["token"], token);
            arrived.push((data["at"].as_u64().expect("a time"), now_ms()));
        }
    });
    // Each is there before the next one is told.
    let alone = arrived.windows(2).filter(|pair| pair[0].1 < pair[1].0).count();
    assert!(alone >= TOKENS * 9 / 10, "{alone} of {TOKENS} came alone: {arrived:?}");
}

#[test]
fn need_d7_who_is_slow_gets_the_newest_state_and_every_token() {
    const PLANS: usize = 3_000;
    const TOKENS: usize = 100;
    let system = System::start(INSTANCES);
    let model = Model::start();
    add(&system, "a", &model.stream_url());
    connected(&system.gateway, 1.0);
    let target = "/api/instances/a/sessions/s-1/events";
    let mut slow = system.stream(target).receive_buffer(4096).open();
    let plans: Vec<String> = vec!["x".repeat(1_000); PLANS];
    let tokens: Vec<usize> = (0..TOKENS).collect();
    model.say("s-1", &json!({"plans": plans, "tokens": tokens}));
    let last = (PLANS + TOKENS + 1).to_string();
    eventually("all to be published", || {
        (system.gateway.get("/sources/a").json()["last_event_id"] == last).then_some(())
    });
    slow.expect_named("tidegate-hello");
    let (mut seen, mut newest, mut told) = (0, 0, Vec::new());
    loop {
        let event = slow.next();
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        let index = data["index"].as_u64();
        match event.event.as_str() {
            "session_progress" => {
                seen += 1;
                newest = index.expect("a number");
            }
            "message_updated" => told.push(index.expect("a number")),
            "session_updated" => break,
            _ => panic!("neither a gap nor anything else: {event:?}"),
        }
    }
    assert_eq!(newest, PLANS as u64 - 1);
    assert!(told.into_iter().eq(0..TOKENS as u64), "a token is missing");
    let conflated = system.gateway.metric("tidegate_events_conflated_total", &[]) as usize;
    assert_eq!(seen + conflated, PLANS);
    assert!(conflated > PLANS / 4, "{conflated} of {PLANS}: it was not slow");
}

#[test]
fn need_d6_an_instance_that_is_removed_while_connected_leaves_nothing_behind() {
    const ROUNDS: usize = 40;
    const AT_A_TIME: usize = 10;
    let system = System::start(INSTANCES);
    let model = Model::start();
    // Reads what it says through a connection of its own, as the app's are kept for a while.
    let mut app = Connection::open(system.app.address());
    let mut round = || {
        for number in 0..AT_A_TIME {
            let body = json!({"url": model.stream_url()}).to_string();
            let path = format!("/api/instances/i-{number}");
            app.request("PUT", &path, &[], body.as_bytes()).expect_status(200);
        }
        model.expect_streams(AT_A_TIME);
        model.say("s-1", &json!({"tokens": ["x".repeat(10_000)]}));
        for number in 0..AT_A_TIME {
            let path = format!("/api/instances/i-{number}");
            app.request("DELETE", &path, &[], b"").expect_status(204);
        }
        model.expect_streams(0);
    };
    (0..5).for_each(|_| round());
    let (files, memory, threads) =
        (system.gateway.open_files(), system.gateway.rss(), system.gateway.threads());
    (0..ROUNDS).for_each(|_| round());
    eventually("the descriptors to be as many as before", || {
        (system.gateway.open_files() <= files).then_some(())
    });
    let grown = system.gateway.rss().saturating_sub(memory);
    // The history of ten instances stays, within its bounds: a token of 10 KB each round.
    let history = system.gateway.metric("tidegate_history_bytes", &[]) as u64;
    assert!(grown < history + (4 << 20), "{grown} bytes more, {history} of them history");
    assert!(system.gateway.threads() <= threads, "{} threads", system.gateway.threads());
    connected(&system.gateway, 0.0);
    assert_eq!(system.gateway.get("/sources").json(), json!({"sources": []}));
}

#[test]
fn need_d8_the_debug_page_shows_the_instances_and_a_sessions_events_as_they_come() {
    let system = quick();
    let model = Model::start();
    add(&system, "a", &model.stream_url());
    connected(&system.gateway, 1.0);
    // Nobody listens here.
    add(&system, "gone", "http://127.0.0.1:1/event");

    let mut page = Page::open(system.gateway.internal, "/debug/#/sources");
    let state_of = |name: &str, state: &str| {
        format!(
            "[...document.querySelectorAll('#sources tbody tr')].some(({{ cells }}) =>
                cells[0].textContent === '{name}' && cells[1].textContent === '{state}')"
        )
    };
    page.wait(&state_of("a", "connected"));
    page.wait(&state_of("gone", "error"));

    page.run("location.hash = '#/tail'");
    page.run(
        "{ const form = document.querySelector('#tail-form');
           form.elements.topic.value = 'instance.a.session.s-1';
           form.elements.history.checked = true;
           form.elements.open.checked = true;
           form.requestSubmit(); }",
    );
    let shown = |page: &mut Page, count: usize| {
        page.wait(&format!("document.querySelectorAll('#tail-events pre').length === {count}"));
        page.run(
            "[...document.querySelectorAll('#tail-events li')].map((row) =>
                [row.querySelector('b').textContent, row.querySelector('pre').textContent])",
        )
    };
    model.say("s-2", &json!({"tokens": ["of another session"]}));
    for (round, token) in ["hello", "world"].into_iter().enumerate() {
        // Each is shown before the next is said.
        model.say("s-1", &json!({"tokens": [token]}));
        let rows = shown(&mut page, 2 * (round + 1));
        // The newest is on top.
        assert_eq!(
            (&rows[0][0], &rows[1][0]),
            (&json!("session_updated"), &json!("message_updated"))
        );
        let text = rows[1][1].as_str().expect("a text");
        assert!(
            text.starts_with("{\n  \"") && text.contains(&format!("\n  \"token\": \"{token}\"")),
            "{text}"
        );
    }
    drop(model);
    page.run("location.hash = '#/sources'");
    page.wait(&state_of("a", "error"));
}
