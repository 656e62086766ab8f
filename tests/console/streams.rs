//! `/streams`: who is connected, found by topic and address, a page at a time; and the way to end one.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Gateway, Subscriber, eventually, http, pause};
use crate::{all_pages, texts, view};

/// Opens a stream; gives its id, which its client is told.
#[track_caller]
fn open(gateway: &Gateway, query: &str) -> (Subscriber, String) {
    let mut subscriber = gateway.subscribe(query);
    let id = subscriber.expect_hello().session.as_str().expect("a text").to_owned();
    (subscriber, id)
}

fn delete(gateway: &Gateway, id: &str) -> crate::support::Response {
    http("DELETE", gateway.internal, &format!("/streams/{id}"), &[], b"")
}

#[test]
fn a_stream_is_shown_as_it_is() {
    let gateway = Gateway::start();
    assert_eq!(view(&gateway, "/streams"), json!({"streams": [], "next": null}));
    let (mut stream, id) = open(&gateway, "topic=board.42&topic=a.*");
    let published = gateway.topic("board.42").publish("x");
    stream.expect_data("x");

    let shown = eventually("the event to count as sent", || {
        Some(view(&gateway, &format!("/streams/{id}"))).filter(|shown| shown["cursor"] == published)
    });
    let address = stream.stream().local_addr().expect("connected").to_string();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after");
    let age_ms = now.as_millis() as u64 - shown["opened_ms"].as_u64().expect("a number");
    assert!(age_ms < 10_000, "{shown}");
    let expected = json!({
        "id": id, "shard": shown["shard"], "state": "live", "protocol": "http1",
        "compressed": false, "names": null,
        "route": "/events", "address": address, "topics": ["board.42", "a.*"], "topics_count": 2,
        "opened_ms": shown["opened_ms"], "cursor": published, "waiting": 0, "gap_owed": null,
        "session": null,
    });
    assert_eq!(shown, expected);
    let list = view(&gateway, "/streams");
    assert_eq!(list, json!({"streams": [expected], "next": null}));
    drop(stream);
    eventually("the stream to be gone", || {
        (view(&gateway, "/streams")["streams"] == json!([])).then_some(())
    });
    gateway.get(&format!("/streams/{id}")).expect_problem(404);
}

#[test]
fn streams_are_found_by_what_they_get_and_where_they_come_from() {
    let gateway = Gateway::start();
    let open = |query| open(&gateway, query);
    let streams = [open("topic=a.1"), open("topic=a.*"), open("topic=b&topic=c")];
    let find = |query: &str| -> BTreeSet<String> {
        let found = all_pages(&gateway, &format!("/streams?{query}&"), "streams", 500);
        texts(&found, "id").into_iter().map(str::to_owned).collect()
    };
    let ids = |wanted: &[usize]| wanted.iter().map(|&at| streams[at].1.clone()).collect();
    assert_eq!(find("topic=a.1"), ids(&[0, 1]));
    assert_eq!(find("topic=a.2"), ids(&[1]));
    assert_eq!(find("topic=a.*"), ids(&[1]), "a pattern is looked for as it was asked for");
    assert_eq!(find("topic=c"), ids(&[2]));
    assert_eq!(find("topic=d"), ids(&[]));
    assert_eq!(find("address=127.0.0."), ids(&[0, 1, 2]));
    let address = streams[1].0.stream().local_addr().expect("connected");
    assert_eq!(find(&format!("address={address}")), ids(&[1]));
    assert_eq!(find("address=10."), ids(&[]));
    assert_eq!(find("session=nobody"), ids(&[]));
}

#[test]
fn pages_have_every_stream_once_however_many_there_are() {
    let gateway = Gateway::start();
    // More than a shard looks at for one question.
    let streams: Vec<_> =
        (0..1300).map(|at| open(&gateway, &format!("topic=t.{}&topic=all", at % 7))).collect();
    let opened: BTreeSet<_> = streams.iter().map(|(_, id)| id.as_str()).collect();
    for (query, expected) in [("", 1300), ("topic=t.3&", 186), ("topic=all&address=127&", 1300)] {
        let listed = all_pages(&gateway, &format!("/streams?{query}"), "streams", 97);
        let ids: BTreeSet<_> = texts(&listed, "id").into_iter().collect();
        assert_eq!((listed.len(), ids.len()), (expected, expected), "{query}");
        assert!(ids.is_subset(&opened));
    }
}

#[test]
fn a_stream_with_many_topics_is_shown_short_in_a_list() {
    let gateway = Gateway::start();
    let topics: Vec<_> = (10..50).map(|at| format!("t{at}")).collect();
    let query: Vec<_> = topics.iter().map(|topic| format!("topic={topic}")).collect();
    let (_stream, id) = open(&gateway, &query.join("&"));
    let listed = &view(&gateway, "/streams")["streams"][0];
    assert_eq!(listed["topics"], json!(topics[..16]));
    assert_eq!(listed["topics_count"], 40);
    assert_eq!(view(&gateway, &format!("/streams/{id}"))["topics"], json!(topics));
}

