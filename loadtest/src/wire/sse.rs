//! Incremental SSE parser (WHATWG HTML 9.2.6): bytes in, frames out.
//!
//! Whole frames are parsed where they lie in the read buffer; only the tail of a
//! frame that is cut by the end of a read is copied, into `carry`, which keeps its
//! capacity. A "frame" is everything up to a blank line, also when the standard
//! would dispatch no event for it (a comment, a lone `id:`): heartbeats are those.

use memchr::{memchr, memchr2};

/// A frame larger than this is a violation: nothing here publishes such events.
const FRAME_BYTES_MAX: usize = 4 << 20;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) id: Option<&'a [u8]>,
    pub(crate) event: Option<&'a [u8]>,
    /// All `data:` lines, joined by LF.
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) retry: Option<&'a [u8]>,
    pub(crate) comment: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameTooLarge;

#[derive(Debug, Default)]
pub(crate) struct SseParser {
    /// The bytes of a frame whose end has not arrived.
    carry: Vec<u8>,
    /// Scratch for frames with several `data:` lines.
    joined: Vec<u8>,
    /// The last byte seen was a CR that ended a frame: an LF that follows is its second half.
    skip_lf: bool,
}

impl SseParser {
    /// A frame was begun and not ended.
    pub(crate) fn is_mid_frame(&self) -> bool {
        !self.carry.is_empty()
    }

    pub(crate) fn feed(
        &mut self,
        mut input: &[u8],
        mut on_frame: impl FnMut(&Frame<'_>),
    ) -> Result<(), FrameTooLarge> {
        if self.skip_lf && !input.is_empty() {
            self.skip_lf = false;
            input = input.strip_prefix(b"\n").unwrap_or(input);
        }
        if self.carry.is_empty() {
            let used = self.scan(input, &mut on_frame);
            self.carry.extend_from_slice(&input[used..]);
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(input);
            let used = self.scan(&carry, &mut on_frame);
            carry.drain(..used);
            self.carry = carry;
        }
        if self.carry.len() > FRAME_BYTES_MAX { Err(FrameTooLarge) } else { Ok(()) }
    }

    /// Emits every whole frame in `bytes`; returns where the first incomplete one begins.
    fn scan(&mut self, bytes: &[u8], on_frame: &mut impl FnMut(&Frame<'_>)) -> usize {
        let (mut start, mut at) = (0, 0);
        let mut frame = Frame::default();
        let mut several = false;
        while let Some(found) = memchr2(b'\n', b'\r', &bytes[at..]) {
            let end = at + found;
            let line = &bytes[at..end];
            at = end + 1;
            if bytes[end] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None if line.is_empty() => self.skip_lf = true,
                    // It may be half of a CRLF; nothing can be dispatched before the
                    // next byte anyway.
                    None => return start,
                }
            }
            if line.is_empty() {
                if several {
                    on_frame(&Frame { data: Some(&self.joined), ..frame });
                } else {
                    on_frame(&frame);
                }
                (start, frame, several) = (at, Frame::default(), false);
                continue;
            }
            let (name, value) = split_field(line);
            match name {
                b"data" => match frame.data {
                    None => frame.data = Some(value),
                    Some(first) => {
                        if !several {
                            self.joined.clear();
                            self.joined.extend_from_slice(first);
                            several = true;
                        }
                        self.joined.push(b'\n');
                        self.joined.extend_from_slice(value);
                    }
                },
                b"id" => frame.id = Some(value),
                b"event" => frame.event = Some(value),
                b"retry" => frame.retry = Some(value),
                b"" => frame.comment = true,
                _ => {}
            }
        }
        start
    }
}

