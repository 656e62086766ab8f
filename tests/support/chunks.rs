//! The chunked transfer coding, decoded strictly: what the gateway must never send is an error.

/// RFC 9112 7.1, strictly as the gateway writes it: no extensions, no trailers.
#[derive(Debug, Default)]
pub struct ChunkDecoder {
    state: ChunkState,
}

/// Where in the coding the next byte belongs.
#[derive(Debug, Default, PartialEq, Eq)]
enum ChunkState {
    #[default]
    SizeStart,
    Size(usize),
    SizeLf(usize),
    Data(usize),
    DataCr,
    DataLf,
    EndCr,
    EndLf,
    Ended,
}

impl ChunkDecoder {
    /// Whether the last chunk has been read.
    pub fn ended(&self) -> bool {
        self.state == ChunkState::Ended
    }

    /// Appends the data of `bytes` to `data`; gives how many bytes lie beyond the last chunk.
    ///
    /// # Errors
    /// The first byte that RFC 9112 does not allow there.
    pub fn feed(&mut self, bytes: &[u8], data: &mut Vec<u8>) -> Result<usize, String> {
        use ChunkState::{Data, DataCr, DataLf, EndCr, EndLf, Ended, Size, SizeLf, SizeStart};
        let mut at = 0;
        while at < bytes.len() && self.state != Ended {
            let byte = bytes[at];
            let digit = char::from(byte).to_digit(16).map(|digit| digit as usize);
            self.state = match (&self.state, byte, digit) {
                (SizeStart, _, Some(digit)) => Size(digit),
                (Size(size), _, Some(digit)) if *size < 1 << 40 => Size(size * 16 + digit),
                (Size(size), b'\r', _) => SizeLf(*size),
                (SizeLf(0), b'\n', _) => EndCr,
                (SizeLf(size), b'\n', _) => Data(*size),
                (Data(left), ..) => {
                    let taken = (*left).min(bytes.len() - at);
                    data.extend_from_slice(&bytes[at..at + taken]);
                    at += taken;
                    self.state = if taken == *left { DataCr } else { Data(left - taken) };
                    continue;
                }
                (DataCr, b'\r', _) => DataLf,
                (DataLf, b'\n', _) => SizeStart,
                (EndCr, b'\r', _) => EndLf,
                (EndLf, b'\n', _) => Ended,
                (state, ..) => {
                    let rest = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + 40)]);
                    return Err(format!("malformed chunk: {rest:?} in state {state:?}"));
                }
            };
            at += 1;
        }
        Ok(bytes.len() - at)
    }
}
