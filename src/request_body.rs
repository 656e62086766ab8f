//! A request's body on its way in: counted against a bound, and held to a pace. What a route leaves
//! of it is seen to by the connection (`http/leftover.rs`); the proxy takes it away and sends it on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::pace::Pace;

/// A body's pace is its average over this much time in which it is waited for. Time in which nobody
/// asks for it, since what is behind takes no more, is not its sender's fault and does not count.
const WINDOW: Duration = Duration::from_secs(5);

/// A request's body, until somebody takes it.
#[derive(Debug, Default)]
pub struct RequestBody {
    incoming: Option<Incoming>,
    pace: Pace,
    /// Bytes that may come, and how many have.
    max: Option<u64>,
    came: u64,
}

/// Why there is no more of a body.
#[derive(Debug)]
pub enum BodyError {
    /// It broke off, or was refused by the guard.
    Broken(hyper::Error),
    /// It is not one to wait for or to take.
    Fault(BodyFault),
}

/// What is wrong with a body that has not broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It broke off.
    Broken,
    /// It has more than this many bytes.
    TooLarge(u64),
    /// It came with fewer than this many bytes a second.
    TooSlow(u64),
}

impl BodyError {
    /// What is wrong with it.
    pub fn fault(&self) -> BodyFault {
        match self {
            Self::Broken(_) => BodyFault::Broken,
            Self::Fault(fault) => *fault,
        }
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the request's body broke off"),
            Self::TooLarge(max) => write!(f, "a request's body has at most {max} bytes here"),
            Self::TooSlow(rate) => {
                write!(f, "a request's body comes with at least {rate} bytes a second")
            }
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault().fmt(f)
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken(error) => Some(error),
            Self::Fault(_) => None,
        }
    }
}

impl RequestBody {
    /// A body that has to come with `rate_min` bytes a second; 0 for any pace.
    pub fn new(incoming: Incoming, rate_min: u64) -> Self {
        let pace = Pace::new(rate_min, WINDOW);
        Self { incoming: Some(incoming), pace, ..Self::default() }
    }

    /// Takes the body away: whoever has it sees to its end. `None` if there is nothing to come.
    pub fn take(&mut self) -> Option<Self> {
        let body = std::mem::take(self);
        (!body.is_end_stream()).then_some(body)
    }

    /// From now on, at most `max` bytes may come.
    ///
    /// # Errors
    /// It says already that it has more.
    pub fn limit(&mut self, max: u64) -> Result<(), BodyFault> {
        self.max = Some(max);
        if self.size_hint().lower() > max { Err(BodyFault::TooLarge(max)) } else { Ok(()) }
    }

    fn take_in(&mut self, bytes: usize) -> Result<(), BodyFault> {
        self.pace.note(bytes, Instant::now);
        self.came += bytes as u64;
        match self.max {
            Some(max) if self.came > max => Err(BodyFault::TooLarge(max)),
            _ => Ok(()),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
        let Poll::Ready(polled) = Pin::new(incoming).poll_frame(cx) else {
            ready!(this.pace.poll_too_slow(cx));
            let late = BodyFault::TooSlow(this.pace.rate_min());
            return Poll::Ready(Some(Err(BodyError::Fault(late))));
        };
        Poll::Ready(polled.map(|frame| {
            let frame = frame.map_err(BodyError::Broken)?;
            this.take_in(frame.data_ref().map_or(0, Bytes::len)).map_err(BodyError::Fault)?;
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Incoming::size_hint)
    }
}
