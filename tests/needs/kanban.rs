//! B: a kanban server with agents, a stream for each board and one for the dashboard.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::Client;
use crate::support::{Event, Subscriber, eventually, pause, percent_encode};
use crate::system::System;

const KANBAN: &str = "kanban";

/// A system with these boards.
#[track_caller]
fn with_boards(system: System, boards: &[&str]) -> System {
    for board in boards {
        system.ask("PUT", &format!("/api/boards/{board}"), &json!({})).expect_status(204);
    }
    system
}

/// An agent reports something.
#[track_caller]
fn tell(system: &System, board: &str, name: &str, data: &Value) {
    system.ask("POST", &format!("/agent/boards/{board}/{name}"), data).expect_status(200);
}

#[track_caller]
fn start_attempt(system: &System, board: &str) -> String {
    let path = format!("/api/boards/{board}/attempts");
    let attempt = system.ask("POST", &path, &json!({"agent": "coder"})).expect_status(200).json();
    attempt["attemptId"].as_str().expect("a name").to_owned()
}

#[track_caller]
fn set_status(system: &System, board: &str, attempt: &str, status: &str) {
    let path = format!("/api/boards/{board}/attempts/{attempt}");
    system.ask("PUT", &path, &json!({"status": status})).expect_status(200);
}

fn board_stream(board: &str) -> String {
    format!("/api/events?boardId={}", percent_encode(board))
}

#[track_caller]
fn data(event: &Event) -> Value {
    serde_json::from_str(&event.data)
        .unwrap_or_else(|error| panic!("not JSON ({error}): {event:?}"))
}

/// A board's stream, read up to and with its state.
#[track_caller]
fn open_board(system: &System, board: &str) -> (Subscriber, Value) {
    let mut stream = system.stream(&board_stream(board)).open();
    stream.expect_named("tidegate-hello");
    stream.expect_named("hello");
    let state = data(&stream.expect_named("state"));
    (stream, state)
}

#[test]
fn need_b1_a_stream_of_each_board_and_a_400_or_404_for_what_is_none() {
    let system = with_boards(System::start(KANBAN), &["one", "two"]);
    let ask = |target: &str| system.stream(target).response();
    for target in
        ["/api/events", "/api/events?boardId=", "/api/events?boardId=a.b", "/api/events?board=one"]
    {
        let refused = ask(target);
        let detail = refused.json()["detail"].to_string();
        assert!(detail.contains("has to match [A-Za-z0-9_-]{1,64}"), "{target}: {detail}");
        assert_eq!(refused.expect_refused(400, "boardId"), "bad-parameter", "{target}");
    }
    let unknown = ask("/api/events?boardId=three").expect_status(404);
    assert_eq!(unknown.json(), json!({"error": "there is no board three"}), "the app's own words");
    let ((mut one, _), (mut two, _)) = (open_board(&system, "one"), open_board(&system, "two"));
    tell(&system, "one", "git_status", &json!({"of": "one"}));
    tell(&system, "two", "git_status", &json!({"of": "two"}));
    assert_eq!(data(&one.next()), json!({"of": "one"}));
    assert_eq!(data(&two.next()), json!({"of": "two"}));
}

#[test]
fn need_b2_hello_with_the_servers_time_is_first() {
    let system = with_boards(System::start(KANBAN), &["one"]);
    let mut page = system.page("/?boardId=one");
    let first = page.wait("state.events[0]");
    assert_eq!(first["type"], "hello");
    let age = page.run("Date.now() - state.events[0].data.serverTime");
    assert!((0..5_000).contains(&age.as_i64().expect("milliseconds")), "{age}");
    // The gateway's own is there on every stream, also when it goes on and has no snapshot.
    let (mut stream, _) = open_board(&system, "one");
    tell(&system, "one", "git_push", &json!({}));
    let id = stream.next().id;
    let mut resumed = system.stream(&board_stream("one")).after(&id).open();
    let hello = data(&resumed.expect_named("tidegate-hello"));
    assert!(hello["time"].as_u64() > Some(1_700_000_000_000), "{hello}");
    assert_eq!(hello["resumed"], true);
}

