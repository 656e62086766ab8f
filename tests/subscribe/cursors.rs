//! Cursors: what a client comes back with decides how its stream begins, and never whether it gets
//! one, since a native `EventSource` does not reconnect after an error status.

use super::support::{
    Deadline, Gap, Gateway, Hello, Received, Subscribe, Subscriber, percent_encode,
};

/// A gateway with this many events in its past, and the ids of the first and the last.
#[track_caller]
fn gateway_with_a_past(events: usize) -> (Gateway, String, String) {
    let gateway = Gateway::start();
    let ids: Vec<String> = (0..events).map(|_| gateway.topic("t").publish("past")).collect();
    let (first, last) = (ids[0].clone(), ids[events - 1].clone());
    (gateway, first, last)
}

fn epoch(id: &str) -> &str {
    id.split_once('-').expect("an id has an epoch").0
}

/// The stream begins with a gap: `hello` has no id, so that the client's cursor does not pass the
/// gap, and the gap comes before the next event.
#[track_caller]
fn expect_loss(gateway: &Gateway, request: &Subscribe, head: &str) -> (Hello, Gap) {
    let mut subscriber = request.open();
    let hello = subscriber.expect_hello();
    assert_eq!(hello.id, "", "a gap follows, so hello carries no id");
    assert_eq!((hello.cursor.as_str(), hello.resumed), (head, false));
    let gap = subscriber.expect_gap();
    assert_eq!((gap.to.as_str(), gap.count), (head, None));
    assert_live(gateway, &mut subscriber);
    (hello, gap)
}

/// The stream begins without a gap, at the head.
#[track_caller]
fn expect_no_loss(gateway: &Gateway, request: &Subscribe, head: &str) -> Hello {
    let mut subscriber = request.open();
    let hello = subscriber.expect_hello();
    assert_eq!((hello.id.as_str(), hello.cursor.as_str()), (head, head));
    assert_live(gateway, &mut subscriber);
    hello
}

/// The next event is the next one published, once.
#[track_caller]
fn assert_live(gateway: &Gateway, subscriber: &mut Subscriber) {
    let data = "published from now on";
    let answer = gateway.publish(&format!(r#"{{"topic":"private","data":"{data}"}}"#));
    let id = answer.expect_status(202).json()["id"].clone();
    assert_eq!(subscriber.expect_data(data).id, id);
}

/// A stream that sees what [`assert_live`] publishes.
fn subscriber(gateway: &Gateway) -> Subscribe {
    gateway.subscriber("topic=private")
}

/// The head, which every [`assert_live`] moves.
#[track_caller]
fn head(gateway: &Gateway) -> String {
    gateway.topic("t").subscribe().expect_hello().cursor
}

#[test]
fn a_client_that_has_everything_is_resumed() {
    let (gateway, _, last) = gateway_with_a_past(3);
    let hello = expect_no_loss(&gateway, &subscriber(&gateway).after(&last), &last);
    assert!(hello.resumed);
}

#[test]
fn a_client_that_has_everything_of_nothing_is_resumed() {
    let gateway = Gateway::start();
    let beginning = head(&gateway);
    assert!(beginning.ends_with("-0"), "{beginning}");
    let hello = expect_no_loss(&gateway, &subscriber(&gateway).after(&beginning), &beginning);
    assert!(hello.resumed);
}

#[test]
fn a_client_without_a_cursor_begins_at_the_head() {
    let (gateway, _, last) = gateway_with_a_past(3);
    let hello = expect_no_loss(&gateway, &subscriber(&gateway), &last);
    assert!(!hello.resumed);
}

#[test]
fn the_cursor_may_come_in_the_query() {
    let (gateway, ..) = gateway_with_a_past(3);
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let head = head(&gateway);
        let request = gateway.subscriber(&format!("topic=private&{name}={head}"));
        assert!(expect_no_loss(&gateway, &request, &head).resumed, "{name}");
    }
}

#[test]
fn the_header_beats_the_query() {
    let (gateway, first, _) = gateway_with_a_past(3);
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let head = head(&gateway);
        let stale = gateway.subscriber(&format!("topic=private&{name}={first}"));
        assert!(expect_no_loss(&gateway, &stale.after(&head), &head).resumed, "{name}");
    }
    let head = head(&gateway);
    let fresh = gateway.subscriber(&format!("topic=private&last_event_id={head}"));
    assert_eq!(expect_loss(&gateway, &fresh.after("x"), &head).1.reason, "epoch");
}

#[test]
fn f10_a_cursor_of_another_epoch_is_a_gap() {
    let (gateway, ..) = gateway_with_a_past(3);
    let (_earlier, first, last) = gateway_with_a_past(5);
    for cursor in [&first, &last] {
        let head = head(&gateway);
        let (_, gap) = expect_loss(&gateway, &subscriber(&gateway).after(cursor), &head);
        assert_eq!((gap.reason.as_str(), gap.after), ("epoch", None));
    }
}

#[test]
fn f11_a_cursor_ahead_of_the_head_is_a_gap() {
    let (gateway, first, _) = gateway_with_a_past(3);
    for seq in ["1000", "4294967296", "18446744073709551615"] {
        let cursor = format!("{}-{seq}", epoch(&first));
        let head = head(&gateway);
        let (_, gap) = expect_loss(&gateway, &subscriber(&gateway).after(&cursor), &head);
        assert_eq!((gap.reason.as_str(), gap.after), ("ahead", None), "{cursor}");
    }
}

