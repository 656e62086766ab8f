//! Publish bodies: what is taken and how it arrives, what is refused and in which field's name.

use proptest::prelude::*;

use super::*;
use crate::sse::{Epoch, EventId};

fn rules() -> Rules {
    Rules {
        event_bytes_max: 10_000,
        batch_events_max: 3,
        topics_max: 2,
        reserved: ["hello".to_owned(), "end".to_owned()].into(),
        reserved_topics: "tidegate.sources.".into(),
    }
}

fn bare(submission: Submission) -> String {
    let frame = submission.draft.seal(EventId { epoch: Epoch::new(0), seq: 1 });
    String::from_utf8(frame.bare().to_vec()).unwrap()
}

fn sent(body: &str) -> String {
    let batch = parse(body.as_bytes(), Format::Json, &rules()).unwrap();
    batch.events.into_iter().map(bare).collect()
}

fn refused(body: &[u8], format: Format) -> (String, String) {
    let error = parse(body, format, &rules()).map(|_| ()).unwrap_err();
    (error.field, error.fault.to_string())
}

#[test]
fn data_of_every_type_arrives_as_written() {
    for (data, lines) in [
        (r#"{"a": [1, 2.50, "x"]}"#, r#"data: {"a": [1, 2.50, "x"]}"#),
        (r#""plain \"text\" \u00e9""#, "data: plain \"text\" é"),
        (r#""two\nlines""#, "data: two\ndata: lines"),
        ("12345678901234567890.10", "data: 12345678901234567890.10"),
        ("null", "data: null"),
        (r#""""#, "data: "),
    ] {
        let body = format!(r#"{{"topic":"t","data":{data}}}"#);
        assert_eq!(sent(&body), format!("id: 000000000000-1\n{lines}\n\n"), "{data}");
    }
    assert_eq!(sent(r#"{"topic":"t"}"#), "id: 000000000000-1\ndata: {}\n\n");
}

#[test]
fn names_and_retry_arrive() {
    assert_eq!(
        sent(r#"{"topic":"t","event":"task.status","retry":1500,"data":1}"#),
        "id: 000000000000-1\nevent: task.status\nretry: 1500\ndata: 1\n\n"
    );
    assert_eq!(sent(r#"{"topic":"t","event":""}"#), sent(r#"{"topic":"t","event":null}"#));
}

#[test]
fn topics_are_one_or_several_or_everyone() {
    let to = |body: &str| {
        let mut batch = parse(body.as_bytes(), Format::Json, &rules()).unwrap();
        batch.events.remove(0).to
    };
    let topics = |texts: &[&str]| {
        Destination::Topics(texts.iter().map(|text| Topic::parse(text).unwrap()).collect())
    };
    assert_eq!(to(r#"{"topic":"a"}"#), topics(&["a"]));
    assert_eq!(to(r#"{"topic":["b","a"]}"#), topics(&["a", "b"]));
    assert_eq!(to(r#"{"topic":["a","a"]}"#), topics(&["a"]));
    assert_eq!(to(r#"{"topic":"*"}"#), Destination::Everyone);
    assert_eq!(to(r#"{"topic":["a","*"]}"#), Destination::Everyone);
}

#[test]
fn arrays_and_lines_are_batches() {
    let array = parse(br#" [{"topic":"a"},{"topic":"b"}]"#, Format::Json, &rules()).unwrap();
    let lines = parse(b"{\"topic\":\"a\"}\r\n\n{\"topic\":\"b\"}\n", Format::Ndjson, &rules());
    assert_eq!((array.events.len(), array.single), (2, false));
    assert_eq!(lines.unwrap().events.len(), 2);
    let one = parse(br#"{"topic":"a"}"#, Format::Json, &rules()).unwrap();
    assert_eq!((one.events.len(), one.single), (1, true));
}

#[test]
fn what_is_wrong_is_named() {
    for (body, field) in [
        ("", "body"),
        ("nonsense", "body"),
        ("{", "body"),
        (r#"{"topic":"a"} x"#, "body"),
        ("[]", "body"),
        ("[1]", "[0]"),
        ("{}", "topic"),
        (r#"{"topic":5}"#, "topic"),
        (r#"{"topic":["a",5]}"#, "topic[1]"),
        (r#"{"topic":[]}"#, "topic"),
        (r#"{"topic":["a","b","c"]}"#, "topic"),
        (r#"{"topic":""}"#, "topic"),
        (r#"{"topic":"a.*"}"#, "topic"),
        (r#"{"topic":"a","evnt":"x"}"#, "evnt"),
        (r#"{"topic":"a","topic":"b"}"#, "topic"),
        (r#"{"topic":"a","event":5}"#, "event"),
        (r#"{"topic":"a","retry":-1}"#, "retry"),
        (r#"{"topic":"a","retry":"5"}"#, "retry"),
        (r#"{"topic":"a","retry":86400001}"#, "retry"),
        (r#"{"topic":"a","data":"\ud800"}"#, "data"),
        (r#"{"topic":"a","retain":1}"#, "retain"),
        (r#"{"topic":"a","ttl":"soon"}"#, "ttl"),
        (r#"{"topic":"a","ttl":0}"#, "ttl"),
        (r#"{"topic":"a","ttl":-1}"#, "ttl"),
        (r#"{"topic":"a","key":""}"#, "key"),
        (r#"{"topic":"a","key":7}"#, "key"),
        (r#"[{"topic":"a"},{"topic":"a","retry":"x"}]"#, "[1].retry"),
        (r#"[{"topic":"a"},{"topic":"a","nope":1}]"#, "[1].nope"),
        (r#"[{"topic":"a"},{"event":"x"}]"#, "[1].topic"),
        (r#"[{"topic":"a"},{"topic":"a","event":"hello"}]"#, "[1].event"),
        (r#"[{"topic":"a"},{"topic":"a"},{"topic":"a"},{"topic":"a"}]"#, "body"),
    ] {
        let (found, message) = refused(body.as_bytes(), Format::Json);
        assert_eq!(found, field, "{body}: {message}");
    }
    let (field, _) =
        refused(b"{\"topic\":\"a\"}\n{\"topic\":\"a\",\"retry\":true}", Format::Ndjson);
    assert_eq!(field, "[1].retry");
    let (field, _) = refused(b"\n\n", Format::Ndjson);
    assert_eq!(field, "body");
}

#[test]
fn f01_f03_control_characters_in_event_names_are_refused() {
    for escape in ["\\r", "\\n", "\\u0000", "\\u001b", "\\u007f", "\\u0085"] {
        let body = format!(r#"{{"topic":"a","event":"x{escape}data: forged"}}"#);
        assert_eq!(refused(body.as_bytes(), Format::Json).0, "event", "{escape}");
    }
}

#[test]
fn f05_invalid_utf8_is_refused_never_replaced() {
    let (field, message) = refused(b"{\"topic\":\"a\",\"data\":\"\xff\"}", Format::Json);
    assert_eq!((field.as_str(), message.as_str()), ("body", "not UTF-8 from byte 21 on"));
    let raw = |topic: &[u8], body: &[u8]| parse_raw(topic, None, body, &rules());
    assert_eq!(raw(b"a\xff", b"x").unwrap_err().field, "topic");
    assert_eq!(raw(b"a", b"\xc3").unwrap_err().field, "body");
}

#[test]
fn f06_an_event_is_measured_as_it_is_sent() {
    let lines = "\\n".repeat(2000);
    let body = format!(r#"{{"topic":"a","data":"{lines}"}}"#);
    let error = parse(body.as_bytes(), Format::Json, &rules()).unwrap_err();
    assert_eq!(error.fault, Fault::EventTooLarge { max: 10_000 });
    assert_eq!(error.field, "data");
    let long = "n".repeat(EVENT_NAME_BYTES_MAX + 1);
    let body = format!(r#"{{"topic":"a","event":"{long}"}}"#);
    assert_eq!(refused(body.as_bytes(), Format::Json).0, "event");
}

#[test]
fn f07_reserved_names_are_refused() {
    let error = parse(br#"{"topic":"a","event":"end"}"#, Format::Json, &rules()).unwrap_err();
    assert_eq!(error.fault, Fault::Reserved("end".to_owned()));
    assert!(parse(br#"{"topic":"a","event":"gap"}"#, Format::Json, &rules()).is_ok());
    let body = br#"{"topic":"tidegate.sources.a"}"#;
    let error = parse(body, Format::Json, &rules()).unwrap_err();
    assert_eq!(error.fault, Fault::ReservedTopic("tidegate.sources.".to_owned()));
}

#[test]
fn a_raw_body_is_the_data() {
    let raw = |query, body: &str| parse_raw(b"t", query, body.as_bytes(), &rules()).map(bare);
    assert_eq!(raw(None, "hi").unwrap(), "id: 000000000000-1\ndata: hi\n\n");
    assert_eq!(
        raw(Some("event=a+b&retry=5"), "").unwrap(),
        "id: 000000000000-1\nevent: a b\nretry: 5\ndata: \n\n"
    );
    for (query, field) in [
        ("event=a%0Ab", "event"),
        ("event=hello", "event"),
        ("event=%ff", "event"),
        ("retry=+5", "retry"),
        ("retry=5s", "retry"),
        ("retry=99999999999999999999", "retry"),
        ("name=x", "name"),
    ] {
        assert_eq!(raw(Some(query), "x").unwrap_err().field, field, "{query}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body: Vec<u8>) {
        let _ = parse(&body, Format::Json, &rules());
        let _ = parse(&body, Format::Ndjson, &rules());
        let _ = parse_raw(&body, Some("event=x"), &body, &rules());
    }

    #[test]
    fn any_json_string_arrives_line_by_line(data: String) {
        let body = serde_json::json!({"topic": "t", "data": data}).to_string();
        let expected = Draft::new(&Fields { data: &data, ..Fields::default() })
            .seal(EventId { epoch: Epoch::new(0), seq: 1 });
        let sent = sent(&body);
        prop_assert_eq!(sent.as_bytes(), expected.bare_bytes());
    }
}
