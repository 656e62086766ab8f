//! Publishing: every way to say an event, how it arrives, and what its publisher is told. What is
//! refused, and that a refusal leaves no trace, is in `hostile_input.rs`.

mod support;

use serde_json::{Value, json};
use support::{Gateway, Response, Subscriber, percent_encode};

const NDJSON: (&str, &str) = ("content-type", "application/x-ndjson");

/// A stream of these topics that has begun.
#[track_caller]
fn listen_to(gateway: &Gateway, topics: &[&str]) -> Subscriber {
    let query: Vec<String> =
        topics.iter().map(|topic| format!("topic={}", percent_encode(topic))).collect();
    let mut subscriber = gateway.subscribe(&query.join("&"));
    subscriber.expect_hello();
    subscriber
}

/// The id of a request that published one event.
#[track_caller]
fn id_of(response: Response) -> String {
    let answer = response.expect_status(202).json();
    answer["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}")).to_owned()
}

/// The ids of a request that published a batch.
#[track_caller]
fn ids_of(response: Response) -> Vec<String> {
    let answer = response.expect_status(202).json();
    serde_json::from_value(answer["ids"].clone())
        .unwrap_or_else(|error| panic!("no ids in {answer}: {error}"))
}

/// An id's epoch and its place in the order.
#[track_caller]
fn parts(id: &str) -> (&str, u64) {
    let (epoch, seq) = id.split_once('-').unwrap_or_else(|| panic!("not an id: {id}"));
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    assert!(epoch.len() == 12 && epoch.bytes().all(hex), "not an epoch: {id}");
    (epoch, seq.parse().unwrap_or_else(|_| panic!("not a place in an order: {id}")))
}

#[track_caller]
fn assert_consecutive(ids: &[String]) {
    for pair in ids.windows(2) {
        let ((epoch, seq), (next_epoch, next_seq)) = (parts(&pair[0]), parts(&pair[1]));
        assert_eq!((next_epoch, next_seq), (epoch, seq + 1), "in {ids:?}");
    }
}

#[test]
fn an_event_is_answered_with_the_id_it_arrives_with() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    let response = gateway.publish(r#"{"topic":"t","data":1}"#).expect_status(202);
    assert_eq!(response.header("content-type"), Some("application/json"));
    let answer = response.json();
    let id = subscriber.expect_data("1").id;
    assert_eq!(answer, json!({"id": id, "durability": "memory", "duplicate": false}));
}

#[test]
fn a_batch_is_answered_with_consecutive_ids_and_arrives_in_order() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["a", "b"]);
    let events: Vec<Value> = (0..100)
        .map(|number| json!({"topic": if number % 3 == 0 { "a" } else { "b" }, "data": number}))
        .collect();
    let array = Value::from(events.clone()).to_string();
    let lines: String = events.iter().map(|event| format!("{event}\n")).collect();

    let answer = gateway.publish(&array).expect_status(202).json();
    assert_eq!(answer.as_object().map(serde_json::Map::len), Some(3), "{answer}");
    assert_eq!((&answer["durability"], &answer["duplicate"]), (&json!("memory"), &json!(false)));
    let mut ids: Vec<String> = serde_json::from_value(answer["ids"].clone()).expect("ids");
    ids.extend(ids_of(gateway.post("/publish", &[NDJSON], lines.as_bytes())));
    assert_eq!(ids.len(), 200);
    assert_consecutive(&ids);
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(&subscriber.expect_data(&(number % 100).to_string()).id, id);
    }
}

