//! A reader thread: opens its share of the streams, reads them all through one epoll
//! (edge-triggered, by mio), checks every frame, and hands back what it saw.
//!
//! One thread verifies a few million events a second, so that the gateway, on a core
//! of its own, is what a run measures.

mod absent;
mod dial;
mod stream;

use std::io;
use std::iter::{Peekable, StepBy};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::check::StreamCheck;
use crate::check::tally::Tally;
use crate::clock::now_ns;
use crate::run::{Phase, Run};

use absent::Absent;
pub(crate) use dial::Dial;
pub(crate) use stream::{Close, StreamEnd};
use stream::{Stream, Turn};

/// One read takes at most this; larger reads do not pay and fall out of the L2 cache.
const READ_BYTES: usize = 64 << 10;
/// Events per poll. Small enough that the clock reading of a sweep stays fresh.
const POLL_EVENTS: usize = 1024;
/// How soon a thread sees a change of phase.
const TICK: Duration = Duration::from_millis(5);
/// How often settling streams are counted, and leaving ones looked at.
const LOOK_NS: u64 = 20_000_000;

pub(crate) struct Outcome {
    pub(crate) streams: Vec<StreamEnd>,
    pub(crate) tally: Tally,
}

pub(crate) struct Reader {
    thread: u32,
    dial: Arc<Dial>,
    poll: Poll,
    streams: Slab<Stream>,
    /// This thread's streams that were not opened yet.
    unopened: Peekable<StepBy<Range<u32>>>,
    opening: u32,
    started: u32,
    opened_from_ns: u64,
    ended: Vec<StreamEnd>,
    absent: Absent,
    tally: Tally,
    unstuck: bool,
    /// Streams numbered below this have left.
    left_below: u32,
    leave_looked_ns: u64,
    looked_ns: u64,
}

impl Reader {
    pub(crate) fn new(run: Arc<Run>, dial: Arc<Dial>, thread: u32) -> io::Result<Self> {
        let unopened = run.plan.streams_of(thread);
        Ok(Self {
            thread,
            dial,
            poll: Poll::new()?,
            streams: Slab::with_capacity(unopened.len()),
            unopened: unopened.peekable(),
            opening: 0,
            started: 0,
            opened_from_ns: now_ns(),
            ended: Vec::new(),
            absent: Absent::default(),
            tally: Tally::new(run, thread),
            unstuck: false,
            left_below: 0,
            leave_looked_ns: 0,
            looked_ns: 0,
        })
    }

    pub(crate) fn run(mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(POLL_EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let phase = self.tally.run.phase();
            if phase == Phase::Stop {
                break;
            }
            self.open_more();
            self.go_and_come_back();
            match self.poll.poll(&mut events, Some(TICK)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            let run = &self.tally.run;
            self.tally.measuring = run.measuring.load(Relaxed) && run.plan.is_measured(self.thread);
            self.tally.period = run.period.load(Relaxed) as usize;
            for event in &events {
                if event.is_writable() {
                    self.on_writable(event.token().0);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    let hung_up = event.is_read_closed() || event.is_error();
                    self.on_readable(event.token().0, hung_up, &mut buffer);
                }
            }
            if phase == Phase::Unstick && !self.unstuck {
                self.unstuck = true;
                let keys: Vec<usize> = self.streams.iter().map(|(key, _)| key).collect();
                for key in keys {
                    self.on_readable(key, true, &mut buffer);
                }
            }
            self.let_leave();
            self.publish_counters(phase);
        }
        let rest = self.streams.drain().map(|stream| stream.into_end(Close::Open));
        self.ended.extend(rest.chain(self.absent.into_ends()));
        Ok(Outcome { streams: self.ended, tally: self.tally })
    }

    fn open_more(&mut self) {
        let run = self.tally.run.clone();
        let until = run.open_below.load(Relaxed);
        if self.unopened.peek().is_none_or(|next| *next >= until) {
            self.opened_from_ns = now_ns();
            self.started = 0;
            return;
        }
        let mut budget = self.dial.budget(self.opened_from_ns, self.started, run.plan.threads);
        while self.opening < self.dial.connects_in_flight
            && budget > 0
            && let Some(number) = self.unopened.next_if(|next| *next < until)
        {
            budget -= 1;
            self.started += 1;
            let check = StreamCheck::new(number, &run.plan);
            if let Err(error) = self.open(check, &run) {
                run.fail_open(format!("stream {number}: {error}"));
                self.unopened = (0..0).step_by(1).peekable();
                return;
            }
            self.opening += 1;
        }
    }

    fn open(&mut self, check: StreamCheck, run: &Run) -> io::Result<()> {
        let number = check.stream;
        let socket = self.dial.connect(number, run.plan.is_stuck(number))?;
        let entry = self.streams.vacant_entry();
        let token = Token(entry.key());
        let stream = entry.insert(Stream::new(socket, check));
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(stream.socket_mut(), token, interest)
    }

    fn on_writable(&mut self, key: usize) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        if !stream.is_connecting() {
            return;
        }
        let run = &self.tally.run;
        let cursor = stream.check().last_event_id(run);
        let request = self.dial.request(&run.plan, stream.number(), cursor.as_deref());
        if let Err(error) = stream.send_request(&request) {
            run.fail_open(format!("stream {}: {error}", stream.number()));
            self.opening -= u32::from(!stream.check().resumes());
            self.streams.remove(key);
        }
    }

