//! The request guard: reads the framing of an HTTP/1 connection before hyper does, and lets through
//! only what every party must read alike.
//!
//! A request that two parties see end in two places smuggles another one in. hyper is lenient where
//! an edge must not be: it takes a bare LF for a line end, drops `content-length` beside
//! `transfer-encoding`, takes a length that is said twice, skips chunk extensions, and looks at
//! neither `host` nor the value of `expect`. The guard knows no such choice: what RFC 9112 does not
//! allow is refused, with a status and the name of the field.
//!
//! It is a state machine without IO and without a buffer. [`Guard::inspect`] is given what was read
//! and not yet let through, and says how much of it may go. A head, a chunk's first line and the
//! trailers go only when they are complete and fine, so that hyper never sees a byte of what is
//! refused; bodies go as they come, and are not looked at.

mod authority;
mod chunk;
mod fault;
mod grammar;
mod head;
mod lines;
mod request_line;
#[cfg(test)]
mod tests;

use chunk::Chunked;
pub use fault::Fault;
use head::{Framing, Head};

/// How large a request's head may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a head, its empty line included: at least 8 KiB, hyper's smallest buffer. This much
    /// is held for a connection whose head comes in pieces.
    pub head_bytes_max: usize,
    /// Bytes of the request line without its end. More than fit into the head are as many as do: so
    /// by default, since a stream names up to 128 topics of up to 512 bytes in its target.
    pub request_line_bytes_max: usize,
    /// Field lines of a head, and of the trailers.
    pub fields_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes_max: 64 * 1024, request_line_bytes_max: 64 * 1024, fields_max: 100 }
    }
}

/// Why nothing more passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong.
    pub fault: Fault,
    /// Where.
    pub place: Place,
    /// The connection's first request is 1.
    pub request: u64,
}

/// Where in a request a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In its head, of which nothing has passed.
    Head {
        /// Whether it is a `HEAD` request: the answer has no body.
        is_head: bool,
    },
    /// In its body: the head, and the body up to here, have passed.
    Body,
}

/// The guard of one connection.
#[derive(Debug)]
pub struct Guard {
    limits: Limits,
    state: State,
    requests: u64,
    refusal: Option<Box<Refusal>>,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// A body of this many more bytes.
    Sized(u64),
    Chunked(Chunked),
}

impl Guard {
    /// Before a connection's first byte.
    pub fn new(limits: Limits) -> Self {
        let request_line_bytes_max = limits.request_line_bytes_max.min(limits.head_bytes_max);
        let limits = Limits { request_line_bytes_max, ..limits };
        Self { limits, state: State::Head(Head::default()), requests: 0, refusal: None }
    }

    /// How many of these bytes may pass. `bytes` begins with what did not pass the last time, and
    /// goes on with what came since. After a refusal nothing passes.
    pub fn inspect(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() && self.refusal.is_none() {
            match self.step(&bytes[passed..]) {
                Ok(0) => break,
                Ok(count) => passed += count,
                Err(fault) => self.refuse(fault),
            }
        }
        passed
    }

    /// Why nothing more passes, if so.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_deref()
    }

    /// Whether a part of a head has come, and the rest has not.
    pub fn is_in_head(&self) -> bool {
        matches!(&self.state, State::Head(head) if head.has_begun())
    }

    /// How many bytes of the current part may pass, 0 when it has to be more complete first.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        match &mut self.state {
            State::Head(head) => {
                let Some((length, framing)) = head.read(bytes, &self.limits)? else {
                    return Ok(0);
                };
                self.requests += 1;
                self.state = match framing {
                    Framing::Sized(0) => State::Head(Head::default()),
                    Framing::Sized(length) => State::Sized(length),
                    Framing::Chunked => State::Chunked(Chunked::default()),
                };
                Ok(length)
            }
            State::Sized(left) => {
                // What there is of it, or all of it: either way it fits into a usize.
                let count = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                if *left == 0 {
                    self.state = State::Head(Head::default());
                }
                Ok(count)
            }
            State::Chunked(chunked) => {
                let count = chunked.read(bytes, &self.limits)?;
                if chunked.is_complete() {
                    self.state = State::Head(Head::default());
                }
                Ok(count)
            }
        }
    }

    fn refuse(&mut self, fault: Fault) {
        let (place, request) = match &self.state {
            State::Head(head) => {
                (Place::Head { is_head: head.is_head_request() }, self.requests + 1)
            }
            State::Sized(_) | State::Chunked(_) => (Place::Body, self.requests),
        };
        self.refusal = Some(Box::new(Refusal { fault, place, request }));
    }
}
