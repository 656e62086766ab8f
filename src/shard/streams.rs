//! All streams of one shard: what they are kept in, and how one falls behind, catches up, ends and
//! goes. The rest of a stream's life is in `open`, `deliver` (events come), `sweep` (bytes go) and
//! `timers` (time passes).

use std::collections::{HashMap, VecDeque};
use std::io::{self};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use slab::Slab;

use super::audience::{Audiences, StreamKey};
use super::batch::Batches;
use super::framing::Transfer;
use super::gaps::{Told, ToldGaps};
use super::index::AudienceKey;
use super::pages::Pages;
use super::poll_set::PollSet;
use super::replay::Replay;
use super::ring::{Displaced, Ring};
use super::route::{StreamRoute, StreamRoutes};
use super::subscriber::{Backlog, Phase, Sink, Subscriber};
use super::wheel::{Tick, Wheel};
use crate::access::Access;
use crate::config::schema::{Config, Slow};
use crate::event::Event;
use crate::hook::Revoked;
use crate::hub::{EventMailbox, Hub};
use crate::interest::Interest;
use crate::metrics::{Closed, Dropped, Protocol, Replayed, ShardMetrics};
use crate::sse::{EndReason, GapReason};
use crate::subscribe::control::Gap;
use crate::subscribe::{RouteSettings, Routes};

/// Ends a chunked body (RFC 9112, 7.1).
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Longest time for a stream that ends to take what still waits for it.
const ENDING_MS: u64 = 5_000;

/// Longest time for a client to close after the stream's end.
const LINGER_MS: u64 = 1_000;

/// Rings kept for the next stream that falls behind. Worst case a shard: this times 16 bytes times
/// `ring_frames_max`.
const POOLED_RINGS: usize = 64;

/// The streams of one shard. Only its thread ever touches this.
pub(super) struct Streams {
    /// The shard's place among the shards.
    pub(super) shard: usize,
    /// What the streams are like, by route.
    pub(super) routes: StreamRoutes,
    /// What the kernel may hold of one stream, in bytes.
    pub(super) send_buffer: usize,
    /// Streams of this shard that may be reading their past.
    pub(super) replays_max: usize,
    pub(super) hub: Arc<Hub>,
    pub(super) mailbox: Arc<EventMailbox>,
    pub(super) metrics: Arc<ShardMetrics>,

    pub(super) subscribers: Slab<Subscriber>,
    pub(super) audiences: Audiences,
    pub(super) batches: Batches,
    pub(super) pages: Pages,
    pub(super) poll_set: PollSet,
    pub(super) wheel: Wheel,
    rings: Vec<Ring>,
    pub(super) generations: u32,

    /// `seq` of the last event taken from the mailbox: where a new stream begins.
    pub(super) applied: u64,
    /// Audiences with visits owed.
    pub(super) sweepable: VecDeque<AudienceKey>,
    /// Visits to be made before more is taken from the mailbox.
    pub(super) visits_before_mail: usize,
    /// Streams with a backlog whose socket may take it.
    pub(super) writable: VecDeque<StreamKey>,
    /// Streams whose timer has come.
    pub(super) due: Vec<StreamKey>,
    /// Streams that open after this was set end by then.
    pub(super) drain_by: Option<Tick>,

    /// The sessions of those streams that have one.
    pub(super) sessions: HashMap<StreamKey, Arc<str>>,
    pub(super) revoked: Revoked,
    /// The requests of those streams that have lines in the access log.
    pub(super) access: HashMap<StreamKey, Box<Access>>,

    /// Buffers that are empty between uses.
    pub(super) matching: Vec<AudienceKey>,
    pub(super) taken: Vec<Arc<Event>>,
    pub(super) overrun: Vec<StreamKey>,
    /// Streams whose topics are over, while an event is delivered.
    pub(super) over: Vec<StreamKey>,
    /// What is fetched for audiences, as long as they are there.
    pub(super) interests: HashMap<AudienceKey, Interest>,

    /// The last gaps that streams were told of.
    pub(super) told_gaps: ToldGaps,

