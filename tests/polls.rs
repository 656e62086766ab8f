//! Long polls: `Accept: application/json` on the URL of a stream, with the same topics, cursors, gaps and
//! header fields as that stream. What an app server has to say to a poll is in `polls/hooks.rs`, and that
//! polls and streams are told the same in `polls/sameness.rs`.

mod support;

#[path = "polls/hooks.rs"]
mod hooks;
#[path = "polls/sameness.rs"]
mod sameness;

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Connection, Deadline, Gateway, PATIENCE, Received, Response, percent_encode};

const JSON: (&str, &str) = ("accept", "application/json");

/// A client that polls over one connection, each time from where the last answer has left it.
struct Poller {
    connection: Connection,
    target: String,
    cookie: &'static str,
    cursor: Option<String>,
    /// What the last answer had beside events.
    gap: Value,
}

impl Poller {
    #[track_caller]
    fn new(gateway: &Gateway, target: &str) -> Self {
        let connection = gateway.connect_public();
        Self { connection, target: target.into(), cookie: "", cursor: None, gap: Value::Null }
    }

    #[track_caller]
    fn ask(&mut self) {
        let cursor = self.cursor.as_deref().unwrap_or_default().to_owned();
        let target = self.target.clone();
        let headers = [JSON, ("cookie", self.cookie), ("last-event-id", &cursor)];
        self.connection.send_request("GET", &target, &headers, b"");
    }

    /// The answer as it is.
    #[track_caller]
    fn response(&mut self) -> Response {
        self.connection.read_response("GET")
    }

    /// The events of the next answer, which moves the cursor.
    #[track_caller]
    fn answer(&mut self) -> Vec<Value> {
        let mut answer = self.response().expect_status(200).json();
        self.cursor = Some(answer["cursor"].as_str().expect("a cursor").to_owned());
        self.gap = answer["gap"].take();
        assert_eq!(answer.as_object().map(serde_json::Map::len), Some(3), "{answer}");
        let Value::Array(events) = answer["events"].take() else { panic!("no events: {answer}") };
        events
    }

    #[track_caller]
    fn poll(&mut self) -> Vec<Value> {
        self.ask();
        self.answer()
    }
}

fn data(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["data"].as_str().expect("data is text")).collect()
}

#[track_caller]
fn poll_once(gateway: &Gateway, query: &str) -> Response {
    gateway.subscriber(query).header("accept", "application/json").response()
}

#[test]
fn need_a4_one_fallback_at_the_same_url_misses_nothing_between_polls() {
    let gateway = Gateway::start();
    let mut poller = Poller::new(&gateway, "/events?topic=board.42&topic=agents.*");
    // The first answer is there at once, with a cursor.
    assert_eq!(poller.poll(), Vec::<Value>::new());
    let ids = [
        gateway.topic("board.42").publish_named("task.status", "{\"a\":\n1}"),
        gateway.topic("agents.7").publish("two"),
    ];
    gateway.topic("board.43").publish("not asked for");
    let events = poller.poll();
    let expected = serde_json::json!([
        {"id": ids[0], "topic": "board.42", "event": "task.status", "data": "{\"a\":\n1}"},
        {"id": ids[1], "topic": "agents.7", "event": null, "data": "two"},
    ]);
    assert_eq!(Value::from(events), expected);
    assert_eq!(poller.gap, Value::Null);
    // Nothing is there any more: it waits, and gets the next event as soon as that comes.
    poller.ask();
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    gateway.topic("board.42").publish("three");
    assert_eq!(data(&poller.answer()), ["three"]);
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 0.0);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "answered")], 3.0);
    // A stream at the same URL goes on where the poll has stopped, and the other way round.
    let after = poller.cursor.clone().expect("a cursor");
    let mut stream = gateway.subscriber("topic=board.42&topic=agents.*").after(&after).open();
    assert!(stream.expect_hello().resumed);
    gateway.topic("board.42").publish("four");
    stream.expect_data("four");
    assert_eq!(data(&poller.poll()), ["four"]);
    assert_eq!(poller.cursor.as_deref(), Some(stream.last_event_id()));
}

