//! Streams that lose their connections and come back with their cursors, all at once.
//!
//! The client closes, so it knows exactly what it has read: its cursor is its last id, and
//! the first event after it is the next one owed. A stream that is shed comes back with
//! the same cursor when it was told to.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::check::StreamCheck;
use crate::clock::now_ns;
use crate::reader::stream::{Times, Turn};
use crate::reader::{Close, Reader, StreamEnd};

/// Connects begun between two polls: not paced, but what has come is read meanwhile.
const CONNECTS_MAX: usize = 64;

#[derive(Default)]
pub(super) struct Absent {
    /// By when they may come back, and their number.
    checks: BTreeMap<(u64, u32), StreamCheck>,
    /// Whether all are to be away, as of the last look.
    away: bool,
    /// When they were let back.
    since_ns: u64,
    /// Streams that are not caught up, and how far they must come once they are greeted.
    returning: HashMap<u32, Option<u64>>,
}

impl Reader {
    /// Does what the scenario wants of all streams but the live ones.
    pub(super) fn go_and_come_back(&mut self) {
        let away = self.tally.run.away.load(Relaxed);
        match (self.absent.away, away) {
            (false, true) => self.go(),
            (true, false) => self.absent.since_ns = now_ns(),
            _ => {}
        }
        self.absent.away = away;
        if !away {
            self.come_back();
        }
        let counters = &self.tally.run.readers[self.thread as usize];
        counters.returning.store(self.absent.returning.len() as u32, Relaxed);
        counters.away_seen.store(away, Release);
    }

    fn go(&mut self) {
        let run = self.tally.run.clone();
        let goes = |key: &usize| self.streams[*key].number() >= run.plan.live;
        let keys: Vec<usize> = self.streams.iter().map(|(key, _)| key).filter(goes).collect();
        for key in keys {
            self.absent.expect(self.streams.remove(key).into_check(), 0);
        }
    }

    fn come_back(&mut self) {
        let run = self.tally.run.clone();
        let now = now_ns();
        for _ in 0..CONNECTS_MAX {
            let first = self.absent.checks.first_entry();
            let Some(due) = first.filter(|first| first.key().0 <= now) else { return };
            let check = due.remove();
            let stream = check.stream;
            if let Err(error) = self.open(check, &run) {
                return run.fail_open(format!("stream {stream}, coming back: {error}"));
            }
        }
    }

    /// A stream that came back has read `received` events; before it, it was greeted or not.
    pub(super) fn on_read_by_returning(
        &mut self,
        key: usize,
        greeted: bool,
        received: u64,
        turn: Turn,
    ) {
        let stream = &self.streams[key];
        let (check, returns) = (stream.check(), &mut self.tally.returns);
        if !greeted && check.is_greeted() {
            let took = self.tally.arrived_ns.saturating_sub(stream.connect_ns());
            returns.hello_ns.saturating_record(took);
        }
        if let Some(past) = self.absent.returning.get_mut(&check.stream) {
            returns.replayed += received;
            if check.is_greeted() && check.shed_ms.is_none() {
                // What is answered later comes live.
                let past = *past.get_or_insert_with(|| self.tally.run.answered_below());
                if check.is_past(past) {
                    self.absent.returning.remove(&check.stream);
                    let took = self.tally.arrived_ns.saturating_sub(self.absent.since_ns);
                    returns.caught_up_ns.saturating_record(took);
                }
            }
        }
        match (turn, check.shed_ms) {
            (Turn::Goes, _) => {}
            (Turn::Closed(Close::Clean), Some(ms)) => {
                returns.shed += 1;
                let due_ns = now_ns() + ms * 1_000_000;
                self.absent.expect(self.streams.remove(key).into_check(), due_ns);
            }
            (Turn::Closed(close), _) => {
                self.absent.returning.remove(&check.stream);
                self.end(key, close);
            }
        }
    }
}

impl Absent {
    /// Streams without a connection.
    pub(super) fn count(&self) -> usize {
        self.checks.len()
    }

    /// What is left of them after the run.
    pub(super) fn into_ends(self) -> impl Iterator<Item = StreamEnd> {
        let end =
            |check| StreamEnd { check, times: Times::default(), close: Close::Open, left_at: None };
        self.checks.into_values().map(end)
    }

    /// The stream of `check` comes back, not before `due_ns`.
    fn expect(&mut self, mut check: StreamCheck, due_ns: u64) {
        check.resume();
        self.returning.insert(check.stream, None);
        self.checks.insert((due_ns, check.stream), check);
    }
}
