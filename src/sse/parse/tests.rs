//! The algorithm by example, against a reference that follows the text of the standard sentence by
//! sentence, and the bounds.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Event { event: String, data: String, id: String },
    Retry(u64),
    TooLarge,
}

impl From<Item<'_>> for Said {
    fn from(item: Item<'_>) -> Self {
        match item {
            Item::Event(Message { event, data, last_event_id, .. }) => Self::Event {
                event: event.unwrap_or("message").into(),
                data: data.into(),
                id: last_event_id.into(),
            },
            Item::Retry(ms) => Self::Retry(ms),
            Item::TooLarge => Self::TooLarge,
        }
    }
}

fn event(event: &str, data: &str, id: &str) -> Said {
    Said::Event { event: event.into(), data: data.into(), id: id.into() }
}

fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> (Vec<Said>, String) {
    let mut parser = Parser::new(max, "");
    let mut said = Vec::new();
    for mut piece in pieces {
        while let Some(item) = parser.pull(&mut piece) {
            said.push(item.into());
        }
        assert!(piece.is_empty());
    }
    (said, parser.last_event_id().to_owned())
}

fn whole(bytes: &[u8]) -> Vec<Said> {
    parse([bytes], MAX).0
}

/// The standard's text, sentence by sentence, over a stream that is all there.
fn reference(bytes: &[u8]) -> (Vec<Said>, String) {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.pop(); // It has no end.
    let (mut data, mut event_type, mut id) = (String::new(), String::new(), String::new());
    let (mut said, mut last_event_id) = (Vec::new(), String::new());
    for line in lines {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            _ if line.is_empty() => {
                last_event_id = id.clone();
                if !data.is_empty() {
                    data.pop();
                    let name = if event_type.is_empty() { "message" } else { &event_type };
                    said.push(event(name, &data, &last_event_id));
                }
                data.clear();
                event_type.clear();
            }
            "" => {}
            "event" => event_type = value.into(),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => id = value.into(),
            "retry" if value.chars().all(|digit| digit.is_ascii_digit()) => {
                said.extend(value.parse().ok().map(Said::Retry));
            }
            _ => {}
        }
    }
    (said, last_event_id)
}

#[test]
fn the_examples_of_the_standard() {
    let stocks = b"data: YHOO\ndata: +2\ndata: 10\n\n";
    assert_eq!(whole(stocks), [event("message", "YHOO\n+2\n10", "")]);
    let ids = b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    assert_eq!(
        whole(ids),
        [
            event("message", "first event", "1"),
            event("message", "second event", ""),
            event("message", " third event", ""),
        ]
    );
    let empty = b"data\n\ndata\ndata\n\ndata:";
    assert_eq!(whole(empty), [event("message", "", ""), event("message", "\n", "")]);
    assert_eq!(
        whole(b"data:test\n\ndata: test\n\n"),
        ["test"; 2].map(|data| event("message", data, ""))
    );
}

#[test]
fn lines_end_with_cr_lf_or_both_even_in_two_pieces() {
    let expected = [event("x", "a\nb", "7")];
    for bytes in ["event:x\rid:7\rdata:a\rdata:b\r\r", "event:x\nid:7\r\ndata:a\rdata:b\r\n\n"] {
        assert_eq!(whole(bytes.as_bytes()), expected);
        assert_eq!(parse(bytes.as_bytes().chunks(1), MAX).0, expected);
    }
    // The LF belongs to the CR before it, so there is no blank line here.
    assert_eq!(parse([&b"data:a\r"[..], b"", b"\ndata:b\n\n"], MAX).0.len(), 1);
}

#[test]
fn a_byte_order_mark_counts_once_and_at_the_beginning() {
    let marked = b"\xef\xbb\xbfdata:a\n\n";
    assert_eq!(whole(marked), [event("message", "a", "")]);
    assert_eq!(parse(marked.chunks(1), MAX).0, [event("message", "a", "")]);
    assert_eq!(whole(b"\xef\xbb\xbf\xef\xbb\xbfdata:a\n\n"), []);
    assert_eq!(whole(b"\n\xef\xbb\xbfdata:a\n\n"), []);
    assert_eq!(whole(b"\xef\xbb\xbf: comment\n\xef\xbb\xbf: field\ndata:a\n\n").len(), 1);
}

#[test]
fn what_is_not_utf8_is_replaced_as_a_decoder_does() {
    let bytes = b"data: \xff \xc3\n\ndata: \xf0\x9f\x98\n\ndata: \xf0\x9f\x98\x80\n\n";
    let expected = ["\u{fffd} \u{fffd}", "\u{fffd}", "\u{1f600}"];
    let expected = expected.map(|data| event("message", data, ""));
    assert_eq!(whole(bytes), expected);
    assert_eq!(parse(bytes.chunks(1), MAX).0, expected);
}

