//! The tests' own decoders, tested: what they call wrong must be wrong, and nothing else. One
//! test a corner of the specification, each stream fed whole and byte by byte.

mod support;

use support::chunks::ChunkDecoder;
use support::metrics::sample;
use support::{Decoder, Event};

fn event(id: &str, event: &str, data: &str) -> Event {
    Event { id: id.into(), event: event.into(), data: data.into(), retry: None }
}

#[track_caller]
fn check(stream: &[u8], expected: &[Event]) -> Decoder {
    let mut bytewise = Decoder::new();
    let got: Vec<Event> = stream.iter().flat_map(|byte| bytewise.feed(&[*byte])).collect();
    assert_eq!(got, expected, "fed byte by byte");
    let mut whole = Decoder::new();
    assert_eq!(whole.feed(stream), expected, "fed whole");
    whole
}

#[test]
fn sse_examples_of_the_specification() {
    check(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[event("", "message", "YHOO\n+2\n10")]);
    let stream = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n\
                   data:  third event\n\n";
    let decoder = check(
        stream,
        &[
            event("1", "message", "first event"),
            event("", "message", "second event"),
            event("", "message", " third event"),
        ],
    );
    assert_eq!(decoder.comments, [" test stream"]);
    // The last block has no blank line after it and is discarded.
    let two = [event("", "message", ""), event("", "message", "\n")];
    let decoder = check(b"data\n\ndata\ndata\n\ndata:", &two);
    assert!(!decoder.at_block_boundary());
    check(b"data:test\n\ndata: test\n\n", &vec![event("", "message", "test"); 2]);
}

#[test]
fn sse_lines_end_at_cr_lf_and_crlf() {
    let expected = [event("7", "a", "1\n2"), event("7", "message", "3")];
    for newline in ["\n", "\r", "\r\n"] {
        let stream = "event: a|id: 7|data: 1|data: 2||data: 3||".replace('|', newline);
        assert!(check(stream.as_bytes(), &expected).at_block_boundary());
    }
    check(b"data: x\n\r\n", &[event("", "message", "x")]);
    check(b"data: x\r\r", &[event("", "message", "x")]);
}

#[test]
fn sse_text_is_utf8_with_one_byte_order_mark_taken_off() {
    let one = [event("", "message", "é😀\u{2028}")];
    check("\u{feff}data: é😀\u{2028}\n\n".as_bytes(), &one);
    check("\u{feff}\u{feff}data: x\n\n".as_bytes(), &[]);
    check("data: x\n\n\u{feff}data: y\n\n".as_bytes(), &[event("", "message", "x")]);
    check(b"data: a\xF0\x9F\n\n", &[event("", "message", "a\u{fffd}")]);
}

#[test]
fn sse_ids_and_retries_that_are_ignored() {
    let decoder = check(b"id: 5\n\nid: 6\0\n\nretry: 1x\n\nretry:\n\nretry: +1\n\n", &[]);
    assert_eq!(decoder.last_event_id(), "5");
    assert_eq!(decoder.reconnection_time_ms(), None);
    let first = Event { retry: Some(250), ..event("", "message", "x") };
    let stream = b"retry: 250\ndata: x\n\ndata: y\n\nid: 9\n";
    let decoder = check(stream, &[first, event("", "message", "y")]);
    assert_eq!(decoder.reconnection_time_ms(), Some(250));
    assert_eq!(decoder.last_event_id(), "", "an id counts from its block's blank line on");
    check(b"event: a\n\ndata: not a\nEVENT: b\n\n", &[event("", "message", "not a")]);
}

#[test]
fn chunks_come_apart_wherever_they_are_cut() {
    let coded = b"5\r\nhello\r\n00A\r\n, 0\r\nworld\r\n0\r\n\r\n";
    let mut data = Vec::new();
    let mut chunks = ChunkDecoder::default();
    for byte in coded {
        assert!(!chunks.ended());
        assert_eq!(chunks.feed(&[*byte], &mut data), Ok(0));
    }
    assert!(chunks.ended());
    assert_eq!(data, b"hello, 0\r\nworld");
    let mut again = Vec::new();
    let beyond = [coded.as_slice(), b"HTTP/1.1"].concat();
    assert_eq!(ChunkDecoder::default().feed(&beyond, &mut again), Ok(8));
    assert_eq!(again, data);
}

#[test]
fn chunks_that_are_malformed_are_errors() {
    let malformed: [&[u8]; 7] = [
        b"\r\n",
        b"5\nhello",
        b"5 \r\n",
        b"5;x=y\r\n",
        b"5\r\nhelloX",
        b"0\r\nTrailer: x\r\n",
        b"fffffffffffffffff\r\n",
    ];
    for bytes in malformed {
        let fed = ChunkDecoder::default().feed(bytes, &mut Vec::new());
        assert!(fed.is_err(), "{:?} was taken", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn metrics_are_summed_over_the_labels_not_asked_for() {
    let exposition = "# HELP a b\n# TYPE a counter\n\
        a{x=\"1\",y=\"q\\\"}\"} 2\na{x=\"2\",y=\"z\"} 3.5 1700000000\nab 7\nb +Inf\n";
    assert_eq!(sample(exposition, "a", &[]), Some(5.5));
    assert_eq!(sample(exposition, "a", &[("y", "q\"}")]), Some(2.0));
    assert_eq!(sample(exposition, "a", &[("x", "2"), ("y", "z")]), Some(3.5));
    assert_eq!(sample(exposition, "a", &[("x", "3")]), None);
    assert_eq!(sample(exposition, "ab", &[]), Some(7.0));
    assert_eq!(sample(exposition, "b", &[]), Some(f64::INFINITY));
}
