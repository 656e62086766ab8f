//! What a fan-out found: first as counts, which processes can add up, then as the rates
//! and percentiles of a report.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::check::audit::Settled;
use crate::check::fairness::{Spread, SpreadDetails};
use crate::check::tally::Tally;
use crate::latency::{self, latency_histogram};
use crate::memory::Memory;
use crate::processes::Merge;
use crate::publish::PublishOutcome;
use crate::report::{LatencyUs, Row};
use crate::session::Sample;
use crate::violations::Violations;

#[derive(Serialize, Deserialize)]
pub(super) struct Found {
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    events_unsent: u64,
    window_stalls: u64,
    /// All numbers used are below this.
    pub(super) numbers_until: u64,
    measured: Measured,
    #[serde(with = "latency")]
    answer: Histogram<u64>,
    #[serde(with = "latency")]
    late: Histogram<u64>,
    #[serde(with = "latency")]
    burst: Histogram<u64>,
    #[serde(with = "latency")]
    latency: Histogram<u64>,
    deliveries: u64,
    pub(super) deliveries_owed: u64,
    pub(super) gaps: u64,
    pub(super) dropped_declared: u64,
    pub(super) unsettled: u32,
    pub(super) stuck: Option<Stuck>,
    fairness: Option<Spread>,
    server_memory: Vec<(f64, u64)>,
    pub(super) violations: Violations,
}

/// Between the warm-up and the end of publishing.
#[derive(Serialize, Deserialize)]
pub(super) struct Measured {
    seconds: f64,
    deliveries: u64,
    requests: u64,
    accepted: u64,
    server_cpu_seconds: Option<f64>,
    client_cpu_seconds: f64,
}

