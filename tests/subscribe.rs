//! Subscribing: who gets a stream and who is refused, what a stream looks like, which events it
//! carries, and when it ends by its own wish. Cursors are in `subscribe/cursors.rs`.

mod support;

#[path = "subscribe/cursors.rs"]
mod cursors;
#[path = "subscribe/heartbeats.rs"]
mod heartbeats;

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use support::http::Header;
use support::{Deadline, Gateway, Received, Response, Subscriber, percent_encode};

fn query(topics: &[impl AsRef<str>]) -> String {
    let topics = topics.iter().map(|topic| format!("topic={}", percent_encode(topic.as_ref())));
    topics.collect::<Vec<_>>().join("&")
}

/// A stream of these topics that has begun.
#[track_caller]
fn listen_to(gateway: &Gateway, topics: &[&str]) -> Subscriber {
    let mut subscriber = gateway.subscribe(&query(topics));
    subscriber.expect_hello();
    subscriber
}

/// The stream's bytes up to its `blocks`-th blank line, in HTTP/1.0, which adds nothing to them.
#[track_caller]
fn bytes_of_stream(
    gateway: &Gateway,
    query: &str,
    blocks: usize,
    publish: impl FnOnce(),
) -> String {
    let mut connection = gateway.connect_public();
    connection.send(format!("GET /events?{query} HTTP/1.0\r\n\r\n").as_bytes());
    assert_eq!(connection.read_head().status, 200);
    publish();
    let whole = |bytes: &[u8]| bytes.windows(2).filter(|pair| pair == b"\n\n").count() >= blocks;
    while !whole(&connection.buffer) {
        let received = connection.receive(Deadline::patient());
        assert!(matches!(received, Received::Bytes(_)), "{received:?} before the stream was whole");
    }
    String::from_utf8(connection.buffer).expect("a stream is UTF-8")
}

#[test]
fn a_stream_has_the_headers_of_the_contract_and_no_others() {
    let gateway = Gateway::start();
    let fixed = |head: &support::http::Head| -> Vec<(String, String)> {
        assert!(head.header("date").is_some_and(|date| date.ends_with(" GMT")), "{head:?}");
        head.headers.iter().filter(|(name, _)| name != "date").cloned().collect()
    };
    let owned = |headers: &[Header<'_>]| -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    };
    let stream = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store, no-transform"),
        ("x-accel-buffering", "no"),
        ("vary", "accept"),
        ("connection", "close"),
    ];
    let http11 = gateway.subscribe("topic=t");
    let chunked = [&stream[..], &[("transfer-encoding", "chunked")]].concat();
    assert_eq!(fixed(http11.head()), owned(&chunked));
    let http10 = gateway.subscriber("topic=t").http10().open();
    assert_eq!(fixed(http10.head()), owned(&stream));
}

#[test]
fn head_tells_what_get_would() {
    let gateway = Gateway::start();
    let mut connection = gateway.connect_public();
    let response = connection.request("HEAD", "/events?topic=t", &[], b"").expect_status(200);
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(response.header("cache-control"), Some("no-store, no-transform"));
    assert_eq!(connection.request("HEAD", "/events", &[], b"").status, 400);
}

#[test]
fn a_stream_over_http10_ends_with_its_connection() {
    let gateway = Gateway::start();
    let mut subscriber = gateway.subscriber("topic=t&limit=1").http10().open();
    subscriber.expect_hello();
    gateway.topic("t").publish("one");
    subscriber.expect_data("one");
    subscriber.expect_end("limit");
    subscriber.expect_closed();
}