#[test]
fn ids_stay_until_there_is_another_and_nul_is_none() {
    let (said, last) = parse([&b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\n"[..]], MAX);
    assert_eq!(said, ["a", "b", "c"].map(|data| event("message", data, "1")));
    assert_eq!(last, "1");
    assert_eq!(parse([&b"id: 3\n\n"[..]], MAX).1, "3", "an id alone moves the cursor");
    assert_eq!(parse([&b"id: 1\n\nid\n\n"[..]], MAX).1, "", "an empty id takes it away");
    let mut parser = Parser::new(MAX, "42");
    let Some(Item::Event(first)) = parser.pull(&mut &b"data: x\n\n"[..]) else { panic!() };
    assert_eq!((first.last_event_id, first.has_id), ("42", false));
    let Some(Item::Event(own)) = parser.pull(&mut &b"id: 42\ndata: x\n\n"[..]) else { panic!() };
    assert_eq!((own.last_event_id, own.has_id), ("42", true));
}

#[test]
fn retry_has_digits_only() {
    let bytes = b"retry: 10\nretry:+1\nretry: 1 \nretry: -1\nretry\nretry: 1.5\nretry: 0\n";
    assert_eq!(whole(bytes), [Said::Retry(10), Said::Retry(0)]);
    let huge = format!("retry: {}\n", "9".repeat(40));
    assert_eq!(whole(huge.as_bytes()), [Said::Retry(u64::MAX)]);
}

#[test]
fn f15_what_ends_in_the_middle_is_discarded_and_so_is_its_id() {
    for rest in ["id: 2\ndata: b", "id: 2\ndata: b\n", "id: 2\r", "i", "event: x\n"] {
        let mut parser = Parser::new(MAX, "");
        let bytes = format!("id: 1\ndata: a\n\n{rest}");
        let mut input = bytes.as_bytes();
        assert!(matches!(parser.pull(&mut input), Some(Item::Event(_))));
        assert!(!parser.is_within_event());
        assert_eq!(parser.pull(&mut input), None);
        assert!(parser.is_within_event(), "{rest:?}");
        assert_eq!(parser.last_event_id(), "1");
    }
}

#[test]
fn what_is_too_large_is_told_and_the_next_event_is_fine() {
    let long = "x".repeat(MAX - 3);
    let bytes = [
        format!("id: 1\nevent: n\ndata: {long}\ndata: 2\n\n"),
        format!("id: 2\ndata: {long}xxx\n\n"),
        format!("id: 3\ndata: {long}xxxx\n\n"),
        format!("data: {long}{long}\nid: 4\n\n"),
        format!(": {long}{long}\ndata: a\n\n"),
        format!("id: {long}xxxx\ndata: a\n\n"),
        format!("data: a\nevent: {long}xxx\n\n"),
    ];
    let bytes = bytes.concat();
    let expected = [
        Said::Event { event: "n".into(), data: format!("{long}\n2"), id: "1".into() },
        event("message", &format!("{long}xxx"), "2"),
        Said::TooLarge,
        Said::TooLarge,
        event("message", "a", "4"),
        Said::TooLarge,
        Said::TooLarge,
    ];
    assert_eq!(whole(bytes.as_bytes()), expected);
    assert_eq!(parse(bytes.as_bytes().chunks(7), MAX).0, expected);
}

#[test]
fn no_stream_takes_more_memory_than_it_may() {
    for endless in [&b"data: x\n"[..], b"data: xxxxxxx", b":xxxxxx", b"event: xxxx", b"id: xx\n"] {
        let mut parser = Parser::new(MAX, "");
        for _ in 0..10_000 {
            while parser.pull(&mut &endless[..]).is_some() {}
        }
        let Parser { line, event: Buffers { name, data, .. }, id, .. } = &parser;
        let held = [line.capacity(), name.capacity(), data.capacity(), id.capacity()];
        assert!(held.into_iter().sum::<usize>() <= 4 * MAX, "{held:?}");
    }
}

/// Bytes of which streams are made, so that all of the grammar comes up.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"data",
        b"event",
        b"id",
        b"retry",
        b"other",
        b":",
        b":",
        b": ",
        b"\n",
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b" ",
        b"12",
        b"text",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xf0\x9f\x98\x80",
        b"\xf0\x9f",
        b"\xc3",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
    ];
    vec(prop::sample::select(words), 0..60).prop_map(|words| words.concat())
}

proptest! {
    #[test]
    fn any_stream_is_read_as_the_standard_says(bytes in stream()) {
        prop_assert_eq!(parse([&bytes[..]], MAX), reference(&bytes));
    }

    #[test]
    fn the_pieces_make_no_difference(
        bytes in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..20),
        max in 0..40_usize,
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]);
        prop_assert_eq!(parse(pieces, max), parse([&bytes[..]], max));
    }
}
