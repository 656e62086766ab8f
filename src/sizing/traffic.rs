//! Bandwidth and cores: what each delivery costs, times as many as there are.

use super::measured::{
    HEARTBEAT_US, HTTP1_DELIVERY_US, HTTP1_OPEN_US, HTTP2_DELIVERY_US, HTTP2_OPEN_US, PUBLISH_US,
    TLS_DELIVERY_US, TLS_OPEN_US,
};
use super::table::{Amount, Row, Section, Unit};
use super::wire::{PACKET_BYTES, Wire, Written};
use super::{Case, Protocol};
use crate::subscribe::control::heartbeat_ms;

const DAY_SECONDS: f64 = 24.0 * 3600.0;
const BITS: f64 = 8.0;

pub(super) fn bandwidth(case: &Case<'_>, wire: &Wire) -> Section {
    let protocol = case.load.protocol;
    let event = wire.event;
    let deliveries = case.deliveries_per_second();
    let beats = heartbeats_per_second(case);
    let reopened = case.reconnects_per_second();
    let beat = wire.heartbeat.unwrap_or_default();
    let stream = [Some(wire.opening), wire.end].into_iter().flatten();
    // Everything that is written: how often, and what.
    let written: Vec<_> = [(deliveries, event), (beats, beat)]
        .into_iter()
        .chain(stream.map(|one| (reopened, one)))
        .collect();
    let rate = |bytes: fn(Written) -> usize| -> f64 {
        written.iter().map(|(times, one)| times * bytes(*one) as f64).sum()
    };
    let on_the_wire = rate(Written::on_the_wire);
    let packets = rate(Written::packets);
    let bytes = |count: usize| Amount::bytes(count as f64);
    let per_second = |value: f64| Amount::exact(value, Unit::PerSecond);
    let bits = |bytes: f64| Amount::about(bytes * BITS, Unit::BitsPerSecond);
    let counted = event.counted(protocol);
    let delimiter = match protocol {
        Protocol::H1 | Protocol::Tls => "size of its HTTP/1.1 chunk",
        Protocol::H2 => "header of its DATA frame",
    };
    let rows = vec![
        Row::new("data", "an event's data").expected(bytes(case.load.data_bytes)),
        Row::new("fields", "its id, its name, its line")
            .expected(bytes(event.frame - case.load.data_bytes)),
        Row::new("delimiter", delimiter).expected(bytes(event.delimited - event.frame)),
        Row::new("tls", "its TLS record").expected(bytes(event.tls)),
        Row::new("network", "headers of TCP and IP")
            .expected(Amount::about_bytes(event.network as f64))
            .by("one write an event, MTU 1500, IPv4"),
        Row::new("event", "one delivery").expected(Amount::about_bytes(event.on_the_wire() as f64)),
        Row::new("counted", "one delivery in tidegate_sent_bytes_total").expected(bytes(counted)),
        Row::new("heartbeat", "a heartbeat in the same").expected(bytes(beat.counted(protocol))),
        Row::new("opening", "what opens a stream in the same")
            .expected(bytes(wire.opening_counted)),
        Row::new("deliveries", "deliveries").expected(per_second(deliveries)),
        Row::new("published", "events published").expected(per_second(case.published_per_second())),
        Row::new("heartbeats", "heartbeats")
            .expected(per_second(beats))
            .by("stream.heartbeat, .heartbeat_kind"),
        Row::new("reopened", "streams that come back, their life over")
            .expected(per_second(reopened))
            .by("stream.max_lifetime"),
        Row::new("payload", "to clients, as counted")
            .expected(Amount::exact(deliveries * counted as f64, Unit::BytesPerSecond)),
        Row::new("wire", "to clients, on the wire, all included").expected(bits(on_the_wire)),
        Row::new("acknowledgements", "from clients: acknowledgements")
            .expected(bits(packets * PACKET_BYTES as f64)),
        Row::new("day", "to clients in a day")
            .expected(Amount::about_bytes(on_the_wire * DAY_SECONDS)),
    ];
    Section { id: "bandwidth", title: "BANDWIDTH", rows }
}

/// A stream has a heartbeat after each interval in which it had nothing else; events come evenly.
fn heartbeats_per_second(case: &Case<'_>) -> f64 {
    let Some(interval_ms) = heartbeat_ms(&case.stream) else {
        return 0.0;
    };
    let interval = interval_ms as f64 / 1000.0;
    let events = case.load.events_per_second;
    if events == 0.0 {
        return case.streams() / interval;
    }
    let between = (1.0 / events / interval).ceil() - 1.0;
    case.streams() * events * between.max(0.0)
}

pub(super) fn cpu(case: &Case<'_>) -> Section {
    let measured = [HTTP1_DELIVERY_US, TLS_DELIVERY_US, HTTP2_DELIVERY_US];
    let delivery_us = case.load.delivery_us.unwrap_or_else(|| case.cost_of_stream(measured));
    let cores = |times: f64, us: f64| Amount::about(times * us / 1e6, Unit::Cores);
    let parts = [
        ("deliveries", case.deliveries_per_second(), delivery_us, "deliveries, one event a write"),
        ("publishes", case.published_per_second(), PUBLISH_US, "publishes, one event a request"),
        ("heartbeats", heartbeats_per_second(case), HEARTBEAT_US, "heartbeats"),
        ("reopened", case.reconnects_per_second(), open_us(case), "streams that come back"),
    ];
    let row = |(id, times, us, what): (&'static str, f64, f64, &str)| {
        Row::new(id, format!("{what}, {us:.1} µs each")).expected(cores(times, us))
    };
    let mut rows: Vec<Row> = parts.into_iter().map(row).collect();
    let total = parts.iter().map(|(_, times, us, _)| cores(*times, *us)).reduce(|a, b| a + b);
    rows.push(Row {
        expected: total,
        ..Row::new("total", "all")
            .at_most(Amount::exact(case.shards, Unit::Cores))
            .by("server.shards")
    });
    Section { id: "cpu", title: "CPU", rows }
}

/// Microseconds of a core to open a stream.
pub(super) fn open_us(case: &Case<'_>) -> f64 {
    case.cost_of_stream([HTTP1_OPEN_US, TLS_OPEN_US, HTTP2_OPEN_US])
}