#[test]
fn every_request_that_is_none_for_a_stream_is_refused_and_the_connection_goes_on() {
    let gateway = Gateway::start();
    let mut connection = gateway.connect_public();
    let mut ask = |method: &str, target: &str, headers: &[Header<'_>], body: &[u8]| -> Response {
        connection.request(method, target, headers, body)
    };
    for path in ["/", "/event", "/events/", "/Events?topic=t", "/publish", "/topics/t", "/metrics"]
    {
        assert_eq!(ask("GET", path, &[], b"").expect_whole_problem(404), "not-found", "{path}");
    }
    assert_eq!(ask("POST", "/publish", &[], b"{}").expect_whole_problem(404), "not-found");
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let response = ask(method, "/events?topic=t", &[], b"");
        assert_eq!(response.header("allow"), Some("GET, HEAD"), "{method}");
        assert_eq!(response.expect_whole_problem(405), "method-not-allowed");
    }
    for accept in ["application/xml", "text/html", "text/plain, image/*", "text/event-streams"] {
        let response = ask("GET", "/events?topic=t", &[("accept", accept)], b"");
        assert_eq!(response.expect_refused(406, "accept"), "not-acceptable", "{accept}");
    }
    ask("GET", "/events?topic=t", &[], b"a body").expect_refused(400, "body");
    for (query, field) in [
        ("", "topic"),
        ("?", "topic"),
        ("?Topic=t", "topic"),
        ("?topic", "topic"),
        ("?topic=", "topic"),
        ("?topic=t&topic=", "topic"),
        ("?topic=%ff", "topic"),
        ("?topic=%c3", "topic"),
        ("?topic=a%00b", "topic"),
        ("?topic=a%0ab", "topic"),
        ("?topic=a%1bb", "topic"),
        ("?topic=a%e2%80%aeb", "topic"),
        ("?topic=a%e2%80%8bb", "topic"),
        ("?topic=a.%3E.b", "topic"),
        ("?topic=a..*", "topic"),
        ("?topic=.*", "topic"),
        ("?topic=*.", "topic"),
        ("?topic=t&limit=", "limit"),
        ("?topic=t&limit=0", "limit"),
        ("?topic=t&limit=-1", "limit"),
        ("?topic=t&limit=1e3", "limit"),
        ("?topic=t&limit=99999999999999999999", "limit"),
        ("?topic=t&limit=%ff", "limit"),
        ("?topic=t&max_duration=", "max_duration"),
        ("?topic=t&max_duration=0s", "max_duration"),
        ("?topic=t&max_duration=-5s", "max_duration"),
        ("?topic=t&max_duration=soon", "max_duration"),
        ("?topic=t&max_duration=99999999999999999999s", "max_duration"),
        ("?topic=t&max_duration=%00", "max_duration"),
    ] {
        let response = ask("GET", &format!("/events{query}"), &[], b"");
        response.expect_refused(400, field);
    }
    let long = format!("/events?topic={}", "t".repeat(513));
    ask("GET", &long, &[], b"").expect_refused(400, "topic");
    // After all of this, the same connection becomes a stream.
    connection.send_request("GET", "/events?topic=t&unknown=1&_=%ff", &[], b"");
    assert_eq!(connection.read_head().status, 200);
}

#[test]
fn whoever_accepts_a_stream_gets_one() {
    let gateway = Gateway::start();
    for accept in
        ["text/event-stream", "*/*", "text/*", "Text/Event-Stream", "text/html, */*;q=0.1"]
    {
        gateway.subscriber("topic=t").header("accept", accept).open().expect_hello();
    }
    let mut connection = gateway.connect_public();
    connection.send_request("GET", "/events?topic=t", &[], b"");
    assert_eq!(connection.read_head().status, 200, "no accept header accepts everything");
}

