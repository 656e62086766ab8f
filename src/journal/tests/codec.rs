//! The codec: what goes in comes out, and nothing else does.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::super::record::{FRONT, decode, encode};
use super::super::{KEY_BYTES_MAX, RECORD_BYTES_MAX, Record, Retain, To, TopicNames, encoded_len};
use crate::topic::Topic;

#[derive(Clone, Debug)]
struct Owned {
    accepted_ms: u64,
    expires_ms: Option<u64>,
    topics: Option<Vec<Topic>>,
    retain: u8,
    event_name: Option<String>,
    key: Option<Vec<u8>>,
    frame: Vec<u8>,
}

impl Owned {
    fn record(&self) -> Record<'_> {
        let event_name = self.event_name.as_deref();
        Record {
            seq: 7,
            accepted_ms: self.accepted_ms,
            expires_ms: self.expires_ms,
            to: match &self.topics {
                None => To::Everyone,
                Some(topics) => To::Topics(TopicNames::new(topics)),
            },
            retain: match self.retain {
                0 => Retain::No,
                1 => Retain::Keep { event_name },
                _ => Retain::Delete { event_name },
            },
            key: self.key.as_deref(),
            frame: &self.frame,
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    let topic = "[a-zä€.]{1,20}".prop_filter_map("a topic", |text| Topic::parse(&text).ok());
    (
        any::<u64>(),
        option::of(any::<u64>()),
        option::of(vec(topic, 0..5)),
        0_u8..3,
        option::of("[a-zé]{0,9}"),
        option::of(vec(any::<u8>(), 0..KEY_BYTES_MAX + 1)),
        vec(any::<u8>(), 0..300),
    )
        .prop_map(|(accepted_ms, expires_ms, topics, retain, event_name, key, frame)| Owned {
            accepted_ms,
            expires_ms,
            topics,
            retain,
            event_name,
            key,
            frame,
        })
}

proptest! {
    #[test]
    fn a_record_reads_back_as_itself(events in vec(owned(), 1..4)) {
        let mut bytes = Vec::new();
        for event in &events {
            let record = event.record();
            let length = encoded_len(&record).unwrap();
            let before = bytes.len();
            encode(&record, length, &mut bytes);
            prop_assert_eq!(bytes.len() - before, length);
        }
        let mut rest = &bytes[..];
        for event in &events {
            let (read, after) = decode(rest, 7).unwrap();
            prop_assert_eq!(read, event.record());
            rest = after;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn half_a_record_is_none(event in owned(), cut in any::<prop::sample::Index>()) {
        let record = event.record();
        let mut bytes = Vec::new();
        encode(&record, encoded_len(&record).unwrap(), &mut bytes);
        bytes.truncate(cut.index(bytes.len()));
        prop_assert_eq!(decode(&bytes, 7), None);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        if let Some((record, _)) = decode(&bytes, 1) {
            prop_assert!(encoded_len(&record).is_some());
        }
    }
}

#[test]
fn what_is_too_long_has_no_length() {
    let frame = vec![0; RECORD_BYTES_MAX];
    let long_key = [0; KEY_BYTES_MAX + 1];
    let small = Record {
        seq: 1,
        accepted_ms: 0,
        expires_ms: None,
        to: To::Everyone,
        retain: Retain::No,
        key: None,
        frame: &frame[..RECORD_BYTES_MAX - FRONT],
    };
    assert_eq!(encoded_len(&small), Some(RECORD_BYTES_MAX));
    assert_eq!(encoded_len(&Record { frame: &frame, ..small }), None);
    assert_eq!(encoded_len(&Record { key: Some(&long_key), frame: b"", ..small }), None);
    let name = "x".repeat(70_000);
    let retain = Retain::Keep { event_name: Some(&name) };
    assert_eq!(encoded_len(&Record { retain, frame: b"", ..small }), None);
}
