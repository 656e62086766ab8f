//! One stream's promises, checked frame by frame while it is read.
//!
//! The hot path compares three numbers: the event's number with the one the stream
//! expects next, its id with the last one, its id with the one the ledger has. What
//! cannot be judged yet, because the 202 that names a lost event's id may still be on
//! its way, is kept as a hole or a gap and settled by `audit` when the run is over.
//!
//! A check outlives its stream's connection: who comes back with a cursor is held to
//! the same numbers, so that the seam has neither a hole nor a double.

pub(crate) mod audit;
pub(crate) mod control;
pub(crate) mod fairness;
pub(crate) mod tally;

use crate::check::control::{Control, Gap};
use crate::check::tally::Tally;
use crate::dialect::Dialect;
use crate::payload::{EventId, Payload};
use crate::plan::{Plan, Position};
use crate::run::Run;
use crate::violations::Kind;
use crate::wire::sse::Frame;

/// Events the stream jumped over: those that match it in `from..until`.
#[derive(Debug, Clone, Copy)]
struct Hole {
    from: u64,
    until: u64,
    /// Gaps received before the event that closed the hole: only these excuse it.
    gaps_seen: usize,
}

/// What only streams that lost something have.
#[derive(Debug, Default)]
struct Losses {
    holes: Vec<Hole>,
    gaps: Vec<Gap>,
    events_after_gap: u32,
}

/// How far the connection at hand is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Greeting {
    /// There was no `hello` yet.
    Owed,
    /// `hello` has denied to resume where the cursor was: a gap comes before the next event.
    GapOwed,
    Done,
}

#[derive(Debug)]
pub(crate) struct StreamCheck {
    pub(crate) stream: u32,
    expected: Position,
    /// Ids below this are behind a received event, a gap or a promised cursor.
    seq_min: u64,
    /// Ids below this were given before the stream began: `hello` said so.
    joined_seq: u64,
    greeting: Greeting,
    /// The connection was asked for with a cursor, that of the one before.
    resumes: bool,
    /// The stream was told to come back later, after so many ms.
    pub(crate) shed_ms: Option<u64>,
    /// The reason of the `end` event, once it came.
    pub(crate) ended: Option<Box<str>>,
    losses: Option<Box<Losses>>,
}

impl StreamCheck {
    pub(crate) fn new(stream: u32, plan: &Plan) -> Self {
        Self {
            stream,
            expected: plan.seek(stream, 0),
            seq_min: 0,
            joined_seq: 0,
            greeting: Greeting::Owed,
            resumes: false,
            shed_ms: None,
            ended: None,
            losses: None,
        }
    }

    /// The response head came, which is all the greeting that a plain server gives.
    pub(crate) fn on_head(&mut self, dialect: Dialect) {
        if dialect == Dialect::Plain {
            self.greeting = Greeting::Done;
        }
    }

    pub(crate) fn is_greeted(&self) -> bool {
        self.greeting != Greeting::Owed
    }

    /// The connection is gone; the stream comes back on another one, with its cursor.
    pub(crate) fn resume(&mut self) {
        self.greeting = Greeting::Owed;
        self.resumes = true;
        self.shed_ms = None;
        // What lies between the cursor and the end of the last gap is told again.
        let last_seq = self.last_seq();
        for gap in self.losses.iter_mut().flat_map(|losses| &mut losses.gaps) {
            if gap.seqs.end.checked_sub(1) > last_seq {
                gap.count = None;
            }
        }
    }

    /// The connection at hand is not the stream's first.
    pub(crate) fn resumes(&self) -> bool {
        self.resumes
    }

    /// What a stream that comes back sends as `Last-Event-ID`.
    pub(crate) fn last_event_id(&self, run: &Run) -> Option<String> {
        let epoch = run.ledger.epoch().filter(|_| self.resumes)?;
        Some(format!("{}-{}", String::from_utf8_lossy(epoch), self.last_seq()?))
    }

    /// Of the last id that the stream has seen.
    fn last_seq(&self) -> Option<u64> {
        self.seq_min.checked_sub(1)
    }

    /// Every event below number `until` was received, or is behind one that was.
    pub(crate) fn is_past(&self, until: u64) -> bool {
        self.expected.number >= until
    }

    /// Everything up to event `published` and id `seq` was received or declared lost.
    pub(crate) fn is_settled(&self, published: u64, seq: Option<u64>) -> bool {
        self.expected.number >= published || seq.is_none_or(|seq| self.seq_min > seq)
    }

