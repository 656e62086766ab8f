//! Hosts: the field, and what an absolute request-target names.

use std::net::Ipv6Addr;

use super::grammar::{REG_NAME, all_in};

/// `host [":" port]`, RFC 9110, 4.2. Without user information, which a request has no place for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Authority<'a> {
    host: &'a [u8],
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        // The colons of an address are inside its brackets.
        let host_end = match text {
            [b'[', ..] => text.iter().position(|byte| *byte == b']')? + 1,
            _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
        };
        let (host, rest) = text.split_at(host_end);
        let is_host = match host {
            [b'[', address @ .., b']'] => is_ipv6(address),
            name => !name.is_empty() && all_in(name, &REG_NAME),
        };
        let port = match rest {
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(port(digits)?),
            _ => return None,
        };
        is_host.then_some(Self { host, port })
    }

    /// Whether both name one place, where a port that is left out is `default_port`.
    pub(super) fn agrees(self, other: Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

fn is_ipv6(address: &[u8]) -> bool {
    str::from_utf8(address).is_ok_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

fn port(digits: &[u8]) -> Option<u16> {
    // `parse` would take a sign.
    digits.iter().all(u8::is_ascii_digit).then_some(())?;
    str::from_utf8(digits).ok()?.parse().ok()
}
