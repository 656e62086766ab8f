//! The encoder against the reference decoder: whatever an event says, a client that follows the
//! specification reads the same, however the bytes are framed and cut.

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use support::chunks::ChunkDecoder;
use support::{Decoder, Event};
use tidegate::sse::{Draft, Epoch, EventId, Fields, Frame, comment, encoded_len};

/// What happens on a stream.
#[derive(Clone, Debug)]
enum Said {
    /// An event; without an id it is a control event.
    Event { id: Option<EventId>, name: Option<String>, retry_ms: Option<u64>, data: String },
    /// A comment that carries an id.
    Comment { id: EventId },
}

impl Said {
    fn encode(&self) -> Frame {
        match self {
            Self::Comment { id } => comment(*id),
            Self::Event { id, name, retry_ms, data } => {
                let fields = Fields { event: name.as_deref(), retry_ms: *retry_ms, data };
                let draft = Draft::new(&fields);
                let frame = match id {
                    Some(id) => draft.seal(*id),
                    None => draft.seal_without_id(),
                };
                assert!(frame.bare().len() <= encoded_len(&fields), "an event was underestimated");
                frame
            }
        }
    }
}

/// What a client hears of all this: the events, and the id it would reconnect with.
fn heard(said: &[Said]) -> (Vec<Event>, String) {
    let mut last_event_id = String::new();
    let mut events = Vec::new();
    for said in said {
        match said {
            Said::Comment { id } => last_event_id = id.to_string(),
            Said::Event { id, name, retry_ms, data } => {
                if let Some(id) = id {
                    last_event_id = id.to_string();
                }
                events.push(Event {
                    id: last_event_id.clone(),
                    event: name.clone().unwrap_or_else(|| "message".into()),
                    data: with_line_feeds(data),
                    retry: *retry_ms,
                });
            }
        }
    }
    (events, last_event_id)
}

/// CR, LF and CRLF each end a line (WHATWG HTML 9.2.5), and a client joins the lines with LF.
fn with_line_feeds(data: &str) -> String {
    data.replace("\r\n", "\n").replace('\r', "\n")
}

fn any_id() -> impl Strategy<Value = EventId> {
    (any::<u64>(), prop_oneof![0..10u64, any::<u64>()])
        .prop_map(|(epoch, seq)| EventId { epoch: Epoch::new(epoch), seq })
}

/// Any name the gateway takes: 1 to 256 bytes without control characters. Empty means none.
fn any_name() -> impl Strategy<Value = Option<String>> {
    const TRICKY: [&str; 9] =
        [" ", "  spaced ", ":", ": x", "data", "id: 1", "\u{feff}bom", "\u{2028}", "名前"];
    let name = prop_oneof![
        "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}",
        "\\PC{1,40}",
        select(TRICKY.as_slice()).prop_map(str::to_owned),
        Just("n".repeat(256)),
    ];
    prop::option::of(name)
}

/// Any text, dense in what an encoder trips over.
fn any_data() -> impl Strategy<Value = String> {
    // Line ends, what fields and chunks look like, and characters that are none of these.
    let tricky = "\r|\n|\r\n|\n\r|\r\r\n|\n\n| |  |:|data:|data: |id: 9|event: x|retry: 1|\u{feff}|\0|\
                  \u{85}|\u{2028}|é|😀|0\r\n\r\n|5\r\nhello\r\n|{}|";
    let tricky: Vec<&str> = tricky.split('|').collect();
    let piece = prop_oneof![
        3 => select(tricky).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => vec(any::<char>(), 0..4).prop_map(String::from_iter),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn anything_said() -> impl Strategy<Value = Said> {
    let event =
        (prop::option::weighted(0.9, any_id()), any_name(), any::<Option<u64>>(), any_data())
            .prop_map(|(id, name, retry_ms, data)| Said::Event { id, name, retry_ms, data });
    prop_oneof![
        6 => event,
        1 => any_id().prop_map(|id| Said::Comment { id }),
    ]
}

/// `bytes` in order, cut at these places.
fn cut<'a>(bytes: &'a [u8], at: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = at.iter().map(|index| index.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

fn dechunk(parts: &[&[u8]]) -> Result<Vec<u8>, String> {
    let mut chunks = ChunkDecoder::default();
    let mut data = Vec::new();
    for part in parts {
        chunks.feed(part, &mut data)?;
    }
    Ok(data)
}

fn decode(parts: &[&[u8]]) -> (Vec<Event>, String, bool) {
    let mut decoder = Decoder::new();
    let events = parts.iter().flat_map(|part| decoder.feed(part)).collect();
    (events, decoder.last_event_id().to_owned(), decoder.at_block_boundary())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn f02_what_is_encoded_is_what_a_client_decodes(
        said in vec(anything_said(), 0..6),
        cuts in vec(any::<Index>(), 0..20),
    ) {
        let frames: Vec<Frame> = said.iter().map(Said::encode).collect();
        let bare: Vec<u8> = frames.iter().flat_map(Frame::bare).collect();
        let chunked: Vec<u8> = frames.iter().flat_map(|frame| frame.chunk().to_vec()).collect();
        let (events, last_event_id) = heard(&said);
        let expected = (events, last_event_id, true);

        prop_assert_eq!(decode(&[&bare]), expected.clone(), "fed whole");
        prop_assert_eq!(decode(&cut(&bare, &cuts)), expected.clone(), "fed in pieces");
        let bytewise: Vec<&[u8]> = bare.chunks(1).collect();
        prop_assert_eq!(decode(&bytewise), expected, "fed byte by byte");
        prop_assert_eq!(dechunk(&[&chunked]), Ok(bare.clone()), "the chunks hold the frames");
        prop_assert_eq!(dechunk(&cut(&chunked, &cuts)), Ok(bare), "cut chunks hold the frames");
    }

    #[test]
    fn a_frame_is_one_chunk_of_its_own(said in anything_said()) {
        let frame = said.encode();
        let bare = frame.bare();
        prop_assert_eq!(frame.bare_bytes(), &bare);
        prop_assert_eq!(frame.size(), frame.chunk().len());
        let head = format!("{:x}\r\n", bare.len());
        prop_assert_eq!(frame.chunk(), &[head.as_bytes(), &bare, b"\r\n"].concat());
    }

    #[test]
    fn f01_a_name_cannot_smuggle_a_field(name in "\\PC{1,40}", data in any_data()) {
        let frame = Draft::new(&Fields { event: Some(&name), retry_ms: None, data: &data })
            .seal_without_id();
        let (events, last_event_id, _) = decode(&[&frame.bare()]);
        prop_assert_eq!(events.len(), 1);
        prop_assert_eq!(&events[0].event, &name);
        prop_assert_eq!(last_event_id, "");
    }
}

/// Each kind of line end at each place: nothing is left to chance.
#[test]
fn f02_every_mix_of_line_ends_arrives_line_by_line() {
    const LETTERS: [&str; 4] = ["\r", "\n", "x", " "];
    for length in 0..=6 {
        for number in 0..4usize.pow(length) {
            let letter = |place| LETTERS[number / 4usize.pow(place) % 4];
            let data: String = (0..length).map(letter).collect();
            let id = EventId { epoch: Epoch::new(1), seq: 1 };
            let said = [Said::Event { id: Some(id), name: None, retry_ms: None, data }];
            let (events, last_event_id) = heard(&said);
            let bytes = said[0].encode().bare();
            assert_eq!(decode(&[&bytes]), (events, last_event_id, true), "{said:?}");
        }
    }
}
