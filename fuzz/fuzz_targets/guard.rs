//! The request guard on any bytes. The first byte of an input says how long the pieces are; the
//! rest is what the connection carries.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::http::guard::{Guard, Limits, Refusal};

fuzz_target!(|input: &[u8]| {
    let Some((&piece_length, bytes)) = input.split_first() else { return };
    let whole = judge([bytes]);
    assert_eq!(judge(bytes.chunks(1)), whole, "byte by byte");
    assert_eq!(judge(bytes.chunks(usize::from(piece_length).max(1))), whole, "in pieces");
    if let Some(length) = first_head(bytes) {
        let mut fields = [httparse::EMPTY_HEADER; 100];
        let parsed = httparse::Request::new(&mut fields).parse(bytes);
        assert_eq!(parsed, Ok(httparse::Status::Complete(length)));
    }
});

/// How many bytes pass, and why no more do.
fn judge<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (usize, Option<Refusal>) {
    let mut guard = Guard::new(Limits::default());
    let (mut held, mut passed) = (Vec::new(), 0);
    for piece in pieces {
        held.extend_from_slice(piece);
        let count = guard.inspect(&held);
        held.drain(..count);
        passed += count;
    }
    (passed, guard.refusal().cloned())
}

/// The length of the first head, if it passes: it does so in one go.
fn first_head(bytes: &[u8]) -> Option<usize> {
    let mut guard = Guard::new(Limits::default());
    (1..=bytes.len()).map(|length| guard.inspect(&bytes[..length])).find(|passed| *passed > 0)
}