fn split_field(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr(b':', line) {
        None => (line, b""),
        Some(colon) => {
            let value = &line[colon + 1..];
            // "If value starts with a U+0020 SPACE character, remove it from value."
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
    }
}

/// What belongs here: the grammar, and that no cut of the input changes the result.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::chunk::ChunkDecoder;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Clone)]
    struct Owned(Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, bool);

    fn own(frame: &Frame<'_>) -> Owned {
        let vec = |field: Option<&[u8]>| field.map(<[u8]>::to_vec);
        Owned(vec(frame.id), vec(frame.event), vec(frame.data), vec(frame.retry), frame.comment)
    }

    fn parse(pieces: &[&[u8]]) -> Vec<Owned> {
        let mut parser = SseParser::default();
        let mut frames = Vec::new();
        for piece in pieces {
            parser.feed(piece, |frame| frames.push(own(frame))).unwrap();
        }
        assert!(!parser.is_mid_frame(), "the input ends with a whole frame");
        frames
    }

    fn text(value: &str) -> Option<Vec<u8>> {
        Some(value.as_bytes().to_vec())
    }

    #[test]
    fn reads_fields_comments_and_every_line_end() {
        let lf = parse(&[b"id: e-1\nevent: x\ndata: a\ndata:b\nretry: 5\n\n: hb\nid: e-2\n\n"]);
        let wanted = vec![
            Owned(text("e-1"), text("x"), text("a\nb"), text("5"), false),
            Owned(text("e-2"), None, None, None, true),
        ];
        assert_eq!(lf, wanted);
        let crlf =
            b"id: e-1\r\nevent: x\r\ndata: a\r\ndata:b\r\nretry: 5\r\n\r\n: hb\r\nid: e-2\r\n\r\n";
        assert_eq!(parse(&[crlf]), wanted);
        let cr = b"id: e-1\revent: x\rdata: a\rdata:b\rretry: 5\r\r: hb\rid: e-2\r\r";
        assert_eq!(parse(&[cr]), wanted);
    }

    #[test]
    fn refuses_a_frame_without_end() {
        let mut parser = SseParser::default();
        let half = vec![b'x'; FRAME_BYTES_MAX / 2];
        assert!(parser.feed(&half, |_| ()).is_ok());
        assert!(parser.feed(&half, |_| ()).is_ok());
        assert_eq!(parser.feed(b"x", |_| ()), Err(FrameTooLarge));
    }

    fn line() -> impl Strategy<Value = String> {
        prop_oneof![
            "id: [a-f0-9]{1,8}-[0-9]{1,6}",
            "event: ?[a-z]{0,6}",
            "data: ?[ -~]{0,30}",
            ": ?[a-z]{0,4}",
            "retry: [0-9]{1,4}",
            "[a-z]{1,5}",
        ]
    }

    proptest! {
        /// Frames, each in a chunk or cut over several, read in pieces of any size.
        #[test]
        fn any_split_gives_the_same_frames(
            lines in prop::collection::vec((line(), 0..3_usize, any::<bool>()), 1..20),
            chunk_lens in prop::collection::vec(1..50_usize, 1..10),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let mut stream = Vec::new();
            for (line, end, blank) in &lines {
                let end = ["\n", "\r\n", "\r"][*end];
                stream.extend_from_slice(line.as_bytes());
                stream.extend_from_slice(end.as_bytes());
                if *blank {
                    stream.extend_from_slice(end.as_bytes());
                }
            }
            stream.extend_from_slice(b"\n\n");
            let whole = parse(&[&stream]);

            let mut wire = Vec::new();
            let (mut rest, mut lens) = (&stream[..], chunk_lens.iter().cycle());
            while !rest.is_empty() {
                let (chunk, tail) = rest.split_at(lens.next().unwrap().min(&rest.len()).to_owned());
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
                rest = tail;
            }
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            at.extend([0, wire.len()]);
            at.sort_unstable();
            let (mut decoder, mut parser) = (ChunkDecoder::new(), SseParser::default());
            let mut frames = Vec::new();
            for cut in at.windows(2) {
                let mut input = &wire[cut[0]..cut[1]];
                while let Some(data) = decoder.next(&mut input).unwrap() {
                    parser.feed(data, |frame| frames.push(own(frame))).unwrap();
                }
            }
            prop_assert_eq!(frames, whole);
        }
    }
}
