//! A chunked body, RFC 9112, 7.1: chunks, the last chunk, trailers.

use memchr::memchr;

use super::grammar::{self, has_control, to_text};
use super::lines::Lines;
use super::{Fault, Limits};

/// Digits of a chunk's size: any more would not fit into 64 bits.
const SIZE_DIGITS_MAX: usize = 16;

/// Bytes of one chunk's extensions. Nothing uses them.
const EXTENSION_BYTES_MAX: usize = 256;

/// Bytes of all extensions of one body: less than hyper's own 16 KiB.
const EXTENSIONS_BYTES_MAX: usize = 8 * 1024;

/// A chunk's first line with its CR.
const SIZE_LINE_BYTES_MAX: usize = SIZE_DIGITS_MAX + EXTENSION_BYTES_MAX + 1;

/// Bytes of the trailers: less than hyper's own 16 KiB.
const TRAILERS_BYTES_MAX: usize = 8 * 1024;

/// Fields that come too late in a trailer: by then the request was framed, routed and authorised
/// (RFC 9110, 6.5.1).
const NOT_IN_TRAILERS: [&str; 16] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
];

/// How far a chunked body has come.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    part: Part,
    extensions_bytes: usize,
}

#[derive(Debug, Default)]
enum Part {
    /// A chunk's first line.
    #[default]
    Size,
    /// This many more bytes of data.
    Data(u64),
    /// The line end behind the data.
    DataEnd,
    Trailers {
        lines: Lines,
        fields: usize,
    },
    Complete,
}

impl Chunked {
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.part, Part::Complete)
    }

    /// How many of these bytes may pass, 0 when the current line is not complete.
    pub(super) fn read(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Fault> {
        match &mut self.part {
            Part::Size => self.size(bytes),
            Part::Data(left) => {
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.part = Part::DataEnd;
                }
                Ok(count)
            }
            Part::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.part = Part::Size;
                    Ok(2)
                }
                [b'\r'] => Ok(0),
                _ => Err(Fault::ChunkEnd),
            },
            Part::Trailers { lines, fields } => {
                let Some(length) = trailers(lines, fields, bytes, limits)? else { return Ok(0) };
                self.part = Part::Complete;
                Ok(length)
            }
            Part::Complete => Ok(0),
        }
    }

    /// `chunk-size [ chunk-ext ] CRLF`.
    fn size(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let Some(end) = memchr(b'\n', &bytes[..bytes.len().min(SIZE_LINE_BYTES_MAX + 1)]) else {
            let is_too_long = bytes.len() > SIZE_LINE_BYTES_MAX;
            return if is_too_long { Err(Fault::ChunkLineTooLong) } else { Ok(0) };
        };
        let line = bytes[..end].strip_suffix(b"\r").ok_or(Fault::BareLineFeed)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        if !(1..=SIZE_DIGITS_MAX).contains(&digits) {
            return Err(Fault::ChunkSize);
        }
        // "BWS ; BWS name": whitespace alone is no extension.
        let is_extension = grammar::trim(extension).first() == Some(&b';');
        if !extension.is_empty() && (!is_extension || has_control(extension)) {
            return Err(Fault::ChunkSize);
        }
        self.extensions_bytes += extension.len();
        if extension.len() > EXTENSION_BYTES_MAX || self.extensions_bytes > EXTENSIONS_BYTES_MAX {
            return Err(Fault::ChunkLineTooLong);
        }
        let size = str::from_utf8(size).ok().and_then(|size| u64::from_str_radix(size, 16).ok());
        self.part = match size.ok_or(Fault::ChunkSize)? {
            0 => Part::Trailers { lines: Lines::default(), fields: 0 },
            size => Part::Data(size),
        };
        Ok(end + 1)
    }
}

/// The length of the trailers and their empty line, once that has come.
fn trailers(
    lines: &mut Lines,
    fields: &mut usize,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Option<usize>, Fault> {
    let too_large = Fault::TrailersTooLarge(TRAILERS_BYTES_MAX);
    while let Some(line) = lines.next(bytes, TRAILERS_BYTES_MAX, too_large.clone())? {
        if line.is_empty() {
            return Ok(Some(lines.position()));
        }
        *fields += 1;
        if *fields > limits.fields_max {
            return Err(Fault::TooManyFields(limits.fields_max));
        }
        let (name, _) = grammar::field(line)?;
        if NOT_IN_TRAILERS.iter().any(|refused| name.eq_ignore_ascii_case(refused.as_bytes())) {
            return Err(Fault::Trailer(to_text(name)));
        }
    }
    Ok(None)
}
