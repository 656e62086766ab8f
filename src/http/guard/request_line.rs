//! The request line, RFC 9112, 3, and what depends on it in the fields behind it.

use std::ops::Range;

use super::Fault;
use super::authority::Authority;
use super::grammar::{TARGET, all_in, is_token};

#[derive(Debug)]
pub(super) struct RequestLine {
    pub(super) is_http11: bool,
    pub(super) is_head: bool,
    /// Of an absolute request-target.
    authority: Option<TargetAuthority>,
}

#[derive(Debug)]
struct TargetAuthority {
    /// In the bytes of the head.
    place: Range<usize>,
    default_port: u16,
}

impl RequestLine {
    /// `begin` is where the line begins in the head.
    pub(super) fn parse(line: &[u8], begin: usize) -> Result<Self, Fault> {
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(Fault::RequestLine);
        };
        if !is_token(method) || target.is_empty() {
            return Err(Fault::RequestLine);
        }
        let is_http11 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
                return Err(Fault::Version);
            }
            _ => return Err(Fault::RequestLine),
        };
        if method == b"CONNECT" {
            return Err(Fault::Connect);
        }
        if !all_in(target, &TARGET) {
            return Err(Fault::Target);
        }
        let authority = match target {
            [b'/', ..] => None,
            b"*" if method == b"OPTIONS" => None,
            _ => {
                let begin = begin + method.len() + 1;
                Some(TargetAuthority::parse(target, begin).ok_or(Fault::Target)?)
            }
        };
        Ok(Self { is_http11, is_head: method == b"HEAD", authority })
    }

    /// `bytes` begin where the head does.
    pub(super) fn check_host(&self, value: &[u8], bytes: &[u8]) -> Result<(), Fault> {
        let host = Authority::parse(value).ok_or(Fault::HostInvalid)?;
        let Some(TargetAuthority { place, default_port }) = &self.authority else { return Ok(()) };
        let named = Authority::parse(&bytes[place.clone()]).expect("it was one in its line");
        if host.agrees(named, *default_port) { Ok(()) } else { Err(Fault::HostDiffers) }
    }

    /// "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore that
    /// expectation" (RFC 9110, 10.1.1).
    pub(super) fn check_expect(&self, value: &[u8]) -> Result<(), Fault> {
        let is_fine = !self.is_http11 || value.eq_ignore_ascii_case(b"100-continue");
        if is_fine { Ok(()) } else { Err(Fault::Expectation) }
    }
}

impl TargetAuthority {
    /// Of a target in absolute-form, which begins at `begin` in the head.
    fn parse(target: &[u8], begin: usize) -> Option<Self> {
        let (scheme, default_port) =
            [("http://", 80), ("https://", 443)].into_iter().find(|(scheme, _)| {
                target
                    .get(..scheme.len())
                    .is_some_and(|s| s.eq_ignore_ascii_case(scheme.as_bytes()))
            })?;
        let behind = &target[scheme.len()..];
        let length = behind.iter().position(|byte| matches!(byte, b'/' | b'?'));
        let length = length.unwrap_or(behind.len());
        Authority::parse(&behind[..length])?;
        let begin = begin + scheme.len();
        Some(Self { place: begin..begin + length, default_port })
    }
}