#[test]
fn a_batch_of_one_is_still_a_batch() {
    let gateway = Gateway::start();
    assert_eq!(ids_of(gateway.publish(r#" [{"topic":"t"}] "#)).len(), 1);
    assert_eq!(ids_of(gateway.post("/publish", &[NDJSON], br#"{"topic":"t"}"#)).len(), 1);
}

#[test]
fn lines_may_end_in_crlf_and_be_blank() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    let lines = "\n{\"topic\":\"t\",\"data\":1}\r\n\r\n  \n{\"topic\":\"t\",\"data\":2}";
    assert_eq!(ids_of(gateway.post("/publish", &[NDJSON], lines.as_bytes())).len(), 2);
    subscriber.expect_data("1");
    subscriber.expect_data("2");
}

#[test]
fn the_media_type_chooses_the_format_and_json_is_the_default() {
    let gateway = Gateway::start();
    let json = br#"{"topic":"t"}"#;
    id_of(gateway.post("/publish", &[], json));
    for media in ["application/json; charset=utf-8", "Application/JSON"] {
        id_of(gateway.post("/publish", &[("content-type", media)], json));
    }
    // What `curl -d` says when it is told nothing.
    let form = ("content-type", "application/x-www-form-urlencoded");
    id_of(gateway.post("/publish", &[form], json));
    for media in ["application/x-ndjson", "APPLICATION/X-NDJSON; charset=utf-8"] {
        ids_of(gateway.post("/publish", &[("content-type", media)], json));
    }
}

#[test]
fn one_order_covers_every_topic_and_every_way_to_publish() {
    let gateway = Gateway::start();
    let mut everything = listen_to(&gateway, &[">"]);
    let mut ids = vec![gateway.topic("a").publish("raw")];
    ids.push(id_of(gateway.publish(r#"{"topic":"b.c","data":"object"}"#)));
    ids.extend(ids_of(gateway.publish(r#"[{"topic":"*","data":"all"},{"topic":"d"}]"#)));
    ids.push(gateway.topic("a").publish("raw again"));
    assert_consecutive(&ids);
    for (id, data) in ids.iter().zip(["raw", "object", "all", "{}", "raw again"]) {
        assert_eq!(&everything.expect_data(data).id, id);
    }
}

#[test]
fn data_of_every_type_arrives_as_it_was_written() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    for data in [
        r#"{"type":"ping"}"#,
        r#"{ "kept": [1, 2.50, -0.0, 1e400, 12345678901234567890.10], "spaces" :true }"#,
        "[]",
        r#"[1, "two", null]"#,
        "0",
        "-1.5E+3",
        "true",
        "false",
        "null",
        r#"{"escapes":"\u00e9 \/ \ud83d\ude00 \r\n","é":"😀"}"#,
    ] {
        id_of(gateway.publish(&format!(r#"{{"data": {data} ,"topic":"t"}}"#)));
        subscriber.expect_data(data);
    }
}

#[test]
fn a_string_is_sent_as_the_text_it_means() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    for text in [
        "plain",
        "",
        " leading space",
        "say \"hi\" \\ é😀",
        "data: x",
        "a: b",
        "{\"not\":\"parsed\"}",
    ] {
        id_of(gateway.publish(&json!({"topic": "t", "data": text}).to_string()));
        subscriber.expect_data(text);
    }
    // A NUL, a byte order mark and the line separators that are none to SSE.
    let odd = "\u{feff}a\0b\u{85}\u{2028}\u{2029}";
    id_of(gateway.publish(&json!({"topic": "t", "data": odd}).to_string()));
    subscriber.expect_data(odd);
}

#[test]
fn f02_a_lone_cr_in_data_splits_a_line() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    id_of(gateway.publish(r#"{"topic":"t","data":"a\rb\nc\r\nd\n\re\rid: 9\r\rdata: f\r"}"#));
    let event = subscriber.expect_data("a\nb\nc\nd\n\ne\nid: 9\n\ndata: f\n");
    assert_ne!(event.id, "9");
    gateway.topic("t").publish("raw\rtoo\r\n");
    subscriber.expect_data("raw\ntoo\n");
}

#[test]
fn data_left_out_is_an_empty_object() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    id_of(gateway.publish(r#"{"topic":"t"}"#));
    subscriber.expect_data("{}");
    id_of(gateway.publish(r#"{"topic":"t","event":"named"}"#));
    assert_eq!(subscriber.expect_data("{}").event, "named");
}

#[test]
fn names_need_no_declaration() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["tasks"]);
    for name in ["task.status", "memory.changed", "trigger: fired", " spaced", "名前", "message"]
    {
        id_of(gateway.publish(&json!({"topic": "tasks", "event": name}).to_string()));
        assert_eq!(subscriber.expect_event().event, name);
    }
    // None, an empty one and null are the same: the client dispatches `message`.
    for event in ["", r#""event":"","#, r#""event":null,"#] {
        id_of(gateway.publish(&format!(r#"{{{event}"topic":"tasks"}}"#)));
        assert_eq!(subscriber.expect_event().event, "message");
    }
}

#[test]
fn a_retry_reaches_the_client() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    for retry_ms in [0, 1500, 86_400_000] {
        id_of(gateway.publish(&format!(r#"{{"topic":"t","retry":{retry_ms}}}"#)));
        assert_eq!(subscriber.expect_event().retry, Some(retry_ms));
    }
    id_of(gateway.publish(r#"{"topic":"t","retry":null}"#));
    assert_eq!(subscriber.expect_event().retry, None);
}

#[test]
fn a_raw_body_is_the_data() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    for body in ["hello", "", "{\"a\": 1}", " é😀 ", "\"quoted\"", "two\nlines"] {
        id_of(gateway.post("/topics/t", &[], body.as_bytes()));
        let event = subscriber.expect_data(body);
        assert_eq!((event.event.as_str(), event.retry), ("message", None));
    }
    // Whatever a shell's client says the type is.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    id_of(gateway.post("/topics/t", &form, b"a=b&c"));
    subscriber.expect_data("a=b&c");
}

#[test]
fn a_raw_body_is_named_by_the_query() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    for (query, event, retry) in [
        ("?event=task.status", "task.status", None),
        ("?event=a%20b+c%2Bd", "a b c+d", None),
        ("?event=%E5%90%8D", "名", None),
        ("?event=", "message", None),
        ("?", "message", None),
        ("?retry=250", "message", Some(250)),
        ("?retry=0&event=x", "x", Some(0)),
    ] {
        id_of(gateway.post(&format!("/topics/t{query}"), &[], b"data"));
        let got = subscriber.expect_data("data");
        assert_eq!((got.event.as_str(), got.retry), (event, retry), "{query}");
    }
}

#[test]
fn any_topic_fits_into_the_path() {
    let gateway = Gateway::start();
    let longest = "é".repeat(256);
    let topics = [
        "a b",
        "a/b/c",
        "https://example.com/books/1?x=*y#z",
        "100%",
        "a+b",
        "日本.語",
        "..",
        "a..b",
        "a*",
        "x>",
        "publish",
        &longest,
    ];
    let mut subscriber = listen_to(&gateway, &topics);
    for topic in topics {
        gateway.topic(topic).publish(topic);
        subscriber.expect_data(topic);
    }
    // A slash and a plus stand for themselves in a path, whether escaped or not.
    id_of(gateway.post("/topics/a/b/c", &[], b"slashes"));
    subscriber.expect_data("slashes");
    id_of(gateway.post("/topics/a+b", &[], b"plus"));
    subscriber.expect_data("plus");
}

#[test]
fn a_stream_gets_an_event_of_two_of_its_topics_once() {
    let gateway = Gateway::start();
    let mut both = listen_to(&gateway, &["a", "b", "*"]);
    let mut one = listen_to(&gateway, &["b"]);
    let mut neither = listen_to(&gateway, &["c"]);
    let id = id_of(gateway.publish(r#"{"topic":["a","b","a"],"data":"twice"}"#));
    let fence = id_of(gateway.publish(r#"{"topic":"*","data":"fence"}"#));
    for subscriber in [&mut both, &mut one] {
        assert_eq!(subscriber.expect_data("twice").id, id);
        assert_eq!(subscriber.expect_data("fence").id, fence);
    }
    assert_eq!(neither.expect_data("fence").id, fence);
}

#[test]
fn a_broadcast_reaches_every_stream_once() {
    let gateway = Gateway::start();
    let topics: [&[&str]; 4] = [&["a"], &["b.c", "d"], &["x.*", "y.>"], &["a", "*", ">"]];
    let mut subscribers = topics.map(|topics| listen_to(&gateway, topics));
    let ids = [
        id_of(gateway.publish(r#"{"topic":"*","event":"agent_profile","data":1}"#)),
        id_of(gateway.publish(r#"{"topic":["nobody","*"],"data":2}"#)),
        gateway.topic("*").publish("3"),
    ];
    for subscriber in &mut subscribers {
        for (id, data) in ids.iter().zip(["1", "2", "3"]) {
            assert_eq!(&subscriber.expect_data(data).id, id);
        }
    }
}

#[test]
fn an_event_without_any_subscriber_is_accepted() {
    let gateway = Gateway::start();
    assert_eq!(parts(&gateway.topic("nobody").publish("x")).1, 1);
}

#[test]
fn f07_publishing_under_a_reserved_name_is_refused() {
    let gateway = Gateway::start();
    for name in ["hello", "gap", "end"] {
        let object = gateway.publish(&format!(r#"{{"topic":"t","event":"{name}"}}"#));
        assert_eq!(object.expect_refused(403, "event"), "reserved-name");
        let batch =
            gateway.publish(&format!(r#"[{{"topic":"t"}},{{"topic":"t","event":"{name}"}}]"#));
        assert_eq!(batch.expect_refused(403, "[1].event"), "reserved-name");
        let raw = gateway.post(&format!("/topics/t?event={name}"), &[], b"x");
        assert_eq!(raw.expect_refused(403, "event"), "reserved-name");
    }
    // Names are compared as the client compares them, and heartbeats are comments by default.
    for free in ["Hello", "hello ", "heartbeat"] {
        gateway.topic("t").publish_named(free, "x");
    }
}

#[test]
fn f07_a_heartbeat_that_is_an_event_has_a_reserved_name() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__HEARTBEAT_KIND", "event").start();
    let response = gateway.publish(r#"{"topic":"t","event":"heartbeat"}"#);
    assert_eq!(response.expect_refused(403, "event"), "reserved-name");
}

#[test]
fn f07_renaming_a_control_event_frees_its_name() {
    let gateway = Gateway::builder()
        .env("TIDEGATE__STREAM__CONTROL__HELLO", "gateway-hello")
        .env("TIDEGATE__STREAM__CONTROL__GAP", "gateway-gap")
        .start();
    let mut subscriber = gateway.topic("t").subscribe();
    subscriber.expect_named("gateway-hello");
    for free in ["hello", "gap", "state"] {
        gateway.topic("t").publish_named(free, "an application's own");
        let event = subscriber.expect_named(free);
        assert_eq!(event.data, "an application's own");
    }
    for reserved in ["gateway-hello", "end"] {
        let response = gateway.publish(&format!(r#"{{"topic":"t","event":"{reserved}"}}"#));
        assert_eq!(response.expect_refused(403, "event"), "reserved-name");
    }
}