    fn on_readable(&mut self, key: usize, hung_up: bool, buffer: &mut [u8]) {
        let Some(stream) = self.streams.get_mut(key) else {
            return;
        };
        let greeted = stream.is_greeted();
        if greeted && !self.unstuck && self.tally.run.plan.is_stuck(stream.number()) {
            return;
        }
        let deliveries = self.tally.deliveries;
        let turn = stream.read(hung_up, buffer, &mut self.tally);
        if stream.check().resumes() {
            let received = self.tally.deliveries - deliveries;
            return self.on_read_by_returning(key, greeted, received, turn);
        }
        if !greeted && stream.is_greeted() {
            self.opening -= 1;
            let counters = &self.tally.run.readers[self.thread as usize];
            counters.opened.fetch_add(1, Relaxed);
            let took = self.tally.arrived_ns.saturating_sub(stream.connect_ns());
            self.tally.hello_ns.saturating_record(took);
        }
        match turn {
            Turn::Goes => {}
            Turn::Closed(close) => {
                if !stream.is_greeted() {
                    self.opening -= 1;
                    self.tally.run.fail_open(format!("stream {}: {close}", stream.number()));
                }
                self.end(key, close);
            }
        }
    }

    fn end(&mut self, key: usize, close: Close) {
        self.ended.push(self.streams.remove(key).into_end(close));
        self.tally.run.readers[self.thread as usize].ended.fetch_add(1, Relaxed);
    }

    /// Closes the streams that were told to leave and may.
    fn let_leave(&mut self) {
        let run = self.tally.run.clone();
        let below = run.leave_below.load(Relaxed);
        let now = now_ns();
        if self.left_below == below || now - self.leave_looked_ns < LOOK_NS {
            return;
        }
        self.leave_looked_ns = now;
        let mut staying = self.unopened.peek().is_some_and(|next| *next < below);
        let mut leaving = Vec::new();
        for (key, stream) in &mut self.streams {
            if stream.number() >= below {
                continue;
            }
            if stream.is_greeted() && stream.leave(&run, now) {
                leaving.push(key);
            } else {
                staying = true;
            }
        }
        for key in leaving {
            self.end(key, Close::Left);
        }
        if !staying {
            self.left_below = below;
        }
    }

    fn publish_counters(&mut self, phase: Phase) {
        let run = &self.tally.run;
        let counters = &run.readers[self.thread as usize];
        counters.deliveries.store(self.tally.deliveries, Relaxed);
        counters.heartbeats.store(self.tally.heartbeats, Relaxed);
        let Some(published) = run.published.get() else {
            return;
        };
        let now = now_ns();
        if phase == Phase::Live || now - self.looked_ns < LOOK_NS {
            return;
        }
        self.looked_ns = now;
        let behind = self.streams.iter().filter(|(_, stream)| {
            if phase == Phase::Settle && run.plan.is_stuck(stream.number()) {
                return false;
            }
            let last = run.plan.topics_of(stream.number());
            let last = last.filter_map(|topic| published.last_seqs[topic as usize]).max();
            !stream.check().is_settled(published.until, last)
        });
        let behind = behind.count() + self.absent.count();
        counters.behind.store(behind as u32, Relaxed);
        counters.phase_seen.store(phase as u8, Release);
    }
}
