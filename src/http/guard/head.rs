//! A request's head: the request line, the field lines, and what they say about the body.

use super::grammar::{self, is_token, to_text};
use super::lines::Lines;
use super::request_line::RequestLine;
use super::{Fault, Limits};

/// Empty lines before a request: RFC 9112, 2.2 asks for at least one, which some clients send
/// behind a body.
const EMPTY_LINES_MAX: usize = 2;

/// Longest body: what fits into 63 bits, so that no party's sum of lengths wraps around.
const BODY_BYTES_MAX: u64 = i64::MAX as u64;

/// How a request's body ends, RFC 9112, 6.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After this many bytes.
    Sized(u64),
    Chunked,
}

/// What is known of a head that is not complete.
#[derive(Debug, Default)]
pub(super) struct Head {
    lines: Lines,
    empty_lines: usize,
    request: Option<RequestLine>,
    fields: Fields,
}

/// What the field lines so far say that matters here.
#[derive(Debug, Default)]
struct Fields {
    count: usize,
    host: bool,
    content_length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

impl Head {
    pub(super) fn is_head_request(&self) -> bool {
        self.request.as_ref().is_some_and(|request| request.is_head)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.lines.has_begun()
    }

    /// Reads on in `bytes`, which begin where the head does: its length and its body's framing when
    /// it is complete.
    pub(super) fn read(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Option<(usize, Framing)>, Fault> {
        loop {
            let begin = self.lines.position();
            let (head_max, line_max) = (limits.head_bytes_max, limits.request_line_bytes_max);
            let (end_max, beyond) = match self.request {
                // The line's bytes are counted without its CRLF.
                None => ((begin + line_max + 2).min(head_max), Fault::RequestLineTooLong(line_max)),
                Some(_) => (head_max, Fault::HeadTooLarge(head_max)),
            };
            let line = self.lines.next(bytes, end_max, beyond)?;
            match (line, &self.request) {
                (None, _) => return Ok(None),
                (Some([]), None) => {
                    self.empty_lines += 1;
                    if self.empty_lines > EMPTY_LINES_MAX {
                        return Err(Fault::EmptyLines(EMPTY_LINES_MAX));
                    }
                }
                (Some(line), None) => self.request = Some(RequestLine::parse(line, begin)?),
                (Some([]), Some(request)) => {
                    let framing = self.fields.framing(request)?;
                    return Ok(Some((self.lines.position(), framing)));
                }
                (Some(line), Some(request)) => {
                    self.fields.count += 1;
                    if self.fields.count > limits.fields_max {
                        return Err(Fault::TooManyFields(limits.fields_max));
                    }
                    self.fields.read(line, request, bytes)?;
                }
            }
        }
    }
}

impl Fields {
    /// `head` begins where the head of this line does.
    fn read(&mut self, line: &[u8], request: &RequestLine, head: &[u8]) -> Result<(), Fault> {
        let (name, value) = grammar::field(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                if self.host {
                    return Err(Fault::HostRepeated);
                }
                request.check_host(value, head)?;
                self.host = true;
            }
            6 if name.eq_ignore_ascii_case(b"expect") => request.check_expect(value)?,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrade = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                // RFC 9112, 6.3 lets a recipient take a repeated value once; who does not, sees
                // another request.
                if self.content_length.is_some() {
                    return Err(Fault::ContentLengthRepeated);
                }
                self.content_length = Some(content_length(value)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if !request.is_http11 {
                    return Err(Fault::TransferEncodingInHttp10);
                }
                if self.chunked {
                    return Err(Fault::TransferEncoding);
                }
                check_transfer_coding(value)?;
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// What the complete head says of the body.
    fn framing(&self, request: &RequestLine) -> Result<Framing, Fault> {
        if request.is_http11 && !self.host {
            return Err(Fault::HostMissing);
        }
        let framing = match self.content_length {
            Some(_) if self.chunked => return Err(Fault::LengthAndEncoding),
            _ if self.chunked => Framing::Chunked,
            length => Framing::Sized(length.unwrap_or(0)),
        };
        // What comes behind the head would be the body to one party, and the other protocol's first
        // bytes to another.
        if self.upgrade && framing != Framing::Sized(0) {
            return Err(Fault::UpgradeWithBody);
        }
        Ok(framing)
    }
}

/// Digits alone: no sign, no list, nothing that `parse` would be kind to.
fn content_length(value: &[u8]) -> Result<u64, Fault> {
    let append = |length: u64, byte: &u8| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        length.checked_mul(10)?.checked_add(digit).filter(|length| *length <= BODY_BYTES_MAX)
    };
    let length = value.iter().try_fold(0, append).filter(|_| !value.is_empty());
    length.ok_or(Fault::ContentLength)
}

/// `chunked`, once and alone. Other codings in front of it are understood and not supported (501,
/// RFC 9112, 6.1); without it at the end nobody can tell the length (400, RFC 9112, 6.3).
fn check_transfer_coding(value: &[u8]) -> Result<(), Fault> {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    if is_chunked(value) {
        return Ok(());
    }
    let mut codings: Vec<&[u8]> = value.split(|byte| *byte == b',').map(grammar::trim).collect();
    let last = codings.pop().unwrap_or_default();
    let others = codings.iter().all(|coding| is_token(coding) && !is_chunked(coding));
    Err(if is_chunked(last) && others {
        Fault::TransferCoding(codings.into_iter().map(to_text).collect::<Vec<_>>().join(", "))
    } else {
        Fault::TransferEncoding
    })
}
