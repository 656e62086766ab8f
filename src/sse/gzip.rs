//! Event streams in gzip. An event is compressed once for all streams that want it so: each becomes
//! deflate blocks that refer to nothing before them and end on a byte, so the same bytes stand in every
//! stream. And how well one compresses tells nothing of any other.
//!
//! A stream is one gzip member that never ends. Its checksum would be of all bytes of one stream, and is
//! what browsers, curl, Node and Python do not miss when the connection ends in order.

use std::cell::RefCell;
use std::sync::OnceLock;

use flate2::{Compress, Compression, FlushCompress, Status};

use super::Frame;

/// What a gzip stream begins with (RFC 1952): deflate, no name, no time, of an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// Below this many bytes, little more than what a stored block adds can be saved.
const COMPRESSED_FROM: usize = 192;

/// Most that one stored block holds (RFC 1951, 3.2.4).
const STORED_MAX: usize = 0xffff;

/// What a stored block puts in front of its bytes, and what the empty one behind deflated blocks is.
const STORED_HEADER: usize = 5;

thread_local! {
    /// Some 300 KiB, made once.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
}

/// A frame's form in gzip streams, made when the first of them wants it. Counts for nothing where events
/// wait or are kept: it is smaller than the frame, or larger by a few bytes.
#[derive(Debug, Default)]
pub struct Gzip(OnceLock<Box<Frame>>);

/// It follows from its frame.
impl PartialEq for Gzip {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Gzip {}

impl Gzip {
    /// That of `frame`, which has to be the same one each time.
    pub fn of(&self, frame: &Frame) -> &Frame {
        self.0.get_or_init(|| Box::new(compressed(frame)))
    }
}

/// What a gzip stream begins with.
pub fn gzip_header() -> Frame {
    Frame::of([&HEADER[..]].into_iter())
}

/// The form in gzip streams of a frame that goes to one stream: not worth compressing.
pub fn stored(frame: &Frame) -> Frame {
    let mut blocks = Vec::new();
    store(frame.bare_bytes(), &mut blocks);
    Frame::of([&blocks[..]].into_iter())
}

fn compressed(frame: &Frame) -> Frame {
    let bytes = frame.bare_bytes();
    if bytes.len() < COMPRESSED_FROM {
        return stored(frame);
    }
    // What does not fit is not worth it.
    let mut blocks = Vec::with_capacity(bytes.len() + STORED_HEADER);
    match DEFLATE.with_borrow_mut(|deflate| deflated(deflate, bytes, &mut blocks)) {
        true => Frame::of([&blocks[..]].into_iter()),
        false => stored(frame),
    }
}

/// Whether it fits what `blocks` has room for.
fn deflated(deflate: &mut Compress, bytes: &[u8], blocks: &mut Vec<u8>) -> bool {
    deflate.reset();
    // A flush that is not whole has filled the room.
    let status = deflate.compress_vec(bytes, blocks, FlushCompress::Sync);
    matches!(status, Ok(Status::Ok))
        && deflate.total_in() == bytes.len() as u64
        && blocks.len() < blocks.capacity()
}

fn store(bytes: &[u8], blocks: &mut Vec<u8>) {
    blocks.reserve_exact(bytes.len() + bytes.len().div_ceil(STORED_MAX) * STORED_HEADER);
    for piece in bytes.chunks(STORED_MAX) {
        let length = piece.len() as u16;
        blocks.push(0);
        blocks.extend_from_slice(&length.to_le_bytes());
        blocks.extend_from_slice(&(!length).to_le_bytes());
        blocks.extend_from_slice(piece);
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! What a stream of such frames decompresses to, whatever was written before each.

    use std::io::Write as _;

    use flate2::write::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    fn frame(bytes: &[u8]) -> Frame {
        Frame::of([bytes].into_iter())
    }

    /// What a client reads, after each frame.
    fn read<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<Vec<u8>> {
        let mut client = GzDecoder::new(Vec::new());
        client.write_all(gzip_header().bare_bytes()).unwrap();
        let mut read = Vec::new();
        for frame in frames {
            client.write_all(frame.bare_bytes()).unwrap();
            client.flush().unwrap();
            read.push(std::mem::take(client.get_mut()));
        }
        read
    }

    fn text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 1..400),
            ("[a-c ]{1,40}", 1..200usize).prop_map(|(text, times)| text.repeat(times).into_bytes()),
        ]
    }

    proptest! {
        #[test]
        fn each_frame_is_whole_behind_any_others(texts in prop::collection::vec(text(), 1..20)) {
            let frames: Vec<_> = texts.iter().map(|text| frame(text)).collect();
            let shared: Vec<_> = frames.iter().map(|_| Gzip::default()).collect();
            let both = || shared.iter().zip(&frames).map(|(gzip, frame)| gzip.of(frame));
            prop_assert_eq!(read(both()), &texts[..]);
            let backwards: Vec<_> = texts.iter().rev().cloned().collect();
            prop_assert_eq!(read(both().rev()), backwards);
            let own: Vec<_> = frames.iter().map(stored).collect();
            prop_assert_eq!(read(&own), texts);
        }
    }

    #[test]
    fn a_large_event_gets_small_and_noise_no_larger_than_its_blocks() {
        let size = |bytes: &[u8]| Gzip::default().of(&frame(bytes)).bare_bytes().len();
        assert!(size(&br#"{"task":"t-1","status":"running"}"#.repeat(300)) < 300);
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(200_000).collect();
        assert_eq!(size(&noise), 200_000 + 4 * STORED_HEADER);
        assert_eq!(size(b"data: 1\n\n"), 9 + STORED_HEADER);
    }
}
