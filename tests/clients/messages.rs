//! The events of the two applications that publish into the gateway, each with a payload that
//! could break on its way: what is sent by which route, and what must arrive.

use serde_json::{Value, json};

/// The route an event is published by.
pub(crate) enum Via {
    /// `POST /publish` with this JSON text.
    Publish(String),
    /// `POST /topics/{topic}?event={name}` with this body.
    Topic(&'static str, String),
}

/// One event.
pub(crate) struct Message {
    /// Its name on the stream.
    pub(crate) name: &'static str,
    /// How it is published.
    pub(crate) via: Via,
    /// The data every client must see.
    pub(crate) arrives: String,
}

/// The sixteen message types of the kanban server.
pub(crate) fn kanban() -> Vec<Message> {
    let board = "board.42";
    vec![
        value(
            board,
            "hello",
            &json!({"type": "hello", "boardId": "42", "ts": 1_767_225_600_000_u64}),
        ),
        value(board, "state", &board_state()),
        // No data at all: the default is an empty object.
        published("heartbeat", &json!({"topic": board, "event": "heartbeat"}), "{}"),
        value(
            board,
            "attempt_started",
            &json!({"attempt": {"id": "a-1", "agent": {"kind": "coder", "env": {"CI": null}}}}),
        ),
        // Printed prettily: several lines, most of them beginning with spaces.
        raw(board, "attempt_status", "{\n  \"attempt\": \"a-1\",\n  \"status\": \"running\"\n}"),
        // Lines that look like the protocol's own; every kind of line end becomes LF.
        Message {
            arrives: ATTEMPT_LOG.replace("\r\n", "\n").replace('\r', "\n"),
            ..raw(board, "attempt_log", ATTEMPT_LOG)
        },
        value(
            board,
            "conversation_item",
            &json!({"role": "user", "text": "Grüße, 世界! 👩‍👩‍👧‍👦🇨🇭\u{2028}next\u{2029}مرحبا \u{fffd}\u{feff}"}),
        ),
        published(
            "attempt_session",
            &json!({"topic": board, "event": "attempt_session", "data": "one\r\ntwo\rthree\n\nfive\n"}),
            "one\ntwo\nthree\n\nfive\n",
        ),
        // Text that parsing and printing again would change: it must pass untouched.
        exact(
            board,
            "attempt_todos",
            r#"[{"n":9007199254740993,"z":1.0,"a":1E5},{"a":"\u00e9\/"}]"#,
        ),
        exact(board, "git_status", r#"{"branch":"fix/\u0000","ahead":0,"files":{"b":1,"a":2}}"#),
        value(
            board,
            "git_commit",
            &json!({"sha": "0f".repeat(20), "message": ": fix\n\ndata: not a field\r\n\ttabbed\n"}),
        ),
        // Data that is there and empty.
        published("git_push", &json!({"topic": board, "event": "git_push", "data": ""}), ""),
        value(
            board,
            "attempt_pr",
            &json!({"url": "/pull/7?a=1&b=%20#x", "title": "<b>\"quotes\" & 'ticks'</b> \\ \u{7f}"}),
        ),
        value("*", "agent_profile", &json!({"agent": "rené", "skills": ["rust", "日本語"]})),
        raw("*", "agent_registered", "{\"agent\":\"rené\",\"id\":\"🤖-1\"}"),
        value(
            "dashboard",
            "dashboard_overview",
            &json!({"boards": [{"id": 42, "open": 3}], "n": -0.5}),
        ),
    ]
}

/// The four events of the app builder.
pub(crate) fn app_builder() -> Vec<Message> {
    vec![
        value("tasks", "task.created", &json!({"id": "t-1", "title": "  leading spaces"})),
        raw("tasks", "task.status", "  :two spaces, a colon: and a trailing space "),
        value("tasks", "trigger.fired", &json!([1, 2.5, true, null, "x", [], {}])),
        // Two topics of the same stream: it arrives once.
        published(
            "memory.changed",
            &json!({"topic": ["tasks", "board.42"], "event": "memory.changed", "data": {"keys": 2}}),
            "{\"keys\":2}",
        ),
    ]
}

const ATTEMPT_LOG: &str = ": not a comment\r\ndata: not a field\revent: end\n\nid: 7\n retry: 1\n\
     \u{1b}[32mok\u{1b}[0m\ttab\n\n\n";

/// A snapshot of 40 kB.
fn board_state() -> Value {
    let card = |n: usize| {
        let text = "Übergröße und 長い説明文 ".repeat(4);
        json!({"id": n, "title": format!("Card {n}"), "text": text, "tags": [["a", n], {"b": {}}]})
    };
    let state =
        json!({"boardId": "42", "columns": {"todo": (0..230).map(card).collect::<Vec<_>>()}});
    assert!(state.to_string().len() > 40_000, "the state is a large payload");
    state
}

fn value(topic: &str, name: &'static str, data: &Value) -> Message {
    published(name, &json!({"topic": topic, "event": name, "data": data}), &data.to_string())
}

fn published(name: &'static str, body: &Value, arrives: &str) -> Message {
    Message { name, via: Via::Publish(body.to_string()), arrives: arrives.into() }
}

/// JSON data whose very text must arrive.
fn exact(topic: &str, name: &'static str, data: &str) -> Message {
    let body = format!(r#"{{"topic":"{topic}","event":"{name}","data":{data}}}"#);
    Message { name, via: Via::Publish(body), arrives: data.into() }
}

fn raw(topic: &'static str, name: &'static str, body: &str) -> Message {
    Message { name, via: Via::Topic(topic, body.into()), arrives: body.into() }
}
