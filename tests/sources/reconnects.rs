//! How a source goes on when its stream ends, and when it does not.

use std::time::{Duration, Instant};

use crate::support::{Deadline, Origin, Received, eventually, pause};
use crate::{FAST, expect_count, expect_state, reading, report, serve};

#[test]
fn need_d5_a_source_resumes_after_its_last_event() {
    let origin = Origin::listen();
    let gateway = reading(&origin, FAST).start();
    let mut subscriber = gateway.topic("up").subscribe();
    subscriber.expect_hello();
    let (_, upstream) = serve(&origin, "id: ä7\ndata: one\n\nid: 8\n\n");
    subscriber.expect_data("one");
    eventually("the id to count", || {
        (report(&gateway, "up")["last_event_id"] == "8").then_some(())
    });
    drop(upstream);
    let (request, mut upstream) = serve(&origin, "data: two\n\n");
    assert_eq!(request.header("last-event-id"), Some("8"));
    let id = subscriber.expect_data("two").id;
    assert_eq!(report(&gateway, "up")["connections"], 2);
    upstream.send("id: 9\ndata: three\n\n");
    subscriber.expect_data("three");
    // And a client resumes from the gateway, whatever became of the source.
    drop(upstream);
    let mut again = gateway.subscriber("topic=up").after(&id).open();
    again.expect_hello();
    again.expect_data("three");
}

