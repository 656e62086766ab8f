//! Counts the frames of an HTTP/2 connection that carry nothing: each costs its sender 9 bytes and
//! us a reaction. h2 bounds what it would have to remember (resets of requests that nobody has taken
//! yet, resets that it was made to send, CONTINUATION, small and empty DATA); nothing there bounds
//! PING, SETTINGS, PRIORITY, RST_STREAM and WINDOW_UPDATE, which it answers or looks up one by one.
//!
//! A state machine without IO and without a buffer, as the guard of HTTP/1 is: it is shown what is
//! read, and says how much of it may pass.

use std::time::{Duration, Instant};

/// What counts, counts within this time.
const WINDOW: Duration = Duration::from_secs(10);

/// Length, type, flags and stream of a frame (RFC 9113, 4.1).
const HEAD_BYTES: usize = 9;

/// The client's preface comes before its first frame.
const PREFACE_BYTES: u32 = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Bytes sent that pay for one WINDOW_UPDATE: less than the smallest event in its frame, so that a
/// client may return the window of every frame, to the stream and to the connection.
const BYTES_PER_UPDATE: usize = 16;

/// Most updates that may be paid for in advance.
const PAID_MAX: usize = 64 * 1024;

/// What h2 reads in place of a frame that is one too many: a header block that does not end, which it
/// answers as the peer deserves, by GOAWAY(ENHANCE_YOUR_CALM). There is no other way to have it say so
/// from outside. It takes up to 80 CONTINUATION frames where a head may have 1 MiB.
const STAND_IN_CONTINUATIONS: usize = 100;

/// The frames of one connection.
#[derive(Debug)]
pub(super) struct FrameMeter {
    /// Frames that count, within [`WINDOW`].
    max: u32,
    left: u32,
    refilled: Instant,
    /// Updates that what was sent has paid for.
    paid: usize,
    head: [u8; HEAD_BYTES],
    head_length: usize,
    /// Bytes of the payload that are still to come.
    payload: u32,
    in_header_block: bool,
    /// The current frame is one too many.
    is_over: bool,
}

impl FrameMeter {
    /// Before a connection's first byte.
    pub(super) fn new(max: u32, now: Instant) -> Self {
        Self {
            max,
            left: max,
            refilled: now,
            paid: 0,
            head: [0; HEAD_BYTES],
            head_length: 0,
            payload: PREFACE_BYTES,
            in_header_block: false,
            is_over: false,
        }
    }

    /// Whether a frame has come that was one too many. Nothing behind it is to be read.
    pub(super) fn is_flooded(&self) -> bool {
        self.is_over && self.payload == 0
    }

    /// So many bytes were sent.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.paid = (self.paid + bytes.div_ceil(BYTES_PER_UPDATE)).min(PAID_MAX);
    }

    /// How many of these bytes may pass: all, or those up to the end of the frame that is one too many,
    /// whose first bytes may have passed before. The clock is looked at only when the frames are used
    /// up.
    pub(super) fn inspect(&mut self, bytes: &[u8], now: impl Fn() -> Instant) -> usize {
        let mut at = 0;
        while at < bytes.len() && !self.is_flooded() {
            if self.payload > 0 {
                let count = (self.payload as usize).min(bytes.len() - at);
                self.payload -= count as u32;
                at += count;
                continue;
            }
            let count = (HEAD_BYTES - self.head_length).min(bytes.len() - at);
            self.head[self.head_length..][..count].copy_from_slice(&bytes[at..][..count]);
            self.head_length += count;
            at += count;
            if self.head_length == HEAD_BYTES {
                self.head_length = 0;
                self.begin_frame(&now);
            }
        }
        at
    }

    fn begin_frame(&mut self, now: impl Fn() -> Instant) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.payload = u32::from_be_bytes([0, a, b, c]);
        match kind {
            // Small and empty DATA is h2's to count.
            DATA => {}
            HEADERS | CONTINUATION => self.in_header_block = flags & END_HEADERS == 0,
            // No other frame may come within a header block: h2 says so.
            _ if self.in_header_block => {}
            WINDOW_UPDATE if self.paid > 0 => self.paid -= 1,
            _ => self.count(now),
        }
    }

    fn count(&mut self, now: impl Fn() -> Instant) {
        if self.left == 0 {
            let now = now();
            if now.saturating_duration_since(self.refilled) < WINDOW {
                self.is_over = true;
                return;
            }
            self.refilled = now;
            self.left = self.max;
        }
        self.left -= 1;
    }
}

