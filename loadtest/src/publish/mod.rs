//! The publisher thread: sends the run's events, reads every answer, keeps the books.
//!
//! One blocking keep-alive connection. What is due at one moment goes out as one burst
//! of pipelined requests in one write, then all their answers are read. Pipelining
//! rather than many connections, because it keeps the publish order known: ids must
//! rise with it, which is what lets readers predict their next event. Rather than only
//! batches, because a request per event is what ordinary upstreams send; `--batch`
//! groups due events into JSON arrays where that is what is to be measured.
//!
//! A number that was refused (429, 503) is never used again: a retry is a new event.
//! So a refused event that is delivered all the same is noticed.

mod connection;

use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::check::tally::latency_histogram;
use crate::clock::{nanos, now_ns, wait_until};
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
    /// Events a second, sent when due whatever happens (open loop).
    Rate(f64),
    /// As many as the window of the run allows (closed loop).
    Window { stall: Duration },
}

pub(crate) struct PublishOutcome {
    /// Numbers used.
    pub(crate) events: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    /// Times the closed loop gave up waiting for the readers and went on.
    pub(crate) stalls: u64,
    /// From the write of a burst to each of its answers.
    pub(crate) answer_ns: Histogram<u64>,
    /// How late bursts were sent: the client's own share of the latency.
    pub(crate) late_ns: Histogram<u64>,
    pub(crate) last_seqs: Vec<Option<u64>>,
    pub(crate) violations: Violations,
}

impl PublishOutcome {
    pub(crate) fn published(&self) -> Published {
        Published { events: self.events, last_seqs: self.last_seqs.clone() }
    }
}

pub(crate) struct Publisher {
    run: Arc<Run>,
    connection: Connection,
    pace: Pace,
    batch: u64,
    begin_ns: u64,
    stop_ns: u64,
    /// Events that will never be completed by the readers: refused, or given up.
    forgiven: u64,
    last_seq: Option<u64>,
    outcome: PublishOutcome,
}

impl Publisher {
    pub(crate) fn connect(
        run: Arc<Run>,
        target: PublishTarget,
        pace: Pace,
        batch: u32,
    ) -> Result<Self, String> {
        let topics = run.plan.topics as usize;
        Ok(Self {
            run,
            connection: Connection::open(target)?,
            pace,
            batch: u64::from(batch),
            begin_ns: 0,
            stop_ns: 0,
            forgiven: 0,
            last_seq: None,
            outcome: PublishOutcome {
                events: 0,
                accepted: 0,
                refused: 0,
                stalls: 0,
                answer_ns: latency_histogram(),
                late_ns: latency_histogram(),
                last_seqs: vec![None; topics],
                violations: Violations::default(),
            },
        })
    }

    pub(crate) fn run(mut self, duration: Duration) -> PublishOutcome {
        self.begin_ns = now_ns();
        self.stop_ns = self.begin_ns + nanos(duration);
        while let Some(due) = self.wait_for_due() {
            let due = due.min(BURST_EVENTS_MAX).min(self.connection.pipelined_max() * self.batch);
            if let Err(what) = self.send_burst(due) {
                self.outcome.violations.add(Kind::Publish, || what);
                break;
            }
            if self.outcome.events + BURST_EVENTS_MAX > self.run.ledger.capacity() {
                break;
            }
        }
        self.outcome
    }

    /// Waits until at least one event is due; `None` when the time is up.
    fn wait_for_due(&mut self) -> Option<u64> {
        match self.pace {
            Pace::Rate(rate) => self.wait_for_clock(rate),
            Pace::Window { stall } => self.wait_for_window(nanos(stall)),
        }
    }

    fn wait_for_clock(&self, rate: f64) -> Option<u64> {
        loop {
            let now = now_ns();
            if now >= self.stop_ns {
                return None;
            }
            let due = ((now - self.begin_ns) as f64 * rate / 1e9) as u64 + 1;
            if due > self.outcome.events {
                return Some(due - self.outcome.events);
            }
            wait_until(self.intended_ns(self.outcome.events, rate).max(now + 1));
        }
    }

    fn intended_ns(&self, number: u64, rate: f64) -> u64 {
        self.begin_ns + (number as f64 * 1e9 / rate) as u64
    }

    fn wait_for_window(&mut self, stall_ns: u64) -> Option<u64> {
        let run = self.run.clone();
        let window = run.window.as_ref().expect("a closed loop has a window");
        let in_flight = u64::from(window.in_flight);
        let mut completed = window.completed();
        let mut give_up_ns = now_ns() + stall_ns;
        loop {
            window.announce_wait();
            let now_completed = window.completed();
            let now = now_ns();
            if now >= self.stop_ns {
                return None;
            }
            // Late readers can complete events that were given up: never below zero.
            let waiting = self.outcome.events.saturating_sub(now_completed + self.forgiven);
            if waiting < in_flight {
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
        let mut from = first;
        while from < until {
            let to = until.min(from + self.batch);
            for number in from..to {
                // Open loop: stamped with when it was due, so that a publisher held up
                // by the gateway does not hide the wait (coordinated omission).
                let stamp_ns = match self.pace {
                    Pace::Rate(rate) => self.intended_ns(number, rate).min(now),
                    Pace::Window { .. } => now,
                };
                self.outcome.late_ns.saturating_record(now - stamp_ns);
                let topic = self.run.plan.topic_of(number);
                let payload = Payload { number, stamp_ns };
                self.connection.add_event(topic, payload, &self.run);
            }
            self.connection.end_request();
            from = to;
        }
        self.outcome.events = until;
        let sent_ns = now_ns();
        self.connection.send()?;
        let (mut from, mut refused) = (first, false);
        while from < until {
            let to = until.min(from + self.batch);
            let reply = self.connection.read_reply()?;
            self.outcome.answer_ns.saturating_record(now_ns() - sent_ns);
            refused |= self.settle(from, to, &reply)?;
            from = to;
        }
        if refused && matches!(self.pace, Pace::Window { .. }) {
            crate::clock::wait(REFUSED_PAUSE);
        }
        Ok(())
    }

    /// Books the answer for events `from..to`; true when it was a refusal.
    fn settle(&mut self, from: u64, to: u64, reply: &Reply) -> Result<bool, String> {
        match reply {
            Reply::Refused => {
                for number in from..to {
                    self.run.ledger.set_answer(number, Answer::Refused);
                }
                self.outcome.refused += to - from;
                self.forgiven += to - from;
                Ok(true)
            }
            Reply::Accepted(ids) => {
                if ids.len() as u64 != to - from {
                    return Err(format!("{} ids for events {from}..{to}", ids.len()));
                }
                for (number, id) in (from..to).zip(ids) {
                    let parsed = EventId::parse(id.as_bytes());
                    let unusable = || format!("event {number} was answered with the id {id:?}");
                    self.accept(number, parsed.ok_or_else(unusable)?)?;
                }
                Ok(false)
            }
            Reply::AcceptedPlain => {
                for number in from..to {
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
