//! A storm: all clients have lost their streams at once, come back, and want what they have missed.

use super::Case;
use super::memory::events_kept;
use super::table::{Amount, Row, Section, Unit};
use super::traffic::open_us;
use super::wire::Wire;

/// A client waits 50 to 150 % of `stream.retry`: the last comes so many delays after the first.
const SPREAD: f64 = 1.0;
/// The mean delay, in delays.
const MEAN: f64 = 1.0;

pub(super) fn section(case: &Case<'_>, wire: &Wire) -> Section {
    let config = case.config;
    let streams = case.streams();
    let retry = case.stream.retry.0.as_secs_f64();
    let spread = retry * SPREAD;
    let arrivals = streams / spread;
    let capacity = case.shards * 1e6 / open_us(case);
    let all_back = (streams / capacity).max(spread);
    // What came while they were gone and waited, as far as it is kept.
    let missed = (case.load.away.as_secs_f64() + retry * MEAN) * case.load.events_per_second;
    let by_bytes = config.history.bytes_max.0 as f64 / wire.chunk.len() as f64;
    let told =
        if case.stream.resume { missed.min(events_kept(case)).min(by_bytes).floor() } else { 0.0 };
    let event = wire.event.counted(case.load.protocol) as f64;
    let replayed = streams * told * event;
    let per_second = |value: f64| Amount::exact(value, Unit::PerSecond);
    let rows = vec![
        Row::new("spread", "from the first to the last who asks")
            .expected(Amount::exact(spread, Unit::Seconds))
            .by("stream.retry"),
        Row::new("arrivals", "streams asked for, meanwhile").expected(per_second(arrivals)),
        Row::new("capacity", "streams that can be opened")
            .at_most(Amount::about(capacity, Unit::PerSecond))
            .by("server.shards"),
        Row::new("back", "until all are back").expected(Amount::about(all_back, Unit::Seconds)),
        Row::new("backlog", "connections that wait to be accepted")
            .expected(Amount::about(((arrivals - capacity) * spread).max(0.0), Unit::Count))
            .at_most(Amount::count(case.shards * f64::from(config.server.accept_backlog)))
            .by("server.accept_backlog, net.core.somaxconn"),
        Row::new("missed", "events that each has missed")
            .expected(Amount::exact(missed.floor(), Unit::Count)),
        Row::new("told", "of these, told from the history")
            .expected(Amount::count(told))
            .by("history.events_max, .bytes_max, .age_max"),
        Row::new("replayed", "bytes of the past that are sent").expected(Amount::bytes(replayed)),
        Row::new("rate", "the same, while they come back")
            .expected(Amount::about(replayed * 8.0 / all_back, Unit::BitsPerSecond)),
        Row::new("replays", "streams that are told of the past at a time")
            .at_most(Amount::count(case.shards * config.history.replays_max as f64))
            .by("history.replays_max"),
    ];
    Section { id: "storm", title: "STORM", rows }
}
