//! Concatenated frames, made once and written to every stream that is behind by the same range: in a
//! round of the sweep nearly all streams of an audience are.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::audience::Selection;
use super::framing::{Framing, Writer};
use super::index::AudienceKey;
use super::log::Log;
use crate::metrics::ShardMetrics;

/// Buffers kept at a time. Streams of one audience differ in framing and in how far they are.
const BATCHES: usize = 4;

/// Most bytes put into one buffer, unless a single event is larger. Worst case a shard:
/// `BATCHES` times this, or times the largest event.
const BATCH_BYTES: usize = 64 * 1024;

/// Frames that are asked for: those of one audience's log from one position to before another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) audience: AudienceKey,
    pub(super) from: u64,
    pub(super) upto: u64,
    pub(super) framing: Framing,
}

/// Frames of one audience from one position to another, as one buffer.
#[derive(Default)]
pub(super) struct Batch {
    wanted: Wanted,
    /// The position after the last frame that is in the buffer.
    pub(super) to: u64,
    pub(super) bytes: Vec<u8>,
    /// Where each frame ends in `bytes`.
    ends: Vec<usize>,
    times: Times,
}

impl Batch {
    fn fill(&mut self, wanted: Wanted, log: &Log, writer: &Writer) {
        let Wanted { from, upto, .. } = wanted;
        self.bytes.clear();
        self.ends.clear();
        self.wanted = wanted;
        self.to = from;
        for event in log.from(from).take((upto - from) as usize) {
            let bytes = writer.bytes(event);
            if self.to > from && self.bytes.len() + bytes.len() > BATCH_BYTES {
                break;
            }
            self.bytes.extend_from_slice(&bytes);
            self.ends.push(self.bytes.len());
            self.to += 1;
        }
        let written = (self.to - from) as usize;
        self.times.set(log.from(from).take(written).map(|event| event.accepted));
    }

    /// Counts the delivery of the whole batch at `now`.
    pub(super) fn observe(&self, metrics: &ShardMetrics, now: Instant) {
        metrics.events_delivered.add(self.ends.len() as u64);
        let newest = now.saturating_duration_since(self.times.last);
        let oldest = newest + self.times.lag_max;
        let (count, lag_sum) = (self.ends.len() as u64, self.times.lag_sum);
        if !metrics.fanout.observe_run(newest, oldest, count, lag_sum) {
            for lag in &self.times.lags {
                metrics.fanout.observe(newest + *lag);
            }
        }
    }

    /// The frame that the first `written` bytes end in: its index in the batch, and how much of it
    /// was written. `written` is less than the whole.
    pub(super) fn cut(&self, written: usize) -> (u64, usize) {
        let index = self.ends.partition_point(|&end| end <= written);
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        (index as u64, written - start)
    }
}

/// When a batch's events were accepted, kept so that a delivery of many costs about what a delivery
/// of one does.
struct Times {
    last: Instant,
    /// How much earlier than the last each event was accepted.
    lags: Vec<Duration>,
    lag_max: Duration,
    lag_sum: Duration,
}

impl Default for Times {
    fn default() -> Self {
        let (last, lags) = (Instant::now(), Vec::new());
        Self { last, lags, lag_max: Duration::ZERO, lag_sum: Duration::ZERO }
    }
}

impl Times {
    /// Takes at least one instant, in the order of events.
    fn set(&mut self, accepted: impl DoubleEndedIterator<Item = Instant>) {
        self.lags.clear();
        let mut latest = accepted.rev();
        let Some(last) = latest.next() else { return };
        self.last = last;
        self.lags.push(Duration::ZERO);
        let mut previous = (last, Duration::ZERO);
        for accepted in latest {
            // One request's events were accepted together.
            if accepted != previous.0 {
                previous = (accepted, last.saturating_duration_since(accepted));
            }
            self.lags.push(previous.1);
        }
        self.lag_max = self.lags.iter().copied().max().unwrap_or_default();
        self.lag_sum = self.lags.iter().sum();
    }
}

