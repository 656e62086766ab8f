//! A request's body on its way in: counted against a bound, and held to a pace. What a route leaves
//! of it is seen to by the connection (`http/leftover.rs`); the proxy takes it away and sends it on.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep_until};

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
        let pace = Pace { rate_min, ..Pace::default() };
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
            let late = ready!(this.pace.poll_late(cx));
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

/// How fast a body comes. A sender who sends a byte now and then holds a connection, a place at an
/// app server and a task for as long as it likes.
#[derive(Debug, Default)]
struct Pace {
    /// Bytes a second.
    rate_min: u64,
    /// What has come in this window, and how long it was waited for.
    came: u64,
    waited: Duration,
    /// Since when it is waited for now.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    fn note(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.came += bytes as u64;
        if let Some(since) = self.since.take() {
            self.waited += now().saturating_duration_since(since);
        }
    }

    /// When the window is over if nothing more comes.
    fn due(&mut self, now: Instant) -> Instant {
        *self.since.get_or_insert(now) + WINDOW.saturating_sub(self.waited)
    }

    /// What the window that is over now says.
    fn judge(&mut self, now: Instant) -> Result<(), BodyFault> {
        let came = std::mem::take(&mut self.came);
        self.waited = Duration::ZERO;
        self.since = Some(now);
        let is_late = came < self.rate_min.saturating_mul(WINDOW.as_secs());
        if is_late { Err(BodyFault::TooSlow(self.rate_min)) } else { Ok(()) }
    }

    /// Ready when too little has come. The timer is set when somebody has to wait, and left as it is
    /// when something comes: it goes off then, and is set again.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        if self.rate_min == 0 {
            return Poll::Pending;
        }
        let mut due = self.due(Instant::now());
        let timer = self.timer.take();
        let mut timer = timer.unwrap_or_else(|| Box::pin(sleep_until(due.into())));
        loop {
            if timer.as_mut().poll(cx).is_pending() {
                self.timer = Some(timer);
                return Poll::Pending;
            }
            let now = Instant::now();
            if due <= now
                && let Err(fault) = self.judge(now)
            {
                return Poll::Ready(fault);
            }
            due = self.due(now);
            timer.as_mut().reset(due.into());
        }
    }
}

#[cfg(test)]
mod tests {
    //! The pace, with the clock passed in.

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(rate_min: u64) -> Pace {
        Pace { rate_min, ..Pace::default() }
    }

    #[test]
    fn f40_a_window_with_too_few_bytes_is_too_slow_and_one_with_enough_is_not() {
        let start = Instant::now();
        for (came, is_fine) in [(0, false), (499, false), (500, true), (5000, true)] {
            let mut pace = pace(100);
            assert_eq!(pace.due(start), start + WINDOW);
            pace.note(came, || start + SECOND);
            let judged = pace.judge(start + WINDOW);
            assert_eq!(judged.is_ok(), is_fine, "{came} bytes");
        }
    }

    #[test]
    fn f40_what_came_fast_at_first_does_not_pay_for_later() {
        let start = Instant::now();
        let mut pace = pace(100);
        pace.due(start);
        pace.note(1_000_000, || start + SECOND);
        pace.due(start + SECOND);
        assert_eq!(pace.judge(start + WINDOW), Ok(()));
        assert_eq!(pace.judge(start + 2 * WINDOW), Err(BodyFault::TooSlow(100)));
    }

    #[test]
    fn time_in_which_nobody_asks_for_the_body_does_not_count() {
        let start = Instant::now();
        let mut pace = pace(100);
        pace.due(start);
        pace.note(10, || start + SECOND);
        // An app server takes nothing for a minute.
        let later = start + 60 * SECOND;
        assert_eq!(pace.due(later), later + WINDOW - SECOND);
    }
}