/// The bytes of the stand-in.
pub(super) fn stand_in() -> Vec<u8> {
    let mut frames = vec![0, 0, 0, HEADERS, 0, 0, 0, 0, 1];
    for _ in 0..STAND_IN_CONTINUATIONS {
        frames.extend([0, 0, 0, CONTINUATION, 0, 0, 0, 0, 1]);
    }
    frames
}

#[cfg(test)]
mod tests {
    //! What counts, and that the pieces in which it comes do not matter.

    use proptest::prelude::*;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, flags: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![b'x'; length.into()]);
        frame
    }

    fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
        [vec![b'p'; PREFACE_BYTES as usize], frames.concat()].concat()
    }

    fn passed(max: u32, bytes: &[u8]) -> (usize, bool) {
        let start = Instant::now();
        let mut meter = FrameMeter::new(max, start);
        (meter.inspect(bytes, || start), meter.is_flooded())
    }

    #[test]
    fn f34_what_carries_nothing_counts_and_requests_and_data_do_not() {
        for (kind, flags, counts) in [
            (DATA, 0, false),
            (HEADERS, END_HEADERS, false),
            (2, 0, true),
            (3, 0, true),
            (4, 1, true),
            (PING, 1, true),
            (WINDOW_UPDATE, 0, true),
            (0xfa, 0, true),
        ] {
            let all = connection(&vec![frame(kind, flags, 8); 5]);
            let behind = if counts { HEAD_BYTES + 8 } else { 0 };
            let expected = (all.len() - behind, counts);
            assert_eq!(passed(3, &all), expected, "frames of type {kind}");
        }
    }

    #[test]
    fn updates_are_paid_for_by_what_is_sent() {
        let start = Instant::now();
        let mut meter = FrameMeter::new(1, start);
        meter.sent(3 * BYTES_PER_UPDATE);
        let bytes = connection(&vec![frame(WINDOW_UPDATE, 0, 4); 5]);
        let end = meter.inspect(&bytes, || start);
        assert_eq!(
            (end, meter.is_flooded()),
            (bytes.len(), true),
            "three, one, and the one too many"
        );
    }

    #[test]
    fn what_is_spread_over_time_is_no_flood() {
        let start = Instant::now();
        let mut meter = FrameMeter::new(2, start);
        meter.inspect(&connection(&[]), || start);
        for number in 0..60 {
            let now = start + number * WINDOW / 2;
            meter.inspect(&frame(PING, 0, 8), || now);
            assert!(!meter.is_flooded(), "after {number} frames");
        }
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            kinds in prop::collection::vec((0..12u8, 0..6u8, 0..20u8), 0..40),
            cuts in prop::collection::vec(1..30usize, 1..60),
            max in 0..20u32,
        ) {
            let frames: Vec<_> = kinds.iter().map(|&(kind, flags, n)| frame(kind, flags, n)).collect();
            let bytes = connection(&frames);
            let (whole, is_flooded) = passed(max, &bytes);
            let start = Instant::now();
            let mut meter = FrameMeter::new(max, start);
            let (mut at, mut total) = (0, 0);
            for cut in cuts.iter().cycle() {
                if at == bytes.len() || meter.is_flooded() {
                    break;
                }
                let end = (at + cut).min(bytes.len());
                total += meter.inspect(&bytes[at..end], || start);
                at = end;
            }
            prop_assert_eq!((total, meter.is_flooded()), (whole, is_flooded));
        }
    }
}