#[derive(Default)]
pub(super) struct Batches {
    batches: [Batch; BATCHES],
    oldest: usize,
}

impl Batches {
    /// The frames that are wanted of `log`, at least one, as far as they fit one buffer. `told` says what
    /// the audience asked for, if it is told topics.
    pub(super) fn get(
        &mut self,
        wanted: Wanted,
        log: &Log,
        told: impl FnOnce() -> Option<Rc<Selection>>,
    ) -> &Batch {
        let found =
            self.batches.iter().position(|batch| batch.wanted == wanted && !batch.ends.is_empty());
        let index = found.unwrap_or_else(|| {
            let index = self.oldest;
            self.oldest = (index + 1) % BATCHES;
            let writer = Writer { framing: wanted.framing, told: told() };
            self.batches[index].fill(wanted, log, &writer);
            index
        });
        &self.batches[index]
    }

    /// Forgets an audience that is gone, whose key may come back with other events.
    pub(super) fn forget(&mut self, audience: AudienceKey) {
        for batch in self.batches.iter_mut().filter(|batch| batch.wanted.audience == audience) {
            *batch = Batch::default();
        }
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! What is in a buffer, where a short write cuts it, and when it is shared.

    use super::super::framing::Transfer;
    use super::super::ring::RingBounds;
    use super::super::testing::event;
    use super::*;

    const CHUNKED: Framing = Framing { transfer: Transfer::Chunked, gzip: false };
    const BARE: Framing = Framing { transfer: Transfer::Bare, gzip: false };

    fn get<'a>(
        batches: &'a mut Batches,
        log: &Log,
        audience: AudienceKey,
        from: u64,
        framing: Framing,
    ) -> &'a Batch {
        batches.get(Wanted { audience, from, upto: 3, framing }, log, || None)
    }

    fn log(sizes: &[usize]) -> Log {
        let mut log = Log::default();
        for (seq, size) in (1..).zip(sizes) {
            log.push(event(seq, *size), RingBounds { frames_max: 256, bytes_max: 1 << 20 });
        }
        log
    }

    #[test]
    fn a_short_write_is_cut_at_the_right_frame() {
        let (log, mut batches) = (log(&[10, 20, 30]), Batches::default());
        let batch = get(&mut batches, &log, 0, 0, CHUNKED);
        let ends: Vec<_> = [0, 1, 2]
            .map(|position| log.at(position).frame.size())
            .iter()
            .scan(0, |end, size| {
                *end += size;
                Some(*end)
            })
            .collect();
        assert_eq!(batch.bytes.len(), ends[2]);
        assert_eq!(batch.cut(0), (0, 0));
        assert_eq!(batch.cut(ends[0] - 1), (0, ends[0] - 1));
        assert_eq!(batch.cut(ends[0]), (1, 0));
        assert_eq!(batch.cut(ends[2] - 1), (2, log.at(2).frame.size() - 1));
    }

    #[test]
    fn a_buffer_is_shared_by_streams_with_the_same_range_and_framing() {
        let (log, mut batches) = (log(&[1, 1, 1]), Batches::default());
        let first = std::ptr::from_ref(get(&mut batches, &log, 0, 1, CHUNKED));
        assert_eq!(std::ptr::from_ref(get(&mut batches, &log, 0, 1, CHUNKED)), first);
        assert_ne!(std::ptr::from_ref(get(&mut batches, &log, 0, 1, BARE)), first);
        assert_ne!(std::ptr::from_ref(get(&mut batches, &log, 1, 1, CHUNKED)), first);
    }

    #[test]
    fn a_buffer_is_bounded_but_holds_at_least_one_event() {
        let (log, mut batches) = (log(&[40_000, 40_000, 100_000]), Batches::default());
        assert_eq!(get(&mut batches, &log, 0, 0, CHUNKED).to, 1);
        assert_eq!(get(&mut batches, &log, 0, 2, CHUNKED).to, 3);
    }
}
