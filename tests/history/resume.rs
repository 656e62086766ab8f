//! Resuming: everything after the cursor, once and in order, then live; what is gone is a gap.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::support::{Gateway, Subscriber, pause};
use super::{expect_numbers, gap_of, publish_numbers, seq, with};

#[test]
fn what_was_missed_comes_before_what_is_new() {
    let gateway = Gateway::start();
    let ids = publish_numbers(&gateway, "t", 0..5);
    let mut subscriber = gateway.subscriber("topic=t").after(&ids[1]).open();
    let hello = subscriber.expect_hello();
    assert_eq!((hello.id.as_str(), hello.cursor.as_str()), (ids[1].as_str(), ids[1].as_str()));
    assert!(hello.resumed);
    for (number, id) in ids.iter().enumerate().skip(2) {
        assert_eq!(subscriber.expect_data(&number.to_string()).id, *id);
    }
    publish_numbers(&gateway, "t", 5..8);
    expect_numbers(&mut subscriber, 5..8);
    gateway.expect_metric("tidegate_replays_total", &[("result", "complete")], 1.0);
    gateway.expect_metric("tidegate_events_delivered_total", &[], 6.0);
}

#[test]
fn one_cursor_serves_topics_patterns_and_broadcasts() {
    let gateway = Gateway::start();
    let first = gateway.topic("a").publish("seen");
    for (topic, data) in [
        ("a", "exact"),
        ("other", "not asked for"),
        ("x.1", "pattern"),
        ("*", "everyone"),
        ("x.1.y", "too deep"),
        ("x.2", "pattern"),
    ] {
        gateway.publish(&format!(r#"{{"topic":"{topic}","data":"{data}"}}"#)).expect_status(202);
    }
    let several = r#"{"topic":["a","x.3","other"],"data":"twice asked for"}"#;
    gateway.publish(several).expect_status(202);
    for query in ["topic=a&topic=x.*", "topic=x.*&topic=a&topic=x.1&topic=x.3"] {
        let mut subscriber = gateway.subscriber(query).after(&first).open();
        assert!(subscriber.expect_hello().resumed);
        for data in ["exact", "pattern", "everyone", "pattern", "twice asked for"] {
            subscriber.expect_data(data);
        }
        subscriber.expect_silence(Duration::from_millis(50));
    }
    let mut all = gateway.subscriber("topic=%3E").after(&first).open();
    all.expect_hello();
    let seqs: Vec<_> = (0..7).map(|_| seq(&all.expect_event().id)).collect();
    assert_eq!(seqs, [2, 3, 4, 5, 6, 7, 8]);
}

#[test]
fn a_stream_that_misses_nothing_of_its_own_is_live_at_once() {
    let gateway = Gateway::start();
    let id = gateway.topic("mine").publish("seen");
    publish_numbers(&gateway, "other", 0..3000);
    let mut subscriber = gateway.subscriber("topic=mine").after(&id).open();
    let hello = subscriber.expect_hello();
    assert_eq!((hello.resumed, hello.id), (true, id));
    gateway.topic("mine").publish("new");
    subscriber.expect_data("new");
}

#[test]
fn below_retention_there_is_a_gap_and_then_the_oldest_that_is_left() {
    let gateway = with(&[("HISTORY__EVENTS_MAX", "3")]).start();
    let ids = publish_numbers(&gateway, "t", 0..10);
    let beginning = Reader { next: 0 }.cursor(&ids[0]);
    // From before its first event the loss of a topic is counted; from its middle it is not known.
    for (cursor, count) in [(&beginning, Some(7)), (&ids[2], None)] {
        let mut subscriber = gateway.subscriber("topic=t").after(cursor).open();
        let hello = subscriber.expect_hello();
        assert_eq!((hello.resumed, &hello.id), (false, cursor));
        let gap = subscriber.expect_gap();
        assert_eq!((gap.after.as_ref(), &gap.to), (Some(cursor), &ids[6]));
        assert_eq!((gap.count, gap.reason.as_str()), (count, "expired"));
        expect_numbers(&mut subscriber, 7..10);
    }
    let mut subscriber = gateway.subscriber("topic=t").after(&ids[6]).open();
    assert!(subscriber.expect_hello().resumed);
    expect_numbers(&mut subscriber, 7..10);
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "expired")], 2.0);
    gateway.expect_metric("tidegate_replays_total", &[("result", "gap")], 2.0);
}