    pub(crate) fn on_frame(&mut self, frame: &Frame<'_>, tally: &mut Tally) {
        if let (Some(data), None | Some(b"message")) = (frame.data, frame.event)
            && self.greeting == Greeting::Done
            && self.ended.is_none()
        {
            return self.on_event(frame.id, data, tally);
        }
        self.on_control(frame, tally);
    }

    fn on_event(&mut self, id: Option<&[u8]>, data: &[u8], tally: &mut Tally) {
        let Some(payload) = tally.run.format.read(data) else {
            return self.corrupt(tally, "an event's data is not what was published", id, data);
        };
        let own_id = match tally.run.dialect {
            Dialect::Tidegate => id.and_then(EventId::parse),
            Dialect::Plain => Some(EventId::of_number(payload.number)),
        };
        let Some(id) = own_id else {
            return self.corrupt(tally, "an event without a usable id", id, data);
        };
        if let Err(what) = tally.run.ledger.note_seen(payload.number, id) {
            let stream = self.stream;
            tally.violations.add(Kind::Corrupt, || format!("stream {stream}: {what}"));
            return;
        }
        if payload.number == self.expected.number && id.seq >= self.seq_min {
            self.expected = tally.run.plan.next(self.stream, self.expected);
            self.seq_min = id.seq + 1;
        } else if !self.on_unexpected(payload, id, tally) {
            return;
        }
        if let Some(losses) = &mut self.losses {
            losses.events_after_gap += 1;
        }
        tally.delivered(self.stream, payload);
    }

    fn corrupt(&self, tally: &mut Tally, what: &str, id: Option<&[u8]>, data: &[u8]) {
        tally.violations.add(Kind::Corrupt, || {
            let id = String::from_utf8_lossy(id.unwrap_or(b"none"));
            let data = String::from_utf8_lossy(&data[..data.len().min(80)]);
            format!("stream {}: {what}: id {id}, data {data:?}", self.stream)
        });
    }

    /// An event out of its place. True when it is new to the stream all the same.
    #[cold]
    fn on_unexpected(&mut self, payload: Payload, id: EventId<'_>, tally: &mut Tally) -> bool {
        let (stream, number, seq) = (self.stream, payload.number, id.seq);
        let run = tally.run.clone();
        let plan = &run.plan;
        if !plan.matches(stream, number) {
            let topic = plan.topic_name(plan.topic_of(number));
            tally.violations.add(Kind::Misrouted, || {
                format!("stream {stream} got event {number} (seq {seq}) of topic {topic}")
            });
            return false;
        }
        let (expected, seq_min) = (self.expected.number, self.seq_min);
        let passed = number < expected;
        if passed && !self.fill_hole(number) {
            tally.violations.add(Kind::Doubled, || {
                format!("stream {stream} got event {number} (seq {seq}) again; next was {expected}")
            });
            return false;
        }
        if passed || seq < seq_min {
            tally.violations.add(Kind::OutOfOrder, || {
                format!(
                    "stream {stream} got event {number} (seq {seq}) after event, gap or cursor of \
                     seq {}; expected event {expected}",
                    seq_min.saturating_sub(1)
                )
            });
        }
        if !passed {
            if number > expected {
                let losses = self.losses.get_or_insert_default();
                let gaps_seen = losses.gaps.len();
                losses.holes.push(Hole { from: expected, until: number, gaps_seen });
                for lost in plan.matching(stream, expected, number) {
                    tally.settle(stream, lost);
                }
            }
            self.expected = plan.seek(stream, number + 1);
        }
        self.seq_min = self.seq_min.max(seq + 1);
        true
    }

    /// Takes `number` out of the hole it lies in; false when it lies in none.
    fn fill_hole(&mut self, number: u64) -> bool {
        let Some(losses) = &mut self.losses else {
            return false;
        };
        let inside = |hole: &Hole| (hole.from..hole.until).contains(&number);
        let Some(at) = losses.holes.iter().position(inside) else {
            return false;
        };
        let hole = losses.holes.remove(at);
        losses.holes.push(Hole { until: number, ..hole });
        losses.holes.push(Hole { from: number + 1, ..hole });
        true
    }