#[test]
fn fields_come_in_the_order_of_the_contract() {
    let gateway = Gateway::start();
    let text = bytes_of_stream(&gateway, "topic=t&limit=3", 5, || {
        gateway
            .publish(
                r#"[{"topic":"t","data":"one\ntwo","retry":1500,"event":"task.status"},
                    {"topic":"t","event":"named","data":""},{"topic":"t"}]"#,
            )
            .expect_status(202);
    });
    let blocks: Vec<&str> = text.split_terminator("\n\n").collect();
    let epoch = blocks[0].strip_prefix("id: ").and_then(|rest| rest.get(..12));
    let epoch = epoch.unwrap_or_else(|| panic!("hello begins with its id: {text}"));
    let names = |block: &str| -> Vec<String> {
        block.lines().map(|line| line.split(": ").next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(names(blocks[0]), ["id", "event", "retry", "data"], "hello: {text}");
    assert_eq!(
        blocks[1],
        format!("id: {epoch}-1\nevent: task.status\nretry: 1500\ndata: one\ndata: two")
    );
    assert_eq!(blocks[2], format!("id: {epoch}-2\nevent: named\ndata: "));
    assert_eq!(blocks[3], format!("id: {epoch}-3\ndata: {{}}"));
    assert_eq!(names(blocks[4]), ["event", "retry", "data"], "end has no id: {text}");
}

#[test]
fn hello_comes_first_and_says_where_the_stream_begins() {
    let gateway = Gateway::start();
    let earlier = gateway.topic("t").publish("earlier");
    let mut subscriber = gateway.subscriber("topic=t").open();
    let hello = subscriber.expect_hello();
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    let difference_ms = i128::from(hello.time) - clock.as_millis() as i128;
    assert!(difference_ms.abs() < 10_000, "the clocks differ by {difference_ms} ms");
    assert_eq!((&hello.cursor, &hello.id), (&earlier, &earlier));
    assert!(!hello.resumed, "nothing was resumed");
    assert_eq!(hello.heartbeat_ms, 15_000);
    assert!(hello.session.as_str().is_some_and(|session| !session.is_empty()), "{hello:?}");
    let id = gateway.topic("t").publish("later");
    assert_eq!(subscriber.expect_data("later").id, id);
}

#[test]
fn f74_each_hello_gives_a_session_and_a_retry_of_its_own() {
    let gateway = Gateway::start();
    let hellos: Vec<_> = (0..12).map(|_| gateway.topic("t").subscribe().expect_hello()).collect();
    let sessions: HashSet<String> = hellos.iter().map(|hello| hello.session.to_string()).collect();
    assert_eq!(sessions.len(), hellos.len());
    let retries: HashSet<u64> = hellos
        .iter()
        .map(|hello| hello.retry_ms.unwrap_or_else(|| panic!("no retry in {hello:?}")))
        .collect();
    assert!(retries.iter().all(|retry_ms| (1000..=3000).contains(retry_ms)), "{retries:?}");
    assert!(retries.len() > 6, "hardly jittered: {retries:?}");
}

#[test]
fn ids_increase_on_a_stream_and_leave_room_for_other_topics() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["a", "b.*"]);
    let mut expected = Vec::new();
    for round in 0..20 {
        gateway.topic("elsewhere").publish("not yours");
        for topic in ["a", "b.x", "*"] {
            let data = format!("{topic} {round}");
            expected.push((gateway.topic(topic).publish(&data), data));
        }
    }
    let mut last = 0;
    for (id, data) in expected {
        assert_eq!(subscriber.expect_data(&data).id, id);
        let seq = id.split_once('-').and_then(|(_, seq)| seq.parse().ok());
        let seq: u64 = seq.unwrap_or_else(|| panic!("not an id: {id}"));
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
}

#[test]
fn topics_and_patterns_select_and_a_broadcast_reaches_everyone() {
    const TOPICS: [&str; 12] =
        ["a", "b", "a.b", "a.c", "a.b.c", "b.b", "A", "a*", "a.*x", "日本.語", "x/y z", "a.b.c.d"];
    let gateway = Gateway::start();
    let cases: [(&[&str], &[&str]); 13] = [
        (&["a"], &["a"]),
        (&["a.b"], &["a.b"]),
        (&["a*"], &["a*"]),
        (&["x/y z", "日本.語"], &["日本.語", "x/y z"]),
        (&["nobody.publishes.this"], &[]),
        (&["*"], &["a", "b", "A", "a*", "x/y z"]),
        (&["a.*"], &["a.b", "a.c", "a.*x"]),
        (&["*.b"], &["a.b", "b.b"]),
        (&["a.*.c"], &["a.b.c"]),
        (&["a.>"], &["a.b", "a.c", "a.b.c", "a.*x", "a.b.c.d"]),
        (&["*.*.>"], &["a.b.c", "a.b.c.d"]),
        (&["a", "a.*", "a.b", "a.b.c"], &["a", "a.b", "a.c", "a.b.c", "a.*x"]),
        (&[">"], &TOPICS),
    ];
    let mut subscribers: Vec<_> =
        cases.iter().map(|(topics, expected)| (listen_to(&gateway, topics), expected)).collect();
    for topic in TOPICS {
        gateway.topic(topic).publish(topic);
    }
    gateway.topic("*").publish("broadcast");
    for (subscriber, expected) in &mut subscribers {
        for topic in **expected {
            subscriber.expect_data(topic);
        }
        subscriber.expect_data("broadcast");
    }
}

