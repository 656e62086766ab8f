//! Incremental decoder of the chunked transfer coding (RFC 9112, 7.1).
//!
//! Strict on purpose: a gateway that frames its chunks wrongly is a finding, so
//! bare LF, missing CRLF after data and empty sizes are errors, not tolerated.

use std::fmt;

/// Sizes above this are taken for garbage. A gateway's largest write is a few MiB.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Reading hexadecimal digits; `digits` tells an empty size from zero.
    Size {
        value: u64,
        digits: u8,
    },
    Extension {
        value: u64,
    },
    SizeLf {
        value: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a line of the trailer section.
    TrailerStart,
    TrailerLine,
    TrailerLf,
    FinalLf,
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkError {
    BadSize(u8),
    TooLarge,
    /// A CR or LF was required and this byte came instead.
    NoLineEnd(u8),
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSize(byte) => write!(f, "byte 0x{byte:02x} in a chunk size"),
            Self::TooLarge => write!(f, "chunk of more than {CHUNK_BYTES_MAX} bytes"),
            Self::NoLineEnd(byte) => write!(f, "byte 0x{byte:02x} where CRLF was due in a chunk"),
        }
    }
}

#[derive(Debug)]
pub(crate) struct ChunkDecoder {
    state: State,
}

impl ChunkDecoder {
    pub(crate) fn new() -> Self {
        Self { state: State::Size { value: 0, digits: 0 } }
    }

    /// The last chunk and its trailer section were read.
    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the next piece of body data off `input`. `None`: the input is used up,
    /// or the body has ended and what is left of `input` is not part of it.
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a [u8],
    ) -> Result<Option<&'a [u8]>, ChunkError> {
        while let Some((&byte, rest)) = input.split_first() {
            if let State::Data { left } = self.state {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                let (data, rest) = input.split_at(take);
                let left = left - take as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                *input = rest;
                return Ok(Some(data));
            }
            if self.state == State::Done {
                return Ok(None);
            }
            self.state = self.step(byte)?;
            *input = rest;
        }
        Ok(None)
    }

    fn step(&self, byte: u8) -> Result<State, ChunkError> {
        let expect = |wanted: u8, next: State| {
            if byte == wanted { Ok(next) } else { Err(ChunkError::NoLineEnd(byte)) }
        };
        match self.state {
            State::Size { value, digits } => size_byte(value, digits, byte),
            State::Extension { value } => Ok(match byte {
                b'\r' => State::SizeLf { value },
                _ => State::Extension { value },
            }),
            State::SizeLf { value: 0 } => expect(b'\n', State::TrailerStart),
            State::SizeLf { value } => expect(b'\n', State::Data { left: value }),
            State::DataCr => expect(b'\r', State::DataLf),
            State::DataLf => expect(b'\n', State::Size { value: 0, digits: 0 }),
            State::TrailerStart if byte == b'\r' => Ok(State::FinalLf),
            State::TrailerStart => Ok(State::TrailerLine),
            State::TrailerLine if byte == b'\r' => Ok(State::TrailerLf),
            State::TrailerLine => Ok(State::TrailerLine),
            State::TrailerLf => expect(b'\n', State::TrailerStart),
            State::FinalLf => expect(b'\n', State::Done),
            State::Data { .. } | State::Done => Ok(self.state),
        }
    }
}

fn size_byte(value: u64, digits: u8, byte: u8) -> Result<State, ChunkError> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        b'\r' if digits > 0 => return Ok(State::SizeLf { value }),
        b';' | b' ' | b'\t' if digits > 0 => return Ok(State::Extension { value }),
        _ => return Err(ChunkError::BadSize(byte)),
    };
    let value = value << 4 | u64::from(digit);
    if value > CHUNK_BYTES_MAX {
        return Err(ChunkError::TooLarge);
    }
    Ok(State::Size { value, digits: digits.saturating_add(1) })
}

/// What belongs here: framing only; what the data means is tested in `sse`.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, bool), ChunkError> {
        let mut decoder = ChunkDecoder::new();
        let mut body = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(data) = decoder.next(&mut input)? {
                body.extend_from_slice(data);
            }
        }
        Ok((body, decoder.is_done()))
    }

    #[test]
    fn reads_chunks_extensions_and_trailers() {
        let wire = b"5;x=1\r\nhello\r\n1\r\n \r\n0A\r\n0123456789\r\n0\r\nx: y\r\n\r\n";
        assert_eq!(decode(&[wire]).unwrap(), (b"hello 0123456789".to_vec(), true));
    }

    #[test]
    fn refuses_wrong_framing() {
        assert_eq!(decode(&[b"\r\n"]), Err(ChunkError::BadSize(b'\r')));
        assert_eq!(decode(&[b"5\nhello"]), Err(ChunkError::BadSize(b'\n')));
        assert_eq!(decode(&[b"2\r\nabc\r\n"]), Err(ChunkError::NoLineEnd(b'c')));
        assert_eq!(decode(&[b"fffffffff\r\n"]), Err(ChunkError::TooLarge));
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_body(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect();
            at.extend([0, wire.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &wire[w[0]..w[1]]).collect();
            prop_assert_eq!(decode(&pieces).unwrap(), (chunks.concat(), true));
        }
    }
}
