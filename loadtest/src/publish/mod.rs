//! A publisher thread: sends its share of the run's events, reads every answer, keeps
//! the books.
//!
//! One blocking keep-alive connection a thread. What is due at one moment goes out as one burst
//! of pipelined requests in one write, then all their answers are read. Pipelining
//! rather than many connections, because it keeps the publish order known: ids must
//! rise with it, which is what lets readers predict their next event. Rather than only
//! batches, because a request per event is what ordinary upstreams send; `--batch`
//! groups due events into JSON arrays where that is what is to be measured. With several
//! connections each has numbers, and with them topics, of its own (`Lane`): the order
//! of a topic's events stays known.
//!
//! A number that was refused (429, 503) is never used again: a retry is a new event.
//! So a refused event that is delivered all the same is noticed.

mod connection;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::{nanos, now_ns, wait_until};
use crate::latency::{self, latency_histogram};
use crate::ledger::Answer;
use crate::payload::{EventId, Payload};
use crate::run::{Published, Run};
use crate::violations::{Kind, Violations};

use connection::{Connection, Reply};
pub(crate) use connection::{PublishApi, PublishTarget};

const BURST_EVENTS_MAX: u64 = 4096;
/// After a refusal.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Events a second of all connections, sent when due whatever happens (open loop).
    Rate(f64),
    /// As many as the window of the run allows (closed loop).
    Window { stall: Duration },
    /// The whole window at once, every so often.
    Bursts { every: Duration, stall: Duration },
    /// So many requests on each connection, again when all are answered.
    Pipeline { requests: u32 },
}

/// Which events a connection publishes: of every `of` numbers the one at `index`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane {
    pub(crate) index: u32,
    pub(crate) of: u32,
}

impl Lane {
    /// The number of the lane's event `at`.
    fn number(self, at: u64) -> u64 {
        at * u64::from(self.of) + u64::from(self.index)
    }

    /// How many of the numbers below `until` are the lane's.
    fn below(self, until: u64) -> u64 {
        (until + u64::from(self.of - 1 - self.index)) / u64::from(self.of)
    }
}

pub(crate) struct PublishOutcome {
    /// All numbers used are below this.
    pub(crate) until: u64,
    pub(crate) events: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Events that were due when the time was up and had not been sent (open loop).
    pub(crate) unsent: u64,
    /// Times the closed loop gave up waiting for the readers and went on.
    pub(crate) stalls: u64,
    /// From the write of some requests to each of their answers.
    pub(crate) answer_ns: Histogram<u64>,
    /// How late events were sent: the client's own share of the latency.
    pub(crate) late_ns: Histogram<u64>,
    /// From the start of a burst until every stream had all of it.
    pub(crate) burst_ns: Histogram<u64>,
    pub(crate) last_seqs: Vec<Option<u64>>,
    pub(crate) violations: Violations,
}

impl PublishOutcome {
    fn none(topics: u32) -> Self {
        Self {
            until: 0,
            events: 0,
            accepted: 0,
            refused: 0,
            unsent: 0,
            stalls: 0,
            answer_ns: latency_histogram(),
            late_ns: latency_histogram(),
            burst_ns: latency_histogram(),
            last_seqs: vec![None; topics as usize],
            violations: Violations::default(),
        }
    }

    pub(crate) fn published(&self) -> Published {
        Published { until: self.until, last_seqs: self.last_seqs.clone() }
    }

    fn merge(mut self, other: Self) -> Self {
        self.until = self.until.max(other.until);
        self.events += other.events;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.unsent += other.unsent;
        self.stalls += other.stalls;
        latency::add(&mut self.answer_ns, &other.answer_ns);
        latency::add(&mut self.late_ns, &other.late_ns);
        latency::add(&mut self.burst_ns, &other.burst_ns);
        for (mine, theirs) in self.last_seqs.iter_mut().zip(other.last_seqs) {
            *mine = (*mine).max(theirs);
        }
        self.violations.merge(other.violations);
        self
    }
}