#[test]
fn f15_an_event_cut_off_in_the_middle_is_discarded_and_the_source_reconnects() {
    let origin = Origin::listen();
    let gateway = reading(&origin, FAST).start();
    let mut subscriber = gateway.topic("up").subscribe();
    subscriber.expect_hello();
    let (_, upstream) = serve(&origin, "id: 1\ndata: whole\n\nid: 2\ndata: cut o");
    subscriber.expect_data("whole");
    drop(upstream);
    let (request, mut upstream) = origin.answer(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    assert_eq!(request.header("last-event-id"), Some("1"));
    let error = report(&gateway, "up")["last_error"].to_string();
    assert!(error.contains("in the middle of an event"), "{error}");
    // The same within a chunk, which says itself that more was to come.
    upstream.send("40\r\nid: 2\ndata: cut off\n\nid: 3\ndata: again");
    subscriber.expect_data("cut off");
    drop(upstream);
    let (request, _upstream) = serve(&origin, "id: 3\ndata: again\n\n");
    assert_eq!(request.header("last-event-id"), Some("2"));
    subscriber.expect_data("again");
    expect_count(&gateway, "up", "published", 3);
}

#[test]
fn what_a_server_repeats_after_a_reconnect_comes_once() {
    let origin = Origin::listen();
    let gateway = reading(&origin, FAST).start();
    let mut subscriber = gateway.topic("up").subscribe();
    subscriber.expect_hello();
    let (_, upstream) = serve(&origin, "id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 2\ndata: b\n\n");
    for data in ["a", "b", "b"] {
        subscriber.expect_data(data);
    }
    drop(upstream);
    let (_, _upstream) = serve(&origin, "id: 2\ndata: b\n\nid: 3\ndata: c\n\n");
    subscriber.expect_data("c");
    assert_eq!(report(&gateway, "up")["events"]["duplicate"], 1);
}

#[test]
fn the_servers_retry_is_waited_for() {
    let origin = Origin::listen();
    let gateway =
        reading(&origin, "retry = '10ms'\nretry_max = '2s'\nretry_jitter = 0.0\n").start();
    let mut subscriber = gateway.topic("up").subscribe();
    subscriber.expect_hello();
    let (_, upstream) = serve(&origin, "retry: 700\ndata: x\n\n");
    subscriber.expect_data("x");
    drop(upstream);
    let left = Instant::now();
    let _connection = origin.accept();
    let waited = left.elapsed();
    assert!((Duration::from_millis(650)..Duration::from_secs(5)).contains(&waited), "{waited:?}");
}

#[test]
fn a_silent_stream_is_given_up_for_a_new_one() {
    let origin = Origin::listen();
    let gateway = reading(&origin, &format!("{FAST}stale_timeout = '300ms'\n")).start();
    let (_, mut upstream) = serve(&origin, "id: 5\n\n");
    // A comment is a sign of life.
    for _ in 0..4 {
        pause(Duration::from_millis(150));
        upstream.send(":\n");
    }
    assert_eq!(report(&gateway, "up")["connections"], 1);
    assert!(matches!(upstream.0.receive(Deadline::patient()), Received::Closed));
    let (request, _upstream) = serve(&origin, "");
    assert_eq!(request.header("last-event-id"), Some("5"));
    let error = report(&gateway, "up")["last_error"].to_string();
    assert!(error.contains("stale_timeout"), "{error}");
}

#[test]
fn need_d3_a_source_backs_off_and_gives_up() {
    let origin = Origin::listen();
    let settings = "retry = '60ms'\nretry_max = '10s'\nretry_jitter = 0.0\nattempts_max = 5\n";
    let gateway = reading(&origin, settings).start();
    let mut times = Vec::new();
    for status in ["500 Oops", "401 Who", "503 Busy", "404 None", "403 No"] {
        let (_, upstream) =
            origin.answer(&format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n"));
        times.push(Instant::now());
        drop(upstream);
    }
    let report = expect_state(&gateway, "up", "error");
    assert_eq!((&report["attempts"], &report["connections"]), (&5.into(), &0.into()));
    let error = report["last_error"].as_str().expect("a text");
    assert!(error.contains("gave up after 5 attempts") && error.contains("403"), "{error}");
    let delays: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (delay, least) in delays.iter().zip([55, 115, 235, 475]) {
        assert!(*delay >= Duration::from_millis(least), "{delays:?}");
    }
    assert!(origin.accept_within(Deadline::after(Duration::from_millis(300))).is_none());
    gateway.expect_metric("tidegate_sources", &[("state", "error")], 1.0);
}

#[test]
fn f30_only_an_event_stream_at_the_url_itself_is_read() {
    let origin = Origin::listen();
    let gateway = reading(&origin, FAST).start();
    for (answer, why) in [
        ("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0", "redirects"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0", "text/html"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0", "no content-type"),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip", "encoded"),
        ("nonsense", "no answer"),
    ] {
        let _refused = origin.answer(&format!("{answer}\r\n\r\n"));
        eventually(why, || {
            let error = report(&gateway, "up")["last_error"].to_string();
            error.contains(why).then_some(())
        });
    }
    assert_eq!(report(&gateway, "up")["connections"], 0);
    let _stopped = origin.answer("HTTP/1.1 204 No Content\r\n\r\n");
    let report = expect_state(&gateway, "up", "error");
    assert!(report["last_error"].as_str().unwrap().contains("204"), "{report}");
    assert!(origin.accept_within(Deadline::after(Duration::from_millis(300))).is_none());
}

#[test]
fn what_comes_faster_than_the_mailbox_takes_it_waits_and_nothing_is_lost() {
    let origin = Origin::listen();
    // One shard whose mailbox takes little, and an upstream that sends far more at once.
    let small =
        "[mailbox]\nevents_max = 64\n[publish]\nbatch_events_max = 16\n[server]\nshards = 1\n";
    let gateway = reading(&origin, &format!("{FAST}{small}")).start();
    let mut subscriber = gateway.topic("up").subscribe();
    subscriber.expect_hello();
    let events: String =
        (0..20_000).map(|number| format!("id: {number}\ndata: {number}\n\n")).collect();
    let (_, _upstream) = serve(&origin, &events);
    let mut lost = 0;
    let mut next = 0;
    while next < 20_000 {
        let event = subscriber.next();
        if event.event == "gap" {
            let gap: serde_json::Value = serde_json::from_str(&event.data).expect("JSON");
            lost += gap["dropped"].as_u64().unwrap_or_default();
            continue;
        }
        next = event.data.parse::<u64>().expect("a number") + 1;
    }
    // A ring may have dropped what this test read too slowly; the source has lost nothing.
    expect_count(&gateway, "up", "published", 20_000);
    println!("{lost} events were dropped for the subscriber");
}