    started: Instant,
    /// The same moment by the calendar: for people only.
    pub(super) started_at: SystemTime,
    /// The time, as of the last look or the last write.
    pub(super) now: Instant,
    /// The tick of the last look: a write does not need to know it better than by a slice.
    pub(super) tick: Tick,
}

impl Streams {
    pub(super) fn new(
        shard: usize,
        config: &Config,
        routes: &Routes,
        hub: Arc<Hub>,
        mailbox: Arc<EventMailbox>,
        metrics: Arc<ShardMetrics>,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let route = |settings: &Arc<RouteSettings>| StreamRoute::new(settings, hub.epoch());
        Ok(Self {
            shard,
            routes: StreamRoutes(routes.settings().iter().map(route).collect()),
            send_buffer: config.server.send_buffer.0,
            replays_max: config.history.replays_max,
            applied: hub.head(),
            hub,
            mailbox,
            metrics,
            subscribers: Slab::new(),
            audiences: Audiences::default(),
            batches: Batches::default(),
            pages: Pages::default(),
            poll_set: PollSet::new()?,
            wheel: Wheel::starting_at(Tick(0)),
            rings: Vec::new(),
            generations: 0,
            sweepable: VecDeque::new(),
            visits_before_mail: 0,
            writable: VecDeque::new(),
            due: Vec::new(),
            drain_by: None,
            sessions: HashMap::new(),
            revoked: Revoked::default(),
            access: HashMap::new(),
            matching: Vec::new(),
            taken: Vec::new(),
            overrun: Vec::new(),
            over: Vec::new(),
            interests: HashMap::new(),
            told_gaps: ToldGaps::default(),
            started: now,
            started_at: SystemTime::now(),
            now,
            tick: Tick(0),
        })
    }

    /// Streams that open from now on are like this. Those that are open keep what they have.
    pub(super) fn adopt(&mut self, config: &Config, routes: &Routes) {
        let epoch = self.hub.epoch();
        let known = self.routes.0.len();
        let new = routes.settings()[known..].iter();
        self.routes.0.extend(new.map(|settings| StreamRoute::new(settings, epoch)));
        self.send_buffer = config.server.send_buffer.0;
        self.replays_max = config.history.replays_max;
    }

    /// Looks at the clock: at the beginning of a turn, of a slice, and of a call from outside.
    pub(super) fn look_at_clock(&mut self) {
        self.now = Instant::now();
        let since_start = self.now.saturating_duration_since(self.started);
        self.tick = Tick::at_ms(since_start.as_millis() as u64);
    }

    /// The instant at which a tick begins.
    pub(super) fn instant_of(&self, tick: Tick) -> Instant {
        self.started + Duration::from_millis(u64::from(tick.0) * super::wheel::TICK_MS)
    }

    /// Whether `key` is still the stream that it was when it had this generation.
    pub(super) fn is(&self, key: StreamKey, generation: u32) -> bool {
        self.subscribers.get(key).is_some_and(|stream| stream.generation == generation)
    }

    /// Notes that a stream is told of a gap. Of a whole one nothing is sent.
    pub(super) fn note_gap(&mut self, key: StreamKey, generation: u32, gap: Gap, is_whole: bool) {
        self.metrics.gaps[gap.reason as usize].add(1);
        let at = self.tick;
        self.told_gaps.add(Told { key, generation, gap, is_whole, at });
    }

    /// Gives a stream a ring of its own, with what it has not been sent of the audience's log. Where
    /// something of that is gone from the log, it may be in the history.
    pub(super) fn fall_behind(&mut self, key: StreamKey) {
        let subscriber = &mut self.subscribers[key];
        let route = &self.routes[subscriber.route];
        let audience = &mut self.audiences[subscriber.audience];
        if route.slow == Slow::CatchUp && audience.log.lost_to(subscriber.cursor).is_some() {
            let replay = Replay::after(subscriber.sent, GapReason::Slow);
            subscriber.backlog = None;
            return self.begin_replay(key, replay);
        }
        // Nearly always the last: most streams are of one kind.
        let fits = self.rings.iter().rposition(|ring| ring.bounds() == route.bounds);
        let mut ring = match fits {
            Some(at) => self.rings.swap_remove(at),
            None => Ring::new(route.bounds),
        };
        if let Some(lost) = audience.log.lost_to(subscriber.cursor) {
            self.metrics.events_dropped[Dropped::Slow as usize].add(lost.count);
            ring.owe(lost);
        }
        for event in audience.log.from(subscriber.cursor) {
            let Displaced { conflated, .. } = ring.push(Arc::clone(event));
            self.metrics.events_conflated.add(conflated);
        }
        self.metrics.ring_frames.add(ring.len() as u64);
        let backlog =
            Backlog { ring: Some(ring), behind_seat: audience.behind.len(), ..Backlog::default() };
        subscriber.backlog = Some(Box::new(backlog));
        audience.behind.push(key);
    }