#[test]
fn need_b3_a_board_begins_with_its_state_and_recent_attempts_and_is_live() {
    let system = with_boards(System::start(KANBAN), &["one", "two"]);
    let attempts = [start_attempt(&system, "one"), start_attempt(&system, "one")];
    for status in ["running", "failed"] {
        set_status(&system, "one", &attempts[0], status);
    }
    set_status(&system, "one", &attempts[1], "running");
    let others = start_attempt(&system, "two");
    set_status(&system, "two", &others, "running");

    let (mut stream, state) = open_board(&system, "one");
    assert_eq!(state["attempts"].as_array().map(Vec::len), Some(2), "{state}");
    let mut statuses = BTreeMap::new();
    for _ in 0..2 {
        let status = data(&stream.expect_named("attempt_status"));
        statuses.insert(status["attemptId"].to_string(), status["status"].clone());
    }
    let statuses: Vec<Value> = statuses.into_values().collect();
    assert_eq!(statuses, [json!("failed"), json!("running")], "the last of each attempt");
    let third = start_attempt(&system, "one");
    assert_eq!(data(&stream.expect_named("attempt_started"))["attemptId"], *third);

    let mut page = system.page("/?boardId=one");
    page.wait("Object.keys(state.attempts).length === 3");
    set_status(&system, "one", &third, "done");
    page.wait("state.attempts['a-3'].status === 'done'");
    assert_eq!(page.run("state.attempts['a-1'].status"), "failed");
}

#[test]
fn need_b3_nothing_between_state_and_live_is_lost_or_doubled() {
    const STREAMS: usize = 400;
    const ATTEMPTS: u64 = 200;
    let system = with_boards(System::start(KANBAN), &["one"]);
    let mut streams = Vec::new();
    std::thread::scope(|scope| {
        let system = &system;
        scope.spawn(move || {
            for _ in 0..ATTEMPTS {
                start_attempt(system, "one");
                pause(Duration::from_millis(10));
            }
        });
        // Longer than one answer of the app is shared (1 s).
        for _ in 0..STREAMS {
            streams.push(system.stream(&board_stream("one")).open());
            pause(Duration::from_millis(6));
        }
    });
    let mut began_between = 0;
    for mut stream in streams {
        stream.expect_named("tidegate-hello");
        stream.expect_named("hello");
        let state = data(&stream.expect_named("state"));
        let in_state = state["attempts"].as_array().expect("a list").len() as u64;
        began_between += usize::from((1..ATTEMPTS).contains(&in_state));
        let mut next = None;
        while next != Some(ATTEMPTS + 1) && !(next.is_none() && in_state == ATTEMPTS) {
            let attempt = data(&stream.expect_named("attempt_started"));
            let name = attempt["attemptId"].as_str().expect("a name");
            let number: u64 = name.trim_start_matches("a-").parse().expect("a number");
            assert!(number <= next.unwrap_or(in_state + 1), "{number} after a state of {in_state}");
            assert_eq!(number, next.unwrap_or(number), "after a state of {in_state}");
            next = Some(number + 1);
        }
    }
    assert!(began_between > STREAMS / 10, "too few to prove anything: {began_between}");
}

#[test]
fn need_b4_a_heartbeat_every_fifteen_seconds() {
    let system = with_boards(System::start(KANBAN), &["one"]);
    let mut stream = system.stream(&board_stream("one")).open();
    assert_eq!(data(&stream.expect_named("tidegate-hello"))["heartbeat_ms"], 15_000);
    stream.expect_named("hello");
    stream.expect_named("state");
    // The first of a stream comes in the second half of an interval.
    stream.expect_silence(Duration::from_secs(7));
    assert_eq!(stream.next().event, "tidegate-heartbeat");
}