/// The publisher threads of a run, at work.
pub(crate) struct Publishing {
    threads: Vec<JoinHandle<PublishOutcome>>,
}

impl Publishing {
    /// Begins to publish over all of `publishers` for `duration`.
    pub(crate) fn start(publishers: Vec<Publisher>, duration: Duration) -> Result<Self, String> {
        let begin_ns = now_ns();
        let spawn = |publisher: Publisher| {
            thread::Builder::new()
                .name(format!("publisher-{}", publisher.lane.index))
                .spawn(move || publisher.run(begin_ns, duration))
        };
        let threads = publishers.into_iter().map(spawn).collect::<io::Result<_>>();
        Ok(Self { threads: threads.map_err(|error| format!("starting a publisher: {error}"))? })
    }

    /// Ends publishing before its time is up.
    pub(crate) fn end(&self, run: &Run) {
        run.publishing_over.store(true, Relaxed);
        self.threads.iter().for_each(|publisher| publisher.thread().unpark());
    }

    pub(crate) fn join(self) -> Result<PublishOutcome, String> {
        let join = |publisher: JoinHandle<PublishOutcome>| {
            publisher.join().map_err(|_| "a publisher panicked".to_owned())
        };
        let outcomes: Vec<_> = self.threads.into_iter().map(join).collect::<Result<_, _>>()?;
        let outcome = outcomes.into_iter().reduce(PublishOutcome::merge);
        outcome.ok_or_else(|| "a run without publishers".to_owned())
    }
}

pub(crate) struct Publisher {
    run: Arc<Run>,
    connection: Connection,
    lane: Lane,
    pace: Pace,
    batch: u64,
    begin_ns: u64,
    stop_ns: u64,
    /// Events that will never be completed by the readers: refused, or given up.
    forgiven: u64,
    /// The burst at hand: when it began, and its events not yet sent.
    burst_begin_ns: u64,
    burst_left: u64,
    bursts: u32,
    last_seq: Option<u64>,
    outcome: PublishOutcome,
}

impl Publisher {
    /// One publisher for each of the run's connections.
    pub(crate) fn connect(
        run: &Arc<Run>,
        target: &PublishTarget,
        pace: Pace,
        batch: u32,
    ) -> Result<Vec<Self>, String> {
        let of = run.publishers.len() as u32;
        let lanes = (0..of).map(|index| Lane { index, of });
        lanes
            .map(|lane| Self::connect_one(run.clone(), target.clone(), lane, pace, batch))
            .collect()
    }

    fn connect_one(
        run: Arc<Run>,
        target: PublishTarget,
        lane: Lane,
        pace: Pace,
        batch: u32,
    ) -> Result<Self, String> {
        let outcome = PublishOutcome::none(run.plan.topics);
        Ok(Self {
            run,
            connection: Connection::open(target)?,
            lane,
            pace,
            batch: u64::from(batch),
            begin_ns: 0,
            stop_ns: 0,
            forgiven: 0,
            burst_begin_ns: 0,
            burst_left: 0,
            bursts: 0,
            last_seq: None,
            outcome,
        })
    }

    fn run(mut self, begin_ns: u64, duration: Duration) -> PublishOutcome {
        self.begin_ns = begin_ns;
        self.stop_ns = begin_ns.saturating_add(nanos(duration));
        while let Some(due) = self.wait_for_due() {
            let due = due.min(BURST_EVENTS_MAX).min(self.connection.pipelined_max() * self.batch);
            if let Err(what) = self.send_burst(due) {
                self.outcome.violations.add(Kind::Publish, || what);
                break;
            }
            let next = self.lane.number(self.outcome.events + BURST_EVENTS_MAX);
            if next > self.run.ledger.capacity() {
                break;
            }
        }
        if let Pace::Rate(rate) = self.pace {
            // What is due at the very end need not be sent.
            let until_ns = now_ns().min(self.stop_ns) - 1;
            self.outcome.unsent = self.due_at(until_ns, rate).saturating_sub(self.outcome.events);
        }
        self.outcome
    }