/// What is no id, for this gateway's epoch.
fn garbage(epoch: &str) -> Vec<String> {
    let upper = epoch.to_ascii_uppercase();
    let mut garbage = [
        "x",
        "-",
        "0",
        "-1",
        "null",
        "undefined",
        "[object Object]",
        "42",
        "é😀",
        "1-1",
        "%00",
        "zzzzzzzzzzzz-1",
        "0123456789ab",
        "0123456789ab-",
        "0123456789ab-x",
        "0123456789abc-1",
    ]
    .map(str::to_owned)
    .to_vec();
    garbage.extend(
        ["-", "-+1", "--1", "-1.0", "-0x1", "-1-1", "-1 1", "1", "-18446744073709551616"]
            .map(|end| format!("{epoch}{end}")),
    );
    garbage.push(format!("{epoch}-{}", "9".repeat(1000)));
    garbage.push("a".repeat(30_000));
    if upper != epoch {
        garbage.push(format!("{upper}-1"));
    }
    garbage
}

#[test]
fn f09_a_cursor_that_is_no_id_is_a_gap_and_never_an_error() {
    let (gateway, first, _) = gateway_with_a_past(1);
    for cursor in garbage(epoch(&first)) {
        let query = format!("topic=private&last_event_id={}", percent_encode(&cursor));
        for request in [subscriber(&gateway).after(&cursor), gateway.subscriber(&query)] {
            let head = head(&gateway);
            let (_, gap) = expect_loss(&gateway, &request, &head);
            assert_eq!((gap.reason.as_str(), gap.after), ("epoch", None), "{cursor:?}");
        }
    }
    for escaped in ["%ff", "%c3%28", "%00", "%0a", "%0d%0aid:%209", "%", "%zz", "+"] {
        let head = head(&gateway);
        let request = gateway.subscriber(&format!("topic=private&lastEventId={escaped}"));
        let (_, gap) = expect_loss(&gateway, &request, &head);
        assert_eq!(gap.reason, "epoch", "{escaped}");
    }
    gateway.expect_metric("tidegate_gaps_total", &[("reason", "slow")], 0.0);
}

#[test]
fn f09_a_cursor_header_need_not_be_utf8() {
    let gateway = Gateway::start();
    for bytes in [&b"\xff\xfe"[..], b"\xc3", b"caf\xe9"] {
        let mut connection = gateway.connect_public();
        let head = b"GET /events?topic=t HTTP/1.1\r\nhost: localhost\r\nlast-event-id: ";
        connection.send(&[head, bytes, b"\r\n\r\n"].concat());
        assert_eq!(connection.read_head().status, 200);
        while !String::from_utf8_lossy(&connection.buffer).contains(r#""reason":"epoch""#) {
            let received = connection.receive(Deadline::patient());
            assert!(matches!(received, Received::Bytes(_)), "no gap, but {received:?}");
        }
    }
}

#[test]
fn f09_an_empty_cursor_is_none() {
    let (gateway, ..) = gateway_with_a_past(3);
    for request in [
        subscriber(&gateway).after(""),
        gateway.subscriber("topic=private&last_event_id="),
        gateway.subscriber("topic=private&lastEventId"),
    ] {
        let head = head(&gateway);
        assert!(!expect_no_loss(&gateway, &request, &head).resumed);
    }
}

#[test]
fn a_client_that_comes_back_with_what_it_heard_last_loses_nothing() {
    let gateway = Gateway::start();
    let mut subscriber = gateway.subscribe("topic=private");
    subscriber.expect_hello();
    for _ in 0..3 {
        assert_live(&gateway, &mut subscriber);
        let cursor = subscriber.last_event_id().to_owned();
        drop(subscriber);
        subscriber = gateway.subscriber("topic=private").after(&cursor).open();
        assert!(subscriber.expect_hello().resumed);
    }
}

#[test]
fn a_gap_moves_the_cursor_past_the_loss() {
    let (gateway, _, last) = gateway_with_a_past(3);
    let mut subscriber = subscriber(&gateway).after("000000000000-1").open();
    subscriber.expect_hello();
    subscriber.expect_gap();
    assert_eq!(subscriber.last_event_id(), last);
    let again = gateway.subscriber("topic=private").after(&last);
    assert!(expect_no_loss(&gateway, &again, &last).resumed);
}

#[test]
fn each_gap_is_counted_by_its_reason() {
    let gateway = Gateway::builder().env("TIDEGATE__HISTORY__EVENTS_MAX", "1").start();
    let first = gateway.topic("t").publish("seen");
    gateway.topic("t").publish("gone");
    gateway.topic("t").publish("kept");
    let ahead = format!("{}-99", epoch(&first));
    for (cursor, reason) in [("x", "epoch"), (&*first, "expired"), (&*ahead, "ahead")] {
        let mut subscriber = gateway.subscriber("topic=t").after(cursor).open();
        subscriber.expect_hello();
        assert_eq!(subscriber.expect_gap().reason, reason);
        gateway.expect_metric("tidegate_gaps_total", &[("reason", reason)], 1.0);
    }
}