#[test]
fn need_b5_the_dashboard_has_a_hello_an_overview_and_heartbeats() {
    let system = System::setup(KANBAN).set("stream.heartbeat", "200ms").start();
    let system = with_boards(system, &["one"]);
    let mut dashboard = system.stream("/api/dashboard/events").open();
    dashboard.expect_named("tidegate-hello");
    let overview = data(&dashboard.expect_named("dashboard_overview"));
    assert_eq!(overview, json!({"boards": [{"boardId": "one", "attempts": 0}]}));
    for _ in 0..2 {
        dashboard.expect_named("tidegate-heartbeat");
    }
    let mut page = system.page("/");
    page.wait("state.overview?.boards.length === 1");
    let _system = with_boards(system, &["two"]);
    page.wait("state.overview.boards.length === 2");
}

#[test]
fn need_b6_agents_reach_every_connection() {
    let system = with_boards(System::start(KANBAN), &["one", "two"]);
    let mut pages = ["/?boardId=one", "/?boardId=two", "/"].map(|path| system.page(path));
    for page in &mut pages {
        page.wait_for_entry("hello", None);
    }
    tell(&system, "one", "agent_registered", &json!({"agent": "rené"}));
    for page in &mut pages {
        let agent = page.wait("state.events.find(({ type }) => type === 'agent_registered')?.data");
        assert_eq!(agent, json!({"agent": "rené"}));
    }
}

#[test]
fn need_b7_nothing_is_left_of_boards_that_nobody_looks_at() {
    let system = System::setup(KANBAN).set("server.shards", "1").set("history.age_max", "1s");
    let names: Vec<String> = (0..20).map(|number| format!("b-{number}")).collect();
    let boards: Vec<&str> = names.iter().map(String::as_str).collect();
    let system = with_boards(system.start(), &boards);
    let streams: Vec<_> = boards.iter().map(|board| open_board(&system, board)).collect();
    // Each has its board's topic and the pattern of its attempts.
    system.gateway.expect_metric("tidegate_topics", &[], 40.0);
    tell(&system, "b-1", "git_push", &json!({}));
    eventually("the history to have it", || {
        (system.gateway.metric("tidegate_history_events", &[]) >= 1.0).then_some(())
    });
    drop(streams);
    system.gateway.expect_metric("tidegate_topics", &[], 0.0);
    system.gateway.expect_metric("tidegate_history_events", &[], 0.0);
}

#[test]
fn need_b8_a_page_tries_eight_times_in_growing_steps_and_then_polls() {
    let system = with_boards(System::start(KANBAN), &["one"]);
    let mut page = system.page("/?boardId=one&retryBaseMs=30&retryMaxMs=240&pollMs=50");
    page.wait_for_entry("hello", None);
    let shipped =
        "import('./live.js').then(({ TIMES: t }) => [t.retryBaseMs, t.retryMaxMs, t.attemptsMax])";
    assert_eq!(page.run(shipped), json!([1_500, 12_000, 8]));
    system.gateway.kill();
    page.wait_for_entry("polling", None);
    let waited: Vec<Value> =
        page.entries("waiting").into_iter().map(|mut entry| entry["delayMs"].take()).collect();
    assert_eq!(waited, [30, 60, 120, 240, 240, 240, 240, 240].map(|ms| json!(ms)));
    page.wait_for_entry("refetch", Some("poll"));
}

