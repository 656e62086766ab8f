//! The event stream parser on any bytes. The first two bytes of an input say how long the pieces are,
//! and how large an event may be; the rest is the stream.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::sse::{Item, Parser};

fuzz_target!(|input: &[u8]| {
    let [piece_length, event_bytes_max, bytes @ ..] = input else { return };
    let max = usize::from(*event_bytes_max);
    let whole = read([bytes], max);
    assert_eq!(read(bytes.chunks(1), max), whole, "byte by byte");
    assert_eq!(read(bytes.chunks(usize::from(*piece_length).max(1)), max), whole, "in pieces");
});

/// What a stream says, and the id to resume from.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, max: usize) -> (Vec<String>, String) {
    let mut parser = Parser::new(max, "");
    let mut said = Vec::new();
    for mut piece in pieces {
        while let Some(item) = parser.pull(&mut piece) {
            if let Item::Event(message) = item {
                let name = message.event.unwrap_or_default();
                assert!(name.len() + message.data.len() <= max);
                assert!(message.last_event_id.len() <= max);
                assert!(!name.contains(['\r', '\n']) && !message.data.contains('\r'));
            }
            said.push(format!("{item:?}"));
        }
        assert!(piece.is_empty());
    }
    (said, parser.last_event_id().to_owned())
}