    /// Everything that waited is written: the stream reads from the audience's log again.
    pub(super) fn catch_up(&mut self, key: StreamKey) {
        self.leave_behind(key);
        let subscriber = &mut self.subscribers[key];
        subscriber.cursor = self.audiences[subscriber.audience].log.end();
        if let Some(ring) = subscriber.backlog.take().and_then(|backlog| backlog.ring) {
            self.recycle(ring);
        }
    }

    pub(super) fn leave_behind(&mut self, key: StreamKey) {
        let subscriber = &self.subscribers[key];
        let backlog = subscriber.backlog.as_ref().filter(|backlog| backlog.ring.is_some());
        let Some(seat) = backlog.map(|backlog| backlog.behind_seat) else { return };
        let behind = &mut self.audiences[subscriber.audience].behind;
        behind.swap_remove(seat);
        if let Some(&moved) = behind.get(seat) {
            self.backlog(moved).behind_seat = seat;
        }
    }

    pub(super) fn backlog(&mut self, key: StreamKey) -> &mut Backlog {
        let backlog = self.subscribers[key].backlog.as_mut();
        backlog.expect("only called for streams that are behind")
    }

    pub(super) fn recycle(&mut self, mut ring: Ring) {
        self.metrics.ring_frames.sub(ring.len() as u64);
        if self.rings.len() < POOLED_RINGS {
            ring.reset();
            self.rings.push(ring);
        }
    }

    /// Ends a stream: it gets no more events, then what still waits for it, then `end`.
    pub(super) fn finish(&mut self, key: StreamKey, reason: EndReason) {
        let subscriber = &self.subscribers[key];
        debug_assert_eq!(subscriber.phase, Phase::Live);
        if subscriber.is_poll() {
            return self.end_wait(key);
        }
        let pending = self.audiences[subscriber.audience].log.end() > subscriber.cursor;
        if subscriber.backlog.is_none() && pending && subscriber.remaining > 0 {
            self.fall_behind(key);
        }
        // What it has not been told of its past, it is told when it comes back.
        self.end_replay(key, Replayed::Abandoned);
        let told = self.audiences[self.subscribers[key].audience].told();
        self.leave_audience(key);
        let deadline = self.tick.plus_ms(ENDING_MS);
        let subscriber = &mut self.subscribers[key];
        subscriber.phase = Phase::Ending(reason);
        subscriber.ends = deadline;
        self.wheel.schedule(key, deadline);

        let mut closing = BytesMut::new();
        if let Some(end) = self.routes[subscriber.route].control.end(reason) {
            closing.extend_from_slice(&subscriber.framing.control(&end));
        }
        if subscriber.framing.transfer == Transfer::Chunked {
            closing.extend_from_slice(LAST_CHUNK);
        }
        let backlog = subscriber.backlog.get_or_insert_default();
        backlog.closing = Some(closing.freeze());
        backlog.told = told;
        if subscriber.remaining == 0
            && let Some(ring) = backlog.ring.take()
        {
            // By its own limit the stream has no claim to these.
            self.recycle(ring);
        }
        self.queue_write(key);
    }