/// The sixteen, each with a payload that could break on its way.
fn sixteen() -> Vec<(&'static str, Value)> {
    let card = |n: usize| json!({"id": n, "text": "Übergröße und 長い説明文 ".repeat(4), "tags": [["a", n], {"b": {}}]});
    let large: Vec<Value> = (0..400).map(card).collect();
    vec![
        ("hello", json!({"serverTime": 1_767_225_600_000_u64})),
        ("state", json!({"boardId": "one", "attempts": [], "cards": large})),
        ("heartbeat", json!({})),
        (
            "attempt_started",
            json!({"attemptId": "a-1", "agent": {"kind": "coder", "env": {"CI": null}}}),
        ),
        (
            "attempt_status",
            json!({"attemptId": "a-1", "status": "running", "steps": [1, -0.5, true, null]}),
        ),
        (
            "attempt_log",
            json!({"text": ": no comment\r\ndata: no field\revent: end\n\nid: 7\n\u{1b}[32mok\u{1b}[0m\t\n\n"}),
        ),
        (
            "conversation_item",
            json!({"role": "user", "text": "Grüße, 世界! 👩‍👩‍👧‍👦🇨🇭\u{2028}next\u{2029}مرحبا \u{fffd}\u{feff}"}),
        ),
        ("attempt_session", json!({"session": "", "lines": ["one\ntwo", "  three  "]})),
        ("attempt_todos", json!([{"a": {"b": [[], {}, [{}]]}}, "\\ \" / \u{7f} \u{0}"])),
        ("git_status", json!({"branch": "fix/ü", "files": {"b": 1, "a": 2}})),
        (
            "git_commit",
            json!({"sha": "0f".repeat(20), "message": ": fix\n\ndata: no field\r\n\ttabbed\n"}),
        ),
        ("git_push", json!({"url": "/push?a=1&b=%20#x"})),
        ("attempt_pr", json!({"title": "<b>\"quotes\" & 'ticks'</b>"})),
        ("agent_profile", json!({"agent": "rené", "skills": ["rust", "日本語"]})),
        ("agent_registered", json!({"agent": "rené", "id": "🤖-1"})),
        ("dashboard_overview", json!({"boards": [{"boardId": "one", "attempts": 3}]})),
    ]
}

#[test]
fn need_b9_sixteen_kinds_of_messages_arrive_intact_in_every_client() {
    const LAST: &str = "test_last";
    let messages = sixteen();
    assert_eq!(messages.len(), 16);
    let of_board = |name: &str| name != "dashboard_overview";
    let of_dashboard = |name: &str| name.starts_with("agent_") || !of_board(name);
    let system = with_boards(System::start(KANBAN), &["one", "two"]);
    let names: Vec<&str> = messages.iter().map(|(name, _)| *name).collect();
    let order = |target: &str| {
        let url = format!("http://{}{target}", system.gateway.public);
        json!({"url": url, "names": names, "ready": "tidegate-hello", "last": LAST})
    };
    let (board, dashboard) = (order(&board_stream("one")), order("/api/dashboard/events"));
    let mut on_board = [
        Client::chromium("browser.mjs", &board),
        Client::python_httpx_sse(&board),
        Client::node_eventsource(&board),
    ];
    let mut on_dashboard = [
        Client::chromium("browser.mjs", &dashboard),
        Client::python_httpx_sse(&dashboard),
        Client::node_eventsource(&dashboard),
    ];
    for client in &mut on_board {
        client.expect_ready();
        for name in ["hello", "state"] {
            assert_eq!(client.expect_line()["event"], name, "{}", client.name);
        }
    }
    for client in &mut on_dashboard {
        client.expect_ready();
        assert_eq!(client.expect_line()["event"], "dashboard_overview", "{}", client.name);
    }
    for (name, data) in &messages {
        tell(&system, "two", "git_push", &json!("not yours"));
        tell(&system, "one", name, data);
    }
    system
        .gateway
        .publish(&json!({"topic": ["board.one", "dashboard"], "event": LAST}).to_string());
    for client in &mut on_board {
        expect_all(client, messages.iter().filter(|(name, _)| of_board(name)));
    }
    for client in &mut on_dashboard {
        expect_all(client, messages.iter().filter(|(name, _)| of_dashboard(name)));
    }
}

#[track_caller]
fn expect_all<'a>(client: &mut Client, expected: impl Iterator<Item = &'a (&'static str, Value)>) {
    let mut received = client.expect_lines_until_done().into_iter();
    for (name, data) in expected {
        let event = received.next().unwrap_or_default();
        assert_eq!(event["event"], *name, "{}", client.name);
        let text = event["data"].as_str().unwrap_or_default();
        let got: Value = serde_json::from_str(text).unwrap_or_default();
        assert!(got == *data, "{}: {name} is {}", client.name, crate::process::clip(text));
    }
    assert_eq!(received.next(), None, "{}: more than was published", client.name);
}
