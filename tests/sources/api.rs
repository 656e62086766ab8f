//! Sources that come and go at run time.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{Folder, Gateway, Origin, eventually};
use crate::{FAST, delete, expect_state, fields, put, reading, report, serve};

#[test]
fn need_d1_sources_are_added_replaced_and_removed_at_run_time() {
    let (first, second) = (Origin::listen(), Origin::listen());
    let gateway = Gateway::start();
    assert_eq!(gateway.get("/sources").expect_status(200).json(), json!({"sources": []}));
    let mut subscriber = gateway.subscribe("topic=one&topic=two");
    subscriber.expect_hello();
    put(&gateway, "one", &fields(&first)).expect_status(201);
    let (_, mut upstream) = serve(&first, "id: 4\ndata: from one\n\n");
    put(&gateway, "two", &fields(&second)).expect_status(201);
    subscriber.expect_data("from one");
    let (_, _other) = serve(&second, "data: from two\n\n");
    subscriber.expect_data("from two");
    let list = gateway.get("/sources").expect_status(200).json();
    let names: Vec<_> =
        list["sources"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["one", "two"]);

    // The same again changes nothing.
    put(&gateway, "one", &fields(&first)).expect_status(200);
    upstream.send("id: 5\ndata: still there\n\n");
    subscriber.expect_data("still there");
    // Other topics: it resumes where it was.
    let mut changed = fields(&first);
    changed["topics"] = json!(["two"]);
    put(&gateway, "one", &changed).expect_status(200);
    upstream.0.expect_closed();
    let (request, upstream) = serve(&first, "data: to two\n\n");
    assert_eq!(request.header("last-event-id"), Some("5"));
    subscriber.expect_data("to two");

    let mut upstream = upstream;
    delete(&gateway, "one").expect_status(204);
    upstream.0.expect_closed();
    gateway.get("/sources/one").expect_problem(404);
    delete(&gateway, "one").expect_problem(404);
    gateway.expect_metric("tidegate_sources", &[("state", "connected")], 1.0);
}

#[test]
fn need_d2_the_state_of_each_source_is_shown_counted_and_published() {
    let origin = Origin::listen();
    let gateway = Gateway::start();
    let mut watcher = gateway.subscribe("topic=tidegate.sources.*");
    watcher.expect_hello();
    let mut expect_state_event = |state: &str| {
        let event = watcher.expect_named("source_state");
        let data: Value = serde_json::from_str(&event.data).expect("JSON");
        assert_eq!((&data["source"], &data["state"]), (&json!("up"), &json!(state)), "{data}");
        data
    };
    put(&gateway, "up", &fields(&origin)).expect_status(201);
    expect_state_event("connecting");
    let (_, upstream) = serve(&origin, ":\n");
    expect_state_event("connected");
    gateway.expect_metric("tidegate_sources", &[("state", "connected")], 1.0);
    drop(upstream);
    let disconnected = expect_state_event("disconnected");
    assert!(disconnected["error"].as_str().unwrap().contains("closed"), "{disconnected}");
    expect_state_event("connecting");
    let (_, _upstream) = serve(&origin, "");
    expect_state_event("connected");
    // Who comes later is told where the source is.
    let mut late = gateway.topic("tidegate.sources.up").subscribe();
    let event = eventually("the retained state", || {
        Some(late.next()).filter(|event| event.event == "source_state")
    });
    assert!(event.data.contains("\"connected\""), "{}", event.data);
    delete(&gateway, "up").expect_status(204);
    expect_state_event("removed");
    for state in ["connecting", "connected", "disconnected", "error"] {
        gateway.expect_metric("tidegate_sources", &[("state", state)], 0.0);
    }
    let mut after = gateway.topic("tidegate.sources.up").subscribe();
    after.expect_hello();
    after.expect_silence(std::time::Duration::from_millis(100));
    gateway.post("/topics/tidegate.sources.up", &[], b"forged").expect_problem(403);
}

#[test]
fn what_is_wrong_with_a_source_is_named() {
    let gateway = Gateway::start();
    let good = json!({"url": "http://127.0.0.1:1/"});
    let with = |key: &str, value: Value| {
        let mut fields = good.clone();
        fields[key] = value;
        fields
    };
    for (fields, why) in [
        (json!({}), "missing field `url`"),
        (with("url", json!("/events")), "not the URL of an event stream"),
        (with("nope", json!(1)), "unknown field `nope`"),
        (with("topics", json!([])), "`topics` is empty"),
        (with("topics", json!(["a.{dat}"])), "{dat} is no field"),
        (with("retry", json!("0s")), "`retry` is 0s"),
        (with("retry_factor", json!(0.5)), "`retry_factor` is 0.5"),
        (with("retry_jitter", json!(2)), "`retry_jitter` is 2"),
        (with("headers", json!({"Host": "a"})), "`headers` has \"host\""),
        (with("name", json!("b")), "its name is \"b\""),
        (json!({"url": "https://a/", "ca": "/no/such.pem"}), "`source.ca`: /no/such.pem"),
    ] {
        let problem = put(&gateway, "a", &fields).expect_status(400).json();
        assert_eq!(problem["type"], "urn:tidegate:problem:bad-source");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(why), "{fields}: {detail}");
    }
    put(&gateway, "a.b", &good).expect_problem(400);
    assert_eq!(gateway.get("/sources").json(), json!({"sources": []}));
}

#[test]
fn a_configured_source_is_the_operators_alone() {
    let origin = Origin::listen();
    let gateway = reading(&origin, FAST).start();
    put(&gateway, "up", &fields(&origin)).expect_problem(409);
    delete(&gateway, "up").expect_problem(409);
    assert_eq!(report(&gateway, "up")["configured"], true);
}

#[test]
fn sources_put_by_the_api_come_back_after_a_restart() {
    let (folder, origin) = (Folder::new(), Origin::listen());
    let file = folder.path().join("sources.json");
    let config = format!("[sources]\npath = {file:?}\n");
    let gateway = Gateway::builder().config(&config).start();
    let mut kept = fields(&origin);
    kept["headers"] = json!({"authorization": "Bearer s3cret"});
    put(&gateway, "kept", &kept).expect_status(201);
    put(&gateway, "gone", &fields(&origin)).expect_status(201);
    delete(&gateway, "gone").expect_status(204);
    drop(gateway);
    let mode = fs::metadata(&file).expect("the file is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");

    let gateway = Gateway::builder().config(&config).start();
    eventually("the source to connect again", || {
        let (request, _upstream) = serve(&origin, "data: x\n\n");
        (request.header("authorization") == Some("Bearer s3cret")).then_some(())
    });
    expect_state(&gateway, "kept", "connecting");
    gateway.get("/sources/gone").expect_problem(404);
    drop(gateway);

    fs::write(&file, "[{\"name\":\"kept\"}]").expect("the file can be written");
    let (_, log) = Gateway::builder().config(&config).expect_refusal();
    assert!(log.contains("sources.json") && log.contains("missing field `url`"), "{log}");
}