impl Measured {
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let (server_cpu_seconds, client_cpu_seconds) = after.cpu_since(before);
        Self {
            seconds: after.seconds_since(before),
            deliveries: after.deliveries - before.deliveries,
            requests: after.requests - before.requests,
            accepted: after.accepted - before.accepted,
            server_cpu_seconds,
            client_cpu_seconds,
        }
    }

    fn details(&self) -> MeasuredDetails {
        let per_second = |count: u64| count as f64 / self.seconds;
        let each = |cpu: Option<f64>, of: u64| Some(cpu? * 1e6 / of as f64).filter(|_| of > 0);
        let percent = |cpu: f64| 100.0 * cpu / self.seconds;
        MeasuredDetails {
            seconds: self.seconds,
            deliveries: self.deliveries,
            deliveries_per_second: per_second(self.deliveries),
            events_per_second: per_second(self.accepted),
            requests_per_second: per_second(self.requests),
            server_cpu_us_per_delivery: each(self.server_cpu_seconds, self.deliveries),
            server_cpu_us_per_event: each(self.server_cpu_seconds, self.accepted),
            server_cpu_percent: self.server_cpu_seconds.map(percent),
            client_cpu_us_per_delivery: each(Some(self.client_cpu_seconds), self.deliveries),
            client_cpu_percent: percent(self.client_cpu_seconds),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Stuck {
    streams: u32,
    gaps_min: u64,
    gaps_max: u64,
    each_had_one_gap: bool,
    lost_declared: u64,
    /// At most the frames of a ring.
    events_after_gap_max: u32,
}

impl Stuck {
    pub(super) fn none() -> Self {
        Self {
            streams: 0,
            gaps_min: u64::MAX,
            gaps_max: 0,
            each_had_one_gap: true,
            lost_declared: 0,
            events_after_gap_max: 0,
        }
    }

    pub(super) fn one(settled: &Settled) -> Self {
        Self {
            streams: 1,
            gaps_min: settled.gaps,
            gaps_max: settled.gaps,
            each_had_one_gap: settled.gaps == 1,
            lost_declared: settled.declared,
            events_after_gap_max: settled.events_after_gap,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.streams += other.streams;
        self.gaps_min = self.gaps_min.min(other.gaps_min);
        self.gaps_max = self.gaps_max.max(other.gaps_max);
        self.each_had_one_gap &= other.each_had_one_gap;
        self.lost_declared += other.lost_declared;
        self.events_after_gap_max = self.events_after_gap_max.max(other.events_after_gap_max);
    }
}

impl Found {
    /// What the publishers know; the streams' part is added by the tallies.
    pub(super) fn of(
        published: PublishOutcome,
        measured: Measured,
        server_memory: Vec<(f64, u64)>,
    ) -> Self {
        Self {
            events_published: published.events,
            events_accepted: published.accepted,
            events_refused: published.refused,
            events_unsent: published.unsent,
            window_stalls: published.stalls,
            numbers_until: published.until,
            measured,
            answer: published.answer_ns,
            late: published.late_ns,
            burst: published.burst_ns,
            latency: latency_histogram(),
            deliveries: 0,
            deliveries_owed: 0,
            gaps: 0,
            dropped_declared: 0,
            unsettled: 0,
            stuck: None,
            fairness: None,
            server_memory,
            violations: published.violations,
        }
    }

    pub(super) fn add_tally(&mut self, tally: &Tally) {
        self.deliveries += tally.deliveries;
        latency::add(&mut self.latency, &tally.latency[0]);
        if let Some(fairness) = &tally.fairness {
            self.add_spread(fairness.spread());
        }
    }

    fn add_spread(&mut self, other: Spread) {
        match &mut self.fairness {
            Some(spread) => spread.merge(&other),
            none => *none = Some(other),
        }
    }

    pub(super) fn details(&self) -> Details<'_> {
        Details {
            events_published: self.events_published,
            events_accepted: self.events_accepted,
            events_refused: self.events_refused,
            events_unsent: self.events_unsent,
            window_stalls: self.window_stalls,
            deliveries: self.deliveries,
            deliveries_owed: self.deliveries_owed,
            measured: self.measured.details(),
            latency_us: LatencyUs::of_ns(&self.latency),
            publish_answer_us: LatencyUs::of_ns(&self.answer),
            publish_late_us: LatencyUs::of_ns(&self.late),
            burst_us: (!self.burst.is_empty()).then(|| LatencyUs::of_ns(&self.burst)),
            gaps: self.gaps,
            dropped_declared: self.dropped_declared,
            unsettled: self.unsettled,
            stuck: self.stuck.as_ref(),
            fairness: self.fairness.as_ref().and_then(Spread::details),
            server_memory: Memory::over(&self.server_memory),
        }
    }
}

impl Merge for Found {
    fn merge(&mut self, other: Self) {
        self.events_published += other.events_published;
        self.events_accepted += other.events_accepted;
        self.events_refused += other.events_refused;
        self.events_unsent += other.events_unsent;
        self.window_stalls += other.window_stalls;
        // All measured at the same time: the gateway's CPU and memory are in each.
        self.measured.seconds = self.measured.seconds.max(other.measured.seconds);
        self.measured.deliveries += other.measured.deliveries;
        self.measured.requests += other.measured.requests;
        self.measured.accepted += other.measured.accepted;
        self.measured.client_cpu_seconds += other.measured.client_cpu_seconds;
        latency::add(&mut self.answer, &other.answer);
        latency::add(&mut self.late, &other.late);
        latency::add(&mut self.burst, &other.burst);
        latency::add(&mut self.latency, &other.latency);
        self.deliveries += other.deliveries;
        self.deliveries_owed += other.deliveries_owed;
        self.gaps += other.gaps;
        self.dropped_declared += other.dropped_declared;
        self.unsettled += other.unsettled;
        if let Some(stuck) = &other.stuck {
            self.stuck.get_or_insert_with(Stuck::none).add(stuck);
        }
        if let Some(spread) = other.fairness {
            self.add_spread(spread);
        }
        self.violations.merge(other.violations);
    }
}

#[derive(Serialize)]
pub(super) struct Details<'a> {
    events_published: u64,
    events_accepted: u64,
    events_refused: u64,
    /// Due by the publishers' plan and not sent before the time was up (open loop).
    events_unsent: u64,
    window_stalls: u64,
    deliveries: u64,
    /// Accepted events times the streams that match them: delivered, declared or lost.
    deliveries_owed: u64,
    measured: MeasuredDetails,
    latency_us: LatencyUs,
    publish_answer_us: LatencyUs,
    /// How late the publisher was against its own plan (open loop).
    publish_late_us: LatencyUs,
    /// From the start of a burst until every stream had all of it.
    burst_us: Option<LatencyUs>,
    gaps: u64,
    dropped_declared: u64,
    /// Streams still behind when the time to settle was over.
    unsettled: u32,
    stuck: Option<&'a Stuck>,
    fairness: Option<SpreadDetails>,
    /// Each second of the measured time; the slope is by second.
    server_memory: Option<Memory>,
}

#[derive(Serialize)]
struct MeasuredDetails {
    seconds: f64,
    deliveries: u64,
    deliveries_per_second: f64,
    /// Accepted ones.
    events_per_second: f64,
    requests_per_second: f64,
    server_cpu_us_per_delivery: Option<f64>,
    server_cpu_us_per_event: Option<f64>,
    server_cpu_percent: Option<f64>,
    client_cpu_us_per_delivery: Option<f64>,
    client_cpu_percent: f64,
}

impl MeasuredDetails {
    fn rows(&self) -> Vec<Row> {
        let cpu = |share: Option<f64>, each: &[(Option<f64>, &str)]| {
            let Some(share) = share else { return "unknown (no --server-pid)".to_owned() };
            let each =
                each.iter().filter_map(|(us, what)| Some(format!(", {:.3} µs/{what}", (*us)?)));
            format!("{share:.0} % of a core{}", each.collect::<String>())
        };
        let server = [
            (self.server_cpu_us_per_delivery, "delivery"),
            (self.server_cpu_us_per_event, "event"),
        ];
        let client = [(self.client_cpu_us_per_delivery, "delivery")];
        vec![
            ("deliveries/s", format!("{:.0}", self.deliveries_per_second)),
            (
                "events/s",
                format!(
                    "{:.0} in {:.0} requests/s",
                    self.events_per_second, self.requests_per_second
                ),
            ),
            ("server CPU", cpu(self.server_cpu_percent, &server)),
            ("client CPU", cpu(Some(self.client_cpu_percent), &client)),
        ]
    }
}

impl Details<'_> {
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = vec![
            (
                "events",
                format!(
                    "{} published, {} accepted, {} refused",
                    self.events_published, self.events_accepted, self.events_refused
                ),
            ),
            (
                "deliveries",
                format!(
                    "{} of {} owed, {} in {:.2} s",
                    self.deliveries,
                    self.deliveries_owed,
                    self.measured.deliveries,
                    self.measured.seconds
                ),
            ),
        ];
        rows.extend(self.measured.rows());
        rows.push(("latency", self.latency_us.row()));
        rows.push(("publish answered in", self.publish_answer_us.row()));
        rows.push(("publisher late by", self.publish_late_us.row()));
        rows.push((
            "dropped, declared",
            format!("{} in {} gaps", self.dropped_declared, self.gaps),
        ));
        if let Some(burst) = &self.burst_us {
            rows.push(("burst everywhere in", format!("{}, of {}", burst.row(), burst.samples)));
        }
        if let Some(memory) = &self.server_memory {
            rows.push(("server memory", memory.row("second")));
        }
        if let Some(fairness) = &self.fairness {
            rows.push(("fairness", fairness.row()));
        }
        let counts = [
            ("due and never sent", self.events_unsent),
            ("window stalls", self.window_stalls),
            ("streams left behind", u64::from(self.unsettled)),
        ];
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            rows.push((name, count.to_string()));
        }
        if let Some(stuck) = self.stuck {
            rows.push((
                "stuck streams",
                format!(
                    "{}: {} to {} gaps each, {} lost and declared, at most {} events after a gap",
                    stuck.streams,
                    stuck.gaps_min,
                    stuck.gaps_max,
                    stuck.lost_declared,
                    stuck.events_after_gap_max
                ),
            ));
        }
        rows
    }
}