#[test]
fn f13_the_past_of_other_topics_is_not_shown() {
    let gateway = with(&[("HISTORY__EVENTS_MAX", "1")]).start();
    let first = gateway.topic("secret").publish("one");
    gateway.topic("secret").publish("two");
    gateway.topic("secret").publish("three");
    let mut subscriber = gateway.subscriber("topic=mine").after(&first).open();
    assert!(subscriber.expect_hello().resumed, "nothing of its own is gone");
    subscriber.expect_silence(Duration::from_millis(50));
}

#[test]
fn a_quiet_topic_keeps_its_past_beside_a_chatty_one() {
    let gateway = with(&[("HISTORY__EVENTS_MAX", "3")]).start();
    let seen = gateway.topic("quiet").publish("seen");
    let missed = gateway.topic("quiet").publish("missed");
    let chatty = publish_numbers(&gateway, "chatty", 0..10);
    let mut subscriber = gateway.subscriber("topic=quiet&topic=chatty").after(&seen).open();
    assert!(!subscriber.expect_hello().resumed);
    // The gap is told first, and the cursor does not pass what is still there.
    let gap = subscriber.expect_named("gap");
    assert!(gap.data.contains(&format!(r#""to":"{}","count":7"#, chatty[6])), "{}", gap.data);
    assert_eq!(gap.id, seen);
    assert_eq!(subscriber.expect_data("missed").id, missed);
    expect_numbers(&mut subscriber, 7..10);
}

#[test]
fn limits_can_differ_by_topic() {
    let gateway = Gateway::builder()
        .config(
            "[history]\nevents_max = 2\n[[history.overrides]]\ntopics = \"long.*\"\n\
             events_max = 100\n[[history.overrides]]\ntopics = \"none\"\nevents_max = 0\n",
        )
        .start();
    let start = gateway.topic("start").publish("x");
    for topic in ["short", "long.1", "none"] {
        publish_numbers(&gateway, topic, 0..10);
    }
    for (topic, from) in [("short", 8), ("long.1", 0), ("none", 10)] {
        let mut subscriber = gateway.subscriber(&format!("topic={topic}")).after(&start).open();
        assert_eq!(subscriber.expect_hello().resumed, from == 0, "{topic}");
        if from > 0 {
            assert_eq!(subscriber.expect_gap().count, Some(from as u64));
        }
        expect_numbers(&mut subscriber, from..10);
        subscriber.expect_silence(Duration::from_millis(50));
    }
}

#[test]
fn events_grow_old() {
    let gateway = with(&[("HISTORY__AGE_MAX", "300ms")]).start();
    let ids = publish_numbers(&gateway, "t", 0..3);
    pause(Duration::from_millis(400));
    publish_numbers(&gateway, "t", 3..4);
    let mut subscriber = gateway.subscriber("topic=t").after(&ids[0]).open();
    subscriber.expect_hello();
    assert_eq!(subscriber.expect_gap().to, ids[2]);
    expect_numbers(&mut subscriber, 3..4);
}

#[test]
fn what_its_publisher_says_is_worthless_by_now_is_not_missed() {
    let gateway = Gateway::start();
    let seen = gateway.topic("t").publish("seen");
    for (data, ttl) in [("short", r#""1s""#), ("long", "60"), ("for ever", "null")] {
        let body = format!(r#"{{"topic":"t","data":"{data}","ttl":{ttl}}}"#);
        gateway.publish(&body).expect_status(202);
    }
    gateway.post("/topics/t?ttl=1", &[], b"also short").expect_status(202);
    let listen = || {
        let mut subscriber = gateway.subscriber("topic=t").after(&seen).open();
        assert!(subscriber.expect_hello().resumed);
        subscriber
    };
    let mut now = listen();
    for data in ["short", "long", "for ever", "also short"] {
        now.expect_data(data);
    }
    pause(Duration::from_millis(1100));
    let mut later = listen();
    for data in ["long", "for ever"] {
        later.expect_data(data);
    }
    later.expect_silence(Duration::from_millis(50));
}

#[test]
fn a_limit_counts_the_past_too() {
    let gateway = Gateway::start();
    let ids = publish_numbers(&gateway, "t", 0..5);
    let mut subscriber = gateway.subscriber("topic=t&limit=3").after(&ids[0]).open();
    subscriber.expect_hello();
    expect_numbers(&mut subscriber, 1..4);
    subscriber.expect_end("limit");
    let mut subscriber = gateway.subscriber("topic=t&limit=3").after(&ids[2]).open();
    subscriber.expect_hello();
    expect_numbers(&mut subscriber, 3..5);
    publish_numbers(&gateway, "t", 5..6);
    expect_numbers(&mut subscriber, 5..6);
    subscriber.expect_end("limit");
}

/// Events that are large and many, read slowly, while others are published: several pages, half
/// written frames, and a seam.
#[test]
fn a_long_past_is_read_at_the_clients_pace() {
    let gateway = with(&[
        ("HISTORY__EVENTS_MAX", "10000"),
        ("HISTORY__BYTES_MAX", "64MiB"),
        ("SERVER__SEND_BUFFER", "4KiB"),
    ])
    .start();
    let first = gateway.topic("t").publish("start");
    let data = |number: usize| format!("{number} {}", "x".repeat(number % 7 * 700));
    let publish = |numbers: std::ops::Range<usize>| {
        let events: Vec<_> =
            numbers.map(|n| format!(r#"{{"topic":"t","data":"{}"}}"#, data(n))).collect();
        gateway.publish(&format!("[{}]", events.join(","))).expect_status(202);
    };
    publish(0..1500);
    let request = gateway.subscriber("topic=t").after(&first).receive_buffer(4096);
    let mut subscriber = request.open();
    assert!(subscriber.expect_hello().resumed);
    for number in 0..3000 {
        if number % 500 == 0 && number < 1500 {
            publish(1500 + number..2000 + number);
        }
        subscriber.expect_data(&data(number));
    }
    publish(3000..3001);
    subscriber.expect_data(&data(3000));
}

/// Checks a stream's events: each is the next of its topics, or was declared lost.
struct Reader {
    next: u64,
}

impl Reader {
    /// The place it has come to, in the form of another id.
    fn cursor(&self, id: &str) -> String {
        let (epoch, _) = id.split_once('-').expect("an id has an epoch");
        format!("{epoch}-{}", self.next)
    }

    /// Reads so many events. Every event is of this topic: its `seq` is its number.
    fn read(&mut self, subscriber: &mut Subscriber, events: usize) {
        for _ in 0..events {
            let event = subscriber.next();
            if event.event == "gap" {
                let (_, after, to) = gap_of(&event);
                assert!(after <= self.next, "after {} came {event:?}", self.next);
                // Events are one a `seq`: a gap says up to where they are gone.
                self.next = self.next.max(to);
                continue;
            }
            let now = seq(&event.id);
            assert_eq!(now, self.next + 1, "after {} came {event:?}", self.next);
            self.next = now;
        }
    }
}

/// Publishes to `t` without a pause until told to stop.
fn with_a_busy_publisher(gateway: &Gateway, test: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut publisher = gateway.connect_internal();
            let events = vec![r#"{"topic":"t","data":"x"}"#; 20].join(",");
            let body = format!("[{events}]");
            while !done.load(Ordering::Relaxed) {
                let headers = [("content-type", "application/json")];
                publisher.request("POST", "/publish", &headers, body.as_bytes());
            }
        });
        // The publisher ends even if the test fails.
        struct Done<'a>(&'a AtomicBool);
        impl Drop for Done<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _done = Done(&done);
        test();
    });
}

#[test]
fn f17_between_the_past_and_live_there_is_no_hole_and_no_double() {
    let gateway =
        with(&[("HISTORY__EVENTS_MAX", "100000"), ("HISTORY__BYTES_MAX", "64MiB")]).start();
    let mut cursor = gateway.topic("t").publish("start");
    with_a_busy_publisher(&gateway, || {
        let mut reader = Reader { next: seq(&cursor) };
        for round in 0..60 {
            let mut subscriber = gateway.subscriber("topic=t").after(&cursor).open();
            assert!(subscriber.expect_hello().resumed, "round {round}");
            reader.read(&mut subscriber, 1 + round * 37 % 500);
            cursor = reader.cursor(&cursor);
        }
    });
    assert_eq!(gateway.metric("tidegate_gaps_total", &[("reason", "expired")]), 0.0);
}

#[test]
fn f16_what_is_trimmed_while_it_is_read_is_a_gap() {
    let gateway =
        with(&[("HISTORY__EVENTS_MAX", "300"), ("STREAM__RING_FRAMES_MAX", "64")]).start();
    let first = gateway.topic("t").publish("start");
    with_a_busy_publisher(&gateway, || {
        let mut cursor = first;
        let mut reader = Reader { next: seq(&cursor) };
        for round in 0..60 {
            let mut subscriber = gateway.subscriber("topic=t").after(&cursor).open();
            subscriber.expect_hello();
            reader.read(&mut subscriber, 1 + round * 37 % 500);
            cursor = reader.cursor(&cursor);
            pause(Duration::from_millis(10));
        }
    });
    assert!(gateway.metric("tidegate_gaps_total", &[("reason", "expired")]) > 0.0);
}