#[test]
fn what_waits_for_a_client_that_does_not_read_is_shown() {
    let gateway = Gateway::builder()
        .env("TIDEGATE__SERVER__SEND_BUFFER", "4KiB")
        .env("TIDEGATE__STREAM__RING_FRAMES_MAX", "10")
        .start();
    let _slow = gateway.subscriber("topic=t").receive_buffer(4096).open();
    let data = "x".repeat(2000);
    let shown = eventually("events to be lost to the stream", || {
        for _ in 0..20 {
            gateway.topic("t").publish(&data);
        }
        let shown = view(&gateway, "/streams")["streams"][0].clone();
        (!shown["gap_owed"].is_null()).then_some(shown)
    });
    assert_eq!(shown["state"], "behind");
    let waiting = shown["waiting"].as_u64().expect("a number");
    assert!((10..=11).contains(&waiting), "a ring of 10, and one half written: {shown}");
    let dropped = gateway.metric("tidegate_events_dropped_total", &[("reason", "slow")]);
    assert_eq!(shown["gap_owed"]["count"].as_f64(), Some(dropped), "{shown}");
}

#[test]
fn a_stream_over_http2_is_listed_and_its_address_is_unknown() {
    use std::process::{Command, Stdio};
    let gateway = Gateway::start();
    let url = format!("http://{}/events?topic=a", gateway.public);
    let mut curl = Command::new("curl")
        .args(["--silent", "--no-buffer", "--http2-prior-knowledge", "--noproxy", "*", &url])
        .stdout(Stdio::null())
        .spawn()
        .expect("curl is installed: run `make deps`");
    let shown = eventually("the stream to be open", || {
        Some(view(&gateway, "/streams")["streams"][0].clone()).filter(|shown| !shown.is_null())
    });
    assert_eq!((&shown["protocol"], &shown["state"]), (&json!("http2"), &json!("live")));
    assert_eq!(shown["address"], Value::Null);
    curl.kill().expect("curl runs");
    curl.wait().expect("curl ends");
}

#[test]
fn a_stream_is_ended_by_its_id_and_no_other_is() {
    let gateway = Gateway::start();
    let (mut one, id) = open(&gateway, "topic=a");
    let (mut other, _) = open(&gateway, "topic=a");
    gateway.topic("a").publish("before");
    // On both shards, if they are two: what is acknowledged may still be on its way to a stream that ends.
    gateway.expect_metric("tidegate_events_delivered_total", &[], 2.0);
    delete(&gateway, &id).expect_status(204);
    one.expect_data("before");
    one.expect_end("revoked");
    drop(one);
    eventually("the stream to be gone", || (delete(&gateway, &id).status == 404).then_some(()));
    other.expect_data("before");
    gateway.topic("a").publish("after");
    other.expect_data("after");
    other.expect_silence(Duration::from_millis(50));
    // The next stream gets its place, and not its name.
    let (_third, third) = open(&gateway, "topic=a");
    assert_ne!(third, id);
    pause(Duration::from_millis(20));
    delete(&gateway, &id).expect_problem(404);
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "http1")], 2.0);
    for nobody in ["x", "ffffffffffffffff", "0000000000000000", "%00", ""] {
        delete(&gateway, nobody).expect_problem(404);
    }
}

#[test]
fn bad_parameters_are_named() {
    let gateway = Gateway::start();
    for (path, field) in [
        ("/streams?limit=0", "limit"),
        ("/streams?limit=501", "limit"),
        ("/streams?limit=x", "limit"),
        ("/streams?after=x", "after"),
        ("/streams?topic=a.%3E.b", "topic"),
        ("/streams?topics=a", "topics"),
        ("/streams?address=1&address=2", "address"),
        ("/streams?address=%ff", "address"),
        ("/topics?pattern=a..*", "pattern"),
        ("/topics?after=-1", "after"),
        ("/tail", "topic"),
        ("/tail?topic=a&wait=long", "wait"),
        ("/tail?topic=a&after=5", "after"),
    ] {
        gateway.get(path).expect_refused(400, field);
    }
    let post = gateway.post("/streams", &[], b"").expect_status(405);
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
    let put = http("PUT", gateway.internal, "/topics/a", &[], b"").expect_status(405);
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST"));
}

#[test]
fn a_poll_that_waits_is_listed_as_one_and_can_be_answered() {
    let gateway = Gateway::start();
    let before = gateway.topic("t").publish("before");
    let mut poller = gateway.connect_public();
    let headers = [("accept", "application/json"), ("last-event-id", before.as_str())];
    poller.send_request("GET", "/events?topic=t&wait=20s", &headers, b"");
    let shown = eventually("the poll to wait", || {
        Some(view(&gateway, "/streams")["streams"][0].clone()).filter(|shown| !shown.is_null())
    });
    assert_eq!((&shown["protocol"], &shown["state"]), (&json!("poll"), &json!("live")));
    assert_eq!((&shown["topics"], &shown["cursor"]), (&json!(["t"]), &json!(before)));
    delete(&gateway, shown["id"].as_str().expect("a text")).expect_status(204);
    let answer = poller.read_response("GET").expect_status(200).json();
    assert_eq!(answer, json!({"events": [], "cursor": before, "gap": null}));
    assert_eq!(view(&gateway, "/streams")["streams"], json!([]));
}

#[test]
fn a_compressed_stream_is_shown_to_be() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__COMPRESS", "true").start();
    let _plain = gateway.subscribe("topic=plain");
    let _gzip = gateway.subscriber("topic=gzip").header("accept-encoding", "gzip").open();
    for (topic, compressed) in [("plain", false), ("gzip", true)] {
        let listed = &view(&gateway, &format!("/streams?topic={topic}"))["streams"];
        assert_eq!(listed[0]["compressed"], compressed, "{listed}");
    }
}