    /// Waits until at least one event is due; `None` when the time is up.
    fn wait_for_due(&mut self) -> Option<u64> {
        match self.pace {
            Pace::Rate(rate) => self.wait_for_clock(rate),
            Pace::Window { stall } => self.wait_for_window(nanos(stall), self.in_flight()),
            Pace::Bursts { every, stall } => self.wait_for_burst(nanos(every), nanos(stall)),
            Pace::Pipeline { requests } => {
                (!self.is_over(now_ns())).then(|| u64::from(requests) * self.batch)
            }
        }
    }

    fn is_over(&self, now_ns: u64) -> bool {
        now_ns >= self.stop_ns || self.run.publishing_over.load(Relaxed)
    }

    fn wait_for_clock(&self, rate: f64) -> Option<u64> {
        loop {
            let now = now_ns();
            if self.is_over(now) {
                return None;
            }
            let due = self.due_at(now, rate);
            if due > self.outcome.events {
                return Some(due - self.outcome.events);
            }
            let next = self.lane.number(self.outcome.events);
            wait_until(self.intended_ns(next, rate).max(now + 1));
        }
    }

    /// Events of this lane that are due by `at_ns`.
    fn due_at(&self, at_ns: u64, rate: f64) -> u64 {
        self.lane.below(((at_ns - self.begin_ns) as f64 * rate / 1e9) as u64 + 1)
    }

    fn intended_ns(&self, number: u64, rate: f64) -> u64 {
        self.begin_ns + (number as f64 * 1e9 / rate) as u64
    }

    fn in_flight(&self) -> u64 {
        let window = self.run.window.as_ref().expect("a closed loop has a window");
        u64::from(window.in_flight)
    }

    /// A burst goes out whole; the next one when its time has come and everybody has
    /// the one before.
    fn wait_for_burst(&mut self, every_ns: u64, stall_ns: u64) -> Option<u64> {
        if self.burst_left > 0 {
            return Some(self.burst_left);
        }
        if self.bursts > 0 {
            let stalls = self.outcome.stalls;
            self.wait_for_window(stall_ns, 1)?;
            if self.outcome.stalls == stalls && self.run.measuring.load(Relaxed) {
                self.outcome.burst_ns.saturating_record(now_ns() - self.burst_begin_ns);
            }
        }
        let due_ns = self.begin_ns + u64::from(self.bursts) * every_ns;
        loop {
            let now = now_ns();
            if self.is_over(now) {
                return None;
            }
            if now >= due_ns {
                self.burst_begin_ns = now;
                break;
            }
            wait_until(due_ns);
        }
        self.bursts += 1;
        self.burst_left = self.in_flight();
        Some(self.burst_left)
    }

    /// Waits until fewer than `below` events are on their way; gives how many are free of
    /// the window then.
    fn wait_for_window(&mut self, stall_ns: u64, below: u64) -> Option<u64> {
        let run = self.run.clone();
        let window = run.window.as_ref().expect("a closed loop has a window");
        let in_flight = u64::from(window.in_flight);
        let mut completed = window.completed();
        let mut give_up_ns = now_ns() + stall_ns;
        loop {
            window.announce_wait();
            let now_completed = window.completed();
            let now = now_ns();
            if self.is_over(now) {
                return None;
            }
            // Late readers can complete events that were given up: never below zero.
            let waiting = self.outcome.events.saturating_sub(now_completed + self.forgiven);
            if waiting < below {
                return Some(in_flight - waiting);
            }
            if now_completed > completed {
                completed = now_completed;
                give_up_ns = now + stall_ns;
            } else if now >= give_up_ns {
                self.outcome.stalls += 1;
                self.forgiven += waiting;
                continue;
            }
            wait_until(give_up_ns.min(self.stop_ns));
        }
    }