    /// Has a stream's backlog written when the sweep comes to it.
    pub(super) fn queue_write(&mut self, key: StreamKey) {
        let subscriber = &mut self.subscribers[key];
        let Some(backlog) = subscriber.backlog.as_mut() else { return };
        match &mut subscriber.sink {
            Sink::Socket { .. } if !backlog.queued => {
                backlog.queued = true;
                self.writable.push_back(key);
            }
            Sink::Socket { .. } => {}
            Sink::Body(_, waker) => {
                if let Some(waker) = waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn leave_audience(&mut self, key: StreamKey) {
        self.leave_behind(key);
        if !self.sessions.is_empty() {
            self.sessions.remove(&key);
        }
        let subscriber = &self.subscribers[key];
        let (audience_key, seat) = (subscriber.audience, subscriber.seat);
        let audience = &mut self.audiences[audience_key];
        if let Some(moved) = audience.leave(seat as usize) {
            self.subscribers[moved].seat = seat;
        }
        if audience.members.is_empty() {
            self.audiences.remove(audience_key);
            self.batches.forget(audience_key);
            self.pages.forget(audience_key);
            self.interests.remove(&audience_key);
        }
        self.metrics.topics.set(self.audiences.topics() as u64);
    }

    /// Removes a stream and closes its socket.
    pub(super) fn close(&mut self, key: StreamKey, why: Closed) {
        let Some(subscriber) = self.subscribers.get(key) else { return };
        let mut waiting = subscriber.backlog.as_ref().map_or(0, |backlog| backlog.waiting()) as u64;
        if subscriber.keeps_up() {
            let log = &self.audiences[subscriber.audience].log;
            if let Some(lost) = log.lost_to(subscriber.cursor) {
                self.metrics.events_dropped[Dropped::Slow as usize].add(lost.count);
            }
            waiting += log.from(subscriber.cursor).len() as u64;
        }
        // What did not fit a poll's answer is for its next one.
        if why != Closed::Answered {
            self.metrics.events_dropped[Dropped::Closed as usize].add(waiting);
        }
        self.end_replay(key, Replayed::Abandoned);
        let subscriber = &self.subscribers[key];
        if subscriber.phase == Phase::Live {
            self.leave_audience(key);
        }
        self.wheel.cancel(key);
        let subscriber = self.subscribers.remove(key);
        if let Some(ring) = subscriber.backlog.and_then(|backlog| backlog.ring) {
            self.recycle(ring);
        }
        let lived_ticks = self.tick.0.saturating_sub(subscriber.opened.0);
        let lived = Duration::from_millis(u64::from(lived_ticks) * super::wheel::TICK_MS);
        self.metrics.stream_duration.observe(lived);
        self.metrics.streams_closed[why.index()].add(1);
        if !self.access.is_empty()
            && let Some(access) = self.access.remove(&key)
        {
            access.closed(why.as_str());
        }
        self.metrics.subscribers[protocol(&subscriber.sink) as usize].sub(1);
        if self.subscribers.is_empty() {
            self.give_back_memory();
        }
    }

    /// After a crowd has left, its tables go too.
    fn give_back_memory(&mut self) {
        self.subscribers = Slab::new();
        self.wheel = Wheel::starting_at(self.tick);
        self.writable = VecDeque::new();
        self.sweepable = VecDeque::new();
        self.rings = Vec::new();
    }

    /// The stream's last byte is written: shuts our side, and leaves the client a moment to read.
    /// To close at once would reset the connection if the client has sent anything unread, and a
    /// reset overtakes what was sent before (RFC 9112, 9.6).
    pub(super) fn linger(&mut self, key: StreamKey, reason: EndReason) {
        let deadline = self.tick.plus_ms(LINGER_MS);
        let subscriber = &mut self.subscribers[key];
        if let Some(ring) = subscriber.backlog.take().and_then(|backlog| backlog.ring) {
            self.recycle(ring);
        }
        let subscriber = &mut self.subscribers[key];
        let shut = match &subscriber.sink {
            Sink::Socket { socket, .. } => socket.shutdown(std::net::Shutdown::Write),
            Sink::Body(..) => Ok(()),
        };
        subscriber.phase = Phase::Lingering(reason);
        subscriber.ends = deadline;
        match shut {
            Ok(()) => self.wheel.schedule(key, deadline),
            Err(_) => self.close(key, Closed::Ended(reason)),
        }
    }
}

pub(super) fn protocol(sink: &Sink) -> Protocol {
    match sink {
        Sink::Socket { .. } => Protocol::Http1,
        Sink::Body(protocol, _) => *protocol,
    }
}