    fn on_control(&mut self, frame: &Frame<'_>, tally: &mut Tally) {
        if tally.run.dialect == Dialect::Plain {
            // Comments and lone ids keep a connection alive; data is never control.
            match frame.data {
                None => tally.heartbeats += 1,
                Some(_) => self.protocol(tally, "an event that nobody here published"),
            }
            return;
        }
        let control = match control::read(frame) {
            Ok(control) => control,
            Err(what) => return self.protocol(tally, &what),
        };
        if let Some(reason) = &self.ended {
            let what = format!("{control:?} after end({reason})");
            return self.protocol(tally, &what);
        }
        if !self.is_greeted() && !matches!(control, Control::Hello { .. }) {
            let what = format!("{control:?} before hello");
            return self.protocol(tally, &what);
        }
        match control {
            Control::Hello { .. } if self.is_greeted() => self.protocol(tally, "a second hello"),
            Control::Hello { cursor, resumed } if self.resumes => {
                self.on_return(cursor.as_deref(), resumed, tally);
            }
            Control::Hello { cursor, .. } => {
                self.greeting = Greeting::Done;
                self.promise(cursor.as_deref(), tally);
                self.joined_seq = self.seq_min;
                self.expected =
                    tally.run.plan.seek(self.stream, self.first_after_hello(&tally.run));
            }
            Control::Heartbeat { cursor } => {
                tally.heartbeats += 1;
                self.promise(cursor, tally);
            }
            Control::Gap(gap) => {
                if gap.count.is_none() && gap.reason == "slow" {
                    self.protocol(tally, "gap(slow) without a count");
                }
                if matches!(gap.reason.as_str(), "epoch" | "ahead") {
                    let what = format!("gap({}) for a cursor that this gateway gave", gap.reason);
                    self.protocol(tally, &what);
                }
                tally.gaps += 1;
                self.greeting = Greeting::Done;
                self.seq_min = self.seq_min.max(gap.cursor + 1);
                let losses = self.losses.get_or_insert_default();
                losses.gaps.push(gap);
                losses.events_after_gap = 0;
            }
            Control::End { reason } => self.ended = Some(reason.into()),
            Control::Retry { ms } => self.shed_ms = Some(ms),
            Control::Event if self.greeting == Greeting::GapOwed => {
                self.protocol(tally, "hello with resumed: false, and no gap before the next event");
                self.greeting = Greeting::Done;
                self.on_frame(frame, tally);
            }
            Control::Event => self.protocol(tally, "an event that nobody here published"),
        }
    }

    /// `hello` on a stream that came back: it goes on where it was, or is told of a gap.
    fn on_return(&mut self, cursor: Option<&[u8]>, resumed: bool, tally: &mut Tally) {
        self.greeting = if resumed { Greeting::Done } else { Greeting::GapOwed };
        let sent = self.last_event_id(&tally.run).unwrap_or_default();
        let cursor = String::from_utf8_lossy(cursor.unwrap_or_default());
        if cursor != sent {
            self.protocol(tally, &format!("hello with cursor {cursor:?} after {sent:?} was sent"));
        }
    }

    /// The stream gets what has an id above its `hello`. That can be less than what was
    /// answered before it came: an event may be answered and still be on its way to the
    /// shard that says `hello`. Events not answered yet are left to the audit.
    fn first_after_hello(&self, run: &Run) -> u64 {
        let mut first = run.answered_below();
        while first > 0 && run.ledger.seq(first - 1).is_none_or(|seq| seq >= self.joined_seq) {
            first -= 1;
        }
        first
    }

    /// A cursor says that all before it was delivered: what comes later must be above.
    fn promise(&mut self, cursor: Option<&[u8]>, tally: &mut Tally) {
        let Some(cursor) = cursor.filter(|cursor| !cursor.is_empty()) else {
            return;
        };
        let Some(id) = EventId::parse(cursor) else {
            let what = format!("cursor {:?}", String::from_utf8_lossy(cursor));
            return self.protocol(tally, &what);
        };
        match tally.run.ledger.note_epoch(id.epoch) {
            Ok(()) => self.seq_min = self.seq_min.max(id.seq + 1),
            Err(what) => self.protocol(tally, &what),
        }
    }

    pub(crate) fn protocol(&self, tally: &mut Tally, what: &str) {
        if !self.is_greeted() {
            // Without a good `hello` the stream never counts as open: say why, now.
            tally.run.fail_open(format!("stream {}: {what}", self.stream));
        }
        tally.violations.add(Kind::Protocol, || format!("stream {}: {what}", self.stream));
    }
}
