//! Who is served first: each stream's place in the order in which an event's receivers
//! were read, 0 for the first and 1 for the last. Over a fair server's run all mean
//! places come near one half, and nobody is always among the last.
//!
//! The order is that of this thread's reads, and a read takes what has queued up: it
//! shows the server's order only while the reader keeps up with it.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::check::tally::Receipts;
use crate::latency;
use crate::run::Run;

/// Events that may be on their way to some of their receivers at once.
const RECENT_EVENTS: usize = 1 << 13;
/// With fewer receivers a last tenth would be nobody.
const RECEIVERS_MIN: u32 = 10;
/// With fewer events "always" would be chance.
const EVENTS_MIN: u32 = 20;
/// Mean places are kept in units of a millionth: a histogram counts whole numbers.
const PLACE_UNITS: f64 = 1e6;

pub(crate) struct Fairness {
    threads: u32,
    receipts: Receipts,
    /// By stream of this thread.
    places: Vec<Places>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Places {
    sum: f64,
    events: u32,
    in_last_tenth: u32,
}

/// What all streams' places come to.
#[derive(Serialize, Deserialize)]
pub(crate) struct Spread {
    /// The streams' mean places, in millionths.
    #[serde(with = "latency")]
    mean_places: Histogram<u64>,
    streams_always_last: u32,
    /// The greatest share of a stream's events at which it was in the last tenth.
    last_tenth_share_max: f64,
}

impl Fairness {
    pub(crate) fn new(run: &Run, thread: u32) -> Self {
        let threads = run.plan.threads;
        let places = vec![Places::default(); run.plan.streams.div_ceil(threads) as usize];
        Self { threads, receipts: Receipts::new(run, thread, RECENT_EVENTS), places }
    }

    /// `stream` was read event `number` of `topic`.
    pub(crate) fn on_delivery(&mut self, stream: u32, number: u64, topic: u32) {
        let Some((before, receivers)) = self.receipts.count(number, topic) else {
            return;
        };
        if receivers < RECEIVERS_MIN {
            return;
        }
        let place = f64::from(before) / f64::from(receivers - 1);
        let places = &mut self.places[(stream / self.threads) as usize];
        places.sum += place;
        places.events += 1;
        places.in_last_tenth += u32::from(place >= 0.9);
    }

    pub(crate) fn spread(&self) -> Spread {
        let mut spread = Spread {
            mean_places: latency::latency_histogram(),
            streams_always_last: 0,
            last_tenth_share_max: 0.0,
        };
        for places in self.places.iter().filter(|places| places.events >= EVENTS_MIN) {
            let events = f64::from(places.events);
            spread.mean_places.saturating_record((places.sum / events * PLACE_UNITS) as u64);
            spread.streams_always_last += u32::from(places.in_last_tenth == places.events);
            let share = f64::from(places.in_last_tenth) / events;
            spread.last_tenth_share_max = spread.last_tenth_share_max.max(share);
        }
        spread
    }
}

impl Spread {
    pub(crate) fn merge(&mut self, other: &Self) {
        latency::add(&mut self.mean_places, &other.mean_places);
        self.streams_always_last += other.streams_always_last;
        self.last_tenth_share_max = self.last_tenth_share_max.max(other.last_tenth_share_max);
    }

    /// `None`: no stream had enough events to judge.
    pub(crate) fn details(&self) -> Option<SpreadDetails> {
        if self.mean_places.is_empty() {
            return None;
        }
        let place = |value: u64| value as f64 / PLACE_UNITS;
        Some(SpreadDetails {
            streams: self.mean_places.len(),
            mean_place_min: place(self.mean_places.min()),
            mean_place_p50: place(self.mean_places.value_at_quantile(0.5)),
            mean_place_max: place(self.mean_places.max()),
            mean_place_deviation: self.mean_places.stdev() / PLACE_UNITS,
            streams_always_last: self.streams_always_last,
            last_tenth_share_max: self.last_tenth_share_max,
        })
    }
}

/// The same for people and reports. Places are 0 (first) to 1 (last).
#[derive(Serialize)]
pub(crate) struct SpreadDetails {
    /// Streams with enough events to judge.
    streams: u64,
    mean_place_min: f64,
    mean_place_p50: f64,
    mean_place_max: f64,
    mean_place_deviation: f64,
    /// Streams that were in the last tenth of the receivers of each of their events.
    streams_always_last: u32,
    last_tenth_share_max: f64,
}

impl SpreadDetails {
    pub(crate) fn row(&self) -> String {
        format!(
            "mean place of a stream {:.3} to {:.3} (deviation {:.3}), in the last tenth at most \
             {:.0} % of the time, always: {} of {}",
            self.mean_place_min,
            self.mean_place_max,
            self.mean_place_deviation,
            100.0 * self.last_tenth_share_max,
            self.streams_always_last,
            self.streams
        )
    }
}