#[test]
fn a_limit_ends_the_stream_after_exactly_that_many_events() {
    let gateway = Gateway::start();
    let mut at_once = gateway.subscribe("topic=t&limit=3");
    let mut one_by_one = gateway.subscribe("topic=u&limit=3");
    at_once.expect_hello();
    one_by_one.expect_hello();
    gateway.publish(&format!("[{}]", [r#"{"topic":"t"}"#; 10].join(","))).expect_status(202);
    for _ in 0..3 {
        at_once.expect_data("{}");
    }
    for number in 0..3 {
        gateway.topic("elsewhere").publish("does not count");
        gateway.topic("u").publish(&number.to_string());
        one_by_one.expect_data(&number.to_string());
    }
    for mut subscriber in [at_once, one_by_one] {
        let end = subscriber.expect_end("limit");
        let retry_ms = end.retry_ms.unwrap_or_else(|| panic!("no retry_ms in {end:?}"));
        assert!((1000..=3000).contains(&retry_ms), "{end:?}");
        subscriber.expect_closed();
    }
}

#[test]
fn end_tells_scripts_and_native_clients_the_same_delay() {
    let gateway = Gateway::start();
    let mut subscriber = listen_to(&gateway, &["t"]);
    drop(gateway.subscribe("topic=t&limit=1"));
    let mut ending = gateway.subscribe("topic=t&limit=1");
    ending.expect_hello();
    let id = gateway.topic("t").publish("last");
    ending.expect_data("last");
    let event = ending.expect_named("end");
    assert_eq!(event.id, id, "an end carries no id of its own");
    let data: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
    assert_eq!(data["retry_ms"].as_u64(), event.retry);
    subscriber.expect_data("last");
    gateway.topic("t").publish("another");
    subscriber.expect_data("another");
}

#[test]
fn a_max_duration_ends_the_stream_after_that_time() {
    let gateway = Gateway::start();
    let started = Instant::now();
    let mut quiet = gateway.subscribe("topic=quiet&max_duration=400ms");
    let mut busy = gateway.subscribe("topic=t&max_duration=400ms");
    quiet.expect_hello();
    busy.expect_hello();
    gateway.topic("t").publish("one");
    busy.expect_data("one");
    for mut subscriber in [quiet, busy] {
        subscriber.expect_end("limit");
        subscriber.expect_closed();
    }
    let lived = started.elapsed();
    let allowed = Duration::from_millis(350)..Duration::from_secs(3);
    assert!(allowed.contains(&lived), "ended after {lived:?}");
}

#[test]
fn f44_a_stream_names_at_most_128_topics() {
    let gateway = Gateway::start();
    let topics: Vec<String> = (0..129).map(|number| format!("t.{number}")).collect();
    let mut subscriber = gateway.subscribe(&query(&topics[..128]));
    subscriber.expect_hello();
    gateway.topic("t.127").publish("the last one");
    subscriber.expect_data("the last one");
    let refused = gateway.subscriber(&query(&topics)).response();
    assert_eq!(refused.expect_refused(400, "topic"), "too-many-topics");
    // As many as a request head holds.
    let refused = gateway.subscriber(&vec!["topic=t"; 8000].join("&")).response();
    assert_eq!(refused.expect_refused(400, "topic"), "too-many-topics");
}

#[test]
fn f44_a_hundred_thousand_topics_in_one_request_are_an_error() {
    let gateway = Gateway::start();
    let before = gateway.rss();
    let topics: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    let refused = gateway.subscriber(&query(&topics)).response();
    assert!((400..500).contains(&refused.status), "{refused:?}");
    gateway.expect_metric("tidegate_topics", &[], 0.0);
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 8 << 20, "{grown} bytes more");
}

#[test]
fn topics_are_forgotten_with_their_last_subscriber() {
    let gateway = Gateway::start();
    gateway.expect_metric("tidegate_topics", &[], 0.0);
    let topics: Vec<String> = (0..1000).map(|number| format!("board.{number}")).collect();
    let mut subscribers: Vec<Subscriber> =
        topics.chunks(100).map(|topics| gateway.subscribe(&query(topics))).collect();
    for subscriber in &mut subscribers {
        subscriber.expect_hello();
    }
    gateway.expect_metric("tidegate_topics", &[], 1000.0);
    subscribers.truncate(4);
    gateway.expect_metric("tidegate_topics", &[], 400.0);
    subscribers.clear();
    gateway.expect_metric("tidegate_topics", &[], 0.0);
    // One that ends by its own limit is forgotten too, and topics nobody wants never count.
    let mut limited = gateway.subscribe("topic=a&topic=b.*&limit=1");
    limited.expect_hello();
    gateway.expect_metric("tidegate_topics", &[], 2.0);
    gateway.topic("a").publish("one");
    gateway.topic("nobody").publish("two");
    limited.expect_data("one");
    limited.expect_end("limit");
    gateway.expect_metric("tidegate_topics", &[], 0.0);
}

#[test]
fn a_max_duration_beyond_every_number_is_refused_and_nothing_panics() {
    let gateway = Gateway::start();
    let mut connection = gateway.connect_public();
    // The first wraps while its parts are added up; the second is 2^64 ms and a bit.
    for time in ["18446744073709551615s%20500ms%20500ms", "18446744073709552s"] {
        let target = format!("/events?topic=t&max_duration={time}");
        connection.request("GET", &target, &[], b"").expect_refused(400, "max_duration");
    }
    let mut stream = listen_to(&gateway, &["t"]);
    gateway.topic("t").publish("one");
    stream.expect_data("one");
    let log = gateway.log();
    assert!(!log.iter().any(|line| line.contains("panic")), "{log:#?}");
}

#[test]
fn a_pattern_has_at_most_16_tokens() {
    let gateway = Gateway::start();
    for (sixteen, topic) in [
        (format!("{}*", "a.".repeat(15)), format!("{}b", "a.".repeat(15))),
        (format!("{}>", "a.".repeat(15)), format!("{}b", "a.".repeat(40))),
    ] {
        let mut stream = listen_to(&gateway, &[&sixteen]);
        gateway.topic(&topic).publish(&topic);
        stream.expect_data(&topic);
        let seventeen = query(&[format!("a.{sixteen}")]);
        gateway.subscriber(&seventeen).response().expect_refused(400, "topic");
    }
    // A topic without wildcards is one name, however many dots it has.
    let deep = format!("{}b", "a.".repeat(200));
    let mut stream = listen_to(&gateway, &[&deep]);
    gateway.topic(&deep).publish("deep");
    stream.expect_data("deep");
}

#[test]
fn an_empty_cursor_in_the_header_leaves_the_one_in_the_query() {
    let gateway = Gateway::start();
    let stale = gateway.topic("t").publish("one");
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let head = gateway.topic("t").publish("moves the head");
        let ask = |cursor: &str| gateway.subscriber(&format!("topic=t&{name}={cursor}")).after("");
        let hello = ask(&head).open().expect_hello();
        assert!(hello.resumed, "{name}: {hello:?}");
        let mut behind = ask(&stale).open();
        assert_eq!(behind.expect_hello().id, stale, "{name}");
        behind.expect_data("moves the head");
    }
}