#[test]
fn need_a4_a_poll_and_a_stream_are_told_the_same_over_many_rounds() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__RING_FRAMES_MAX", "16").start();
    let mut poller = Poller::new(&gateway, "/events?topic=a.%3E&wait=20s");
    let mut stream = gateway.subscribe("topic=a.%3E");
    stream.expect_hello();
    poller.poll();
    let rounds = 60;
    let (mut polled, mut last) = (Vec::new(), 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..rounds {
                for number in 0..round % 7 {
                    gateway.topic(&format!("a.{number}")).publish(&format!("{round}/{number}"));
                }
                support::pause(Duration::from_millis(round % 5));
            }
            gateway.topic("a.end").publish("end");
        });
        while last == 0 {
            polled.extend(poller.poll());
            assert_eq!(poller.gap, Value::Null);
            last = polled.iter().filter(|event| event["data"] == "end").count();
        }
    });
    for event in polled {
        let streamed = stream.expect_event();
        assert_eq!((event["id"].as_str(), &*streamed.event), (Some(&*streamed.id), "message"));
        assert_eq!(event["data"], streamed.data);
    }
}

#[test]
fn a_poll_is_over_when_its_wait_is_and_the_cursor_has_moved() {
    let gateway = Gateway::start();
    let mut poller = Poller::new(&gateway, "/events?topic=a&wait=300ms");
    poller.poll();
    let other = gateway.topic("b").publish("moves every cursor");
    let began = Instant::now();
    assert_eq!(poller.poll(), Vec::<Value>::new());
    let waited = began.elapsed();
    assert!((200..3_000).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(poller.cursor, Some(other));
    poller.target = "/events?topic=a&wait=0s".into();
    let began = Instant::now();
    assert_eq!(poller.poll(), Vec::<Value>::new());
    assert!(began.elapsed() < Duration::from_millis(200));
    let refused = poll_once(&gateway, "topic=a&wait=soon");
    assert_eq!(refused.json()["field"], "wait");
    assert_eq!(refused.expect_problem(400), "urn:tidegate:problem:bad-parameter");
}

#[test]
fn need_a4_what_a_poll_has_lost_is_a_gap_before_what_is_left() {
    let config = "[history]\nevents_max = 3\n";
    let gateway = Gateway::builder().config(config).start();
    let ids: Vec<_> =
        (0..8).map(|number| gateway.topic("a").publish(&number.to_string())).collect();
    let mut poller = Poller::new(&gateway, "/events?topic=a");
    poller.cursor = Some(ids[1].clone());
    assert_eq!(data(&poller.poll()), ["5", "6", "7"]);
    let expected = serde_json::json!(
        {"after": ids[1], "to": ids[4], "count": null, "reason": "expired"});
    assert_eq!(poller.gap, expected);
    assert_eq!(poller.cursor.as_ref(), ids.last());
    // Cursors that mean nothing here are answered at once, and with one that does.
    for (cursor, reason) in [("000000000000-7", "epoch"), ("nonsense", "epoch")] {
        poller.cursor = Some(cursor.into());
        assert_eq!(data(&poller.poll()), [""; 0]);
        assert_eq!(
            (poller.gap["reason"].as_str(), &poller.gap["after"]),
            (Some(reason), &Value::Null)
        );
        assert_eq!(poller.cursor.as_ref(), ids.last());
    }
    let ahead = ids[7].replace("-8", "-99");
    poller.cursor = Some(ahead);
    poller.poll();
    assert_eq!(poller.gap["reason"], "ahead");
}

#[test]
fn a_first_poll_has_retained_values_and_a_large_answer_comes_in_parts() {
    let gateway = Gateway::builder().env("TIDEGATE__STREAM__RING_FRAMES_MAX", "4").start();
    for topic in ["a.1", "a.2"] {
        let event =
            format!(r#"{{"topic":"{topic}","event":"state","data":"{topic}","retain":true}}"#);
        gateway.publish(&event).expect_status(202);
    }
    let mut poller = Poller::new(&gateway, "/events?topic=a.*");
    let values = poller.poll();
    assert_eq!((data(&values), &values[1]["event"]), (vec!["a.1", "a.2"], &Value::from("state")));
    let sent: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for number in &sent {
        gateway.topic("a.3").publish(number);
    }
    let mut received = Vec::new();
    for expected in [4, 4, 2] {
        let events = poller.poll();
        assert_eq!(events.len(), expected);
        received.extend(data(&events).into_iter().map(str::to_owned));
    }
    assert_eq!(received, sent);
    poller.cursor = Some(values[1]["id"].as_str().expect("an id").to_owned());
    poller.target.push_str("&limit=2");
    assert_eq!(data(&poller.poll()), ["0", "1"]);
    assert_eq!(data(&poller.poll()), ["2", "3"]);
    let dropped = gateway.metric("tidegate_events_dropped_total", &[]);
    assert!(dropped.abs() < 1e-9, "{dropped}");
}

#[test]
fn retained_values_are_one_answer_even_where_the_history_is_short() {
    let config = "[history]\nevents_max = 2\n[stream]\nring_frames_max = 4\n";
    let gateway = Gateway::builder().config(config).start();
    for number in 0..12 {
        let name = number % 10;
        let event = format!(r#"{{"topic":"a","event":"{name}","data":"{number}","retain":true}}"#);
        gateway.publish(&event).expect_status(202);
    }
    let mut poller = Poller::new(&gateway, "/events?topic=a&wait=0s");
    assert_eq!(data(&poller.poll()), ["2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]);
    // A cursor amid the values would be one that the history does not reach back to.
    assert_eq!(poller.poll(), Vec::<Value>::new());
    assert_eq!(poller.gap, Value::Null);
    gateway.topic("a").publish("new");
    assert_eq!(data(&poller.poll()), ["new"]);
}

#[test]
fn of_an_events_topics_a_poll_names_one_that_it_asks_for() {
    let gateway = Gateway::start();
    let mut poller = Poller::new(&gateway, "/events?topic=b.*");
    poller.poll();
    gateway.publish(r#"[{"topic":["a","b.1","c"],"data":{"x": 1}},{"topic":"*"}]"#);
    let events = poller.poll();
    assert_eq!((&events[0]["topic"], &events[0]["data"]), (&"b.1".into(), &r#"{"x": 1}"#.into()));
    assert_eq!((&events[1]["topic"], &events[1]["data"]), (&"*".into(), &"{}".into()));
}

#[test]
fn a_poll_has_the_fields_of_its_route_and_no_cache_keeps_it() {
    let config = "[stream.cors]\norigins = ['https://app.example.com']\ncredentials = true\n";
    let gateway = Gateway::builder().config(config).start();
    let headers = [JSON, ("origin", "https://app.example.com")];
    for method in ["GET", "HEAD"] {
        let mut connection = gateway.connect_public();
        let answer =
            connection.request(method, "/events?topic=a", &headers, b"").expect_status(200);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("https://app.example.com"));
        assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
        let vary = answer.headers.iter().filter(|(name, _)| name == "vary");
        let vary: Vec<_> = vary.map(|(_, value)| value.as_str()).collect();
        assert_eq!(vary, ["accept", "origin"], "{method}");
    }
    let posted = gateway.connect_public().request("POST", "/events?topic=a", &[JSON], b"");
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
    let refused = poll_once(&gateway, "");
    assert_eq!(refused.expect_problem(400), "urn:tidegate:problem:no-topic");
    let html = gateway.subscriber("topic=a").header("accept", "text/html").response();
    assert_eq!(html.expect_problem(406), "urn:tidegate:problem:not-acceptable");
}

#[test]
fn a_connection_is_used_again_after_a_poll() {
    let gateway = Gateway::start();
    let mut poller = Poller::new(&gateway, "/events?topic=a&wait=100ms");
    for _ in 0..3 {
        poller.poll();
    }
    let head = poller.connection.request("HEAD", "/events?topic=a", &[], b"");
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    // Two in a pipeline are answered in their order.
    poller.cursor = None;
    poller.ask();
    poller.ask();
    poller.answer();
    poller.answer();
}

#[test]
fn need_a4_a_poll_over_http2_is_the_same() {
    let gateway = Gateway::start();
    let cursor = gateway.topic("a").publish("zero");
    let mut curl = Command::new("curl");
    let time = PATIENCE.as_secs().to_string();
    curl.args(["--http2-prior-knowledge", "--silent", "--include", "--max-time", &time]);
    curl.args(["--header", "accept: application/json", "--header"]);
    curl.arg(format!("last-event-id: {cursor}"));
    curl.arg(format!("http://{}/events?topic=a", gateway.public));
    let curl = curl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("curl is installed");
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    let id = gateway.topic("a").publish("one");
    let output = curl.wait_with_output().expect("curl ends");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(
        head.starts_with("HTTP/2 200") && head.contains("content-type: application/json"),
        "{head}"
    );
    let answer: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&answer["cursor"], &answer["events"][0]["id"]), (&id.clone().into(), &id.into()));
}

#[test]
fn who_leaves_while_it_waits_is_forgotten() {
    let gateway = Gateway::start();
    let mut poller = Poller::new(&gateway, "/events?topic=a");
    poller.poll();
    poller.ask();
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    drop(poller);
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 0.0);
    gateway.expect_metric("tidegate_streams_closed_total", &[("reason", "client")], 1.0);
    gateway.expect_metric("tidegate_topics", &[], 0.0);
}

#[test]
fn need_a4_at_a_drain_polls_that_wait_are_answered_at_once() {
    let mut gateway = Gateway::start();
    let mut poller = Poller::new(&gateway, "/events?topic=a&wait=50s");
    poller.poll();
    poller.ask();
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    let began = Instant::now();
    gateway.terminate();
    assert_eq!(poller.answer(), Vec::<Value>::new());
    assert!(poller.cursor.is_some());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(poller.connection.receive(Deadline::patient()), Received::Closed);
    assert!(gateway.wait().success());
}

#[test]
fn a_route_that_disconnects_the_slow_and_one_that_does_not_resume_poll_like_their_streams() {
    let config = "[[stream.routes]]\npath = '/strict'\ntopics = ['t']\nslow = 'disconnect'\n\
        ring_frames_max = 2\n[[stream.routes]]\npath = '/live'\ntopics = ['t']\nresume = false\n";
    let gateway = Gateway::builder().config(config).start();
    let mut strict = Poller::new(&gateway, "/strict?wait=10s");
    let mut live = Poller::new(&gateway, "/live?wait=10s");
    strict.poll();
    live.poll();
    strict.ask();
    gateway.expect_metric("tidegate_subscribers", &[("protocol", "poll")], 1.0);
    let events: Vec<_> =
        (0..64).map(|number| format!(r#"{{"topic":"t","data":"{number}"}}"#)).collect();
    gateway.publish(&format!("[{}]", events.join(","))).expect_status(202);
    let mut received = Vec::new();
    let mut polls = 0;
    while received.len() < 64 {
        if polls > 0 {
            strict.ask();
        }
        let events = strict.answer();
        assert_eq!(strict.gap, Value::Null);
        received.extend(data(&events).into_iter().map(str::to_owned));
        polls += 1;
        assert!(polls < 200, "{received:?}");
    }
    assert!(received.iter().enumerate().all(|(number, data)| *data == number.to_string()));
    assert_eq!(live.poll(), Vec::<Value>::new());
    assert_eq!(live.gap["reason"], "expired");
    let path = percent_encode("t");
    gateway.post(&format!("/topics/{path}"), &[], b"x").expect_status(202);
    live.poll();
    assert_eq!(live.gap["reason"], "expired");
}