    /// Sends `due` events as pipelined requests and reads all answers.
    fn send_burst(&mut self, due: u64) -> Result<(), String> {
        let first = self.outcome.events;
        let until = first + due;
        let now = now_ns();
        let measuring = self.run.measuring.load(Relaxed);
        let mut from = first;
        while from < until {
            let to = until.min(from + self.batch);
            for number in (from..to).map(|at| self.lane.number(at)) {
                // Open loop: stamped with when it was due, so that a publisher held up
                // by the gateway does not hide the wait (coordinated omission).
                let stamp_ns = match self.pace {
                    Pace::Rate(rate) => self.intended_ns(number, rate).min(now),
                    Pace::Bursts { .. } => self.burst_begin_ns,
                    Pace::Window { .. } | Pace::Pipeline { .. } => now,
                };
                if measuring {
                    self.outcome.late_ns.saturating_record(now - stamp_ns);
                }
                let topic = self.run.plan.topic_of(number);
                let payload = Payload { number, stamp_ns };
                self.connection.add_event(topic, payload, &self.run);
            }
            self.connection.end_request();
            from = to;
        }
        self.outcome.events = until;
        self.outcome.until = self.lane.number(until - 1) + 1;
        self.burst_left = self.burst_left.saturating_sub(due);
        let sent_ns = now_ns();
        self.connection.send()?;
        let (mut from, mut refused) = (first, false);
        while from < until {
            let to = until.min(from + self.batch);
            let reply = self.connection.read_reply()?;
            if measuring {
                self.outcome.answer_ns.saturating_record(now_ns() - sent_ns);
            }
            refused |= self.settle(from, to, &reply)?;
            let counters = &self.run.publishers[self.lane.index as usize];
            counters.answered_below.store(self.lane.number(to), Release);
            counters.requests.fetch_add(1, Relaxed);
            counters.accepted.store(self.outcome.accepted, Relaxed);
            from = to;
        }
        // An open loop goes on as planned, whatever is refused.
        if refused && !matches!(self.pace, Pace::Rate(_)) {
            crate::clock::wait(REFUSED_PAUSE);
        }
        Ok(())
    }

    /// Books the answer for the lane's events `from..to`; true when it was a refusal.
    fn settle(&mut self, from: u64, to: u64, reply: &Reply) -> Result<bool, String> {
        let lane = self.lane;
        let numbers = (from..to).map(|at| lane.number(at));
        match reply {
            Reply::Refused => {
                numbers.for_each(|number| self.run.ledger.set_answer(number, Answer::Refused));
                self.outcome.refused += to - from;
                self.forgiven += to - from;
                Ok(true)
            }
            Reply::Accepted(ids) => {
                if ids.len() as u64 != to - from {
                    return Err(format!("{} ids for {} events", ids.len(), to - from));
                }
                for (number, id) in numbers.zip(ids) {
                    let parsed = EventId::parse(id.as_bytes());
                    let unusable = || format!("event {number} was answered with the id {id:?}");
                    self.accept(number, parsed.ok_or_else(unusable)?)?;
                }
                Ok(false)
            }
            Reply::AcceptedPlain => {
                for number in numbers {
                    self.accept(number, EventId::of_number(number))?;
                }
                Ok(false)
            }
        }
    }

    fn accept(&mut self, number: u64, id: EventId<'_>) -> Result<(), String> {
        let seq = id.seq;
        if let Some(last) = self.last_seq.filter(|last| seq <= *last) {
            return Err(format!("event {number} got seq {seq} after seq {last} was given"));
        }
        self.last_seq = Some(seq);
        if let Some(seen) = self.run.ledger.accept(number, id)? {
            self.outcome.violations.add(Kind::Corrupt, || {
                format!("event {number} was answered with seq {seq} and came first as seq {seen}")
            });
        }
        self.outcome.accepted += 1;
        let topic = self.run.plan.topic_of(number);
        self.outcome.last_seqs[topic as usize] = Some(seq);
        if let Some(window) = self.run.window.as_ref().filter(|window| window.is_unread(topic)) {
            window.complete();
        }
        Ok(())
    }
}
