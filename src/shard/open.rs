//! How a stream opens: it joins the audience of its subscription set, is told `hello` and, where its
//! cursor calls for one, a gap, and reads its past before it is live.

use std::io::{self, IoSlice, Write as _};
use std::net::TcpStream as StdTcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use mio::net::TcpStream;

use super::audience::{Selection, StreamKey};
use super::framing::{Framing, Transfer};
use super::places::Permit;
use super::replay::Replay;
use super::streams::{Streams, protocol};
use super::subscriber::{Phase, Sink, Subscriber};
use super::wheel::{TICK_MS, Tick};
use crate::history::{Place, Wants};
use crate::hook::Snapshot;
use crate::http::public::STREAM_HEADERS;
use crate::inspect::StreamId;
use crate::metrics::Protocol;
use crate::net;
use crate::sse::{Cursor, EndReason, Frame, GapReason};
use crate::subscribe::control::{Gap, Hello};
use crate::subscribe::{Opening, RouteId, Subscription};

/// The first frames of a stream, the place they leave it at, and what of the past comes after them.
#[derive(Default)]
pub(super) struct Greeting {
    frames: [Option<Frame>; 2],
    /// The loss that is among them.
    pub(super) gap: Option<Gap>,
    /// Behind them, shared with all streams that get the same; and whether it moves the client's cursor.
    pub(super) snapshot: Option<(Arc<Snapshot>, bool)>,
    pub(super) sent: u64,
    pub(super) replay: Option<Replay>,
}

impl Greeting {
    /// Appends the frames; what comes behind them is shared.
    fn write(&self, framing: Framing, first: &mut BytesMut) -> Bytes {
        first.extend_from_slice(&framing.begin());
        for frame in self.frames.iter().flatten() {
            first.extend_from_slice(&framing.control(frame));
        }
        let snapshot = self.snapshot.as_ref();
        snapshot
            .and_then(|(snapshot, moves)| framing.snapshot(snapshot, *moves))
            .unwrap_or_default()
    }
}

impl Streams {
    /// Opens a stream on a socket that was taken over from hyper.
    pub(super) fn open_socket(
        &mut self,
        socket: StdTcpStream,
        subscription: Subscription,
        transfer: Transfer,
        permit: Permit,
    ) -> io::Result<()> {
        self.look_at_clock();
        net::bound_send_buffer(&socket, self.send_buffer)?;
        let mut socket = TcpStream::from_std(socket);
        let greeting = self.greet(&subscription);
        let framing = Framing { transfer, gzip: subscription.gzip };
        let mut first = BytesMut::from(&*response_head(transfer, &subscription.fields));
        let snapshot = greeting.write(framing, &mut first);

        let key = self.subscribers.vacant_key();
        self.generations = self.generations.wrapping_add(1);
        self.poll_set.add(&mut socket, key, self.generations)?;
        let slices = [IoSlice::new(&first), IoSlice::new(&snapshot)];
        let written = match socket.write_vectored(&slices) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.metrics.sent_bytes.add(written as u64);
        let unwritten = rest(&first, &snapshot, written);
        let sink = Sink::Socket { socket, _permit: permit };
        let turned_away = self.turned_away(&subscription);
        self.insert(key, sink, framing, subscription, greeting.sent);
        if let Some(replay) = greeting.replay {
            self.begin_replay(key, replay);
        } else if !unwritten.is_empty() {
            self.fall_behind(key);
        }
        if !unwritten.is_empty() {
            self.backlog(key).unfinished = unwritten;
        }
        self.finish_if(key, turned_away);
        Ok(())
    }

    /// Opens a stream whose bytes are pulled. Returns its key and generation.
    pub(super) fn open_body(
        &mut self,
        subscription: Subscription,
        transfer: Transfer,
        protocol: Protocol,
    ) -> (StreamKey, u32) {
        self.look_at_clock();
        let greeting = self.greet(&subscription);
        let key = self.subscribers.vacant_key();
        self.generations = self.generations.wrapping_add(1);
        let sink = Sink::Body(protocol, None);
        let framing = Framing { transfer, gzip: subscription.gzip };
        let turned_away = self.turned_away(&subscription);
        self.insert(key, sink, framing, subscription, greeting.sent);
        match greeting.replay {
            Some(replay) => self.begin_replay(key, replay),
            None => self.fall_behind(key),
        }
        let mut first = BytesMut::new();
        let snapshot = greeting.write(framing, &mut first);
        let backlog = self.backlog(key);
        backlog.unfinished = first.freeze();
        backlog.snapshot = snapshot;
        self.finish_if(key, turned_away);
        (key, self.generations)
    }

    /// Why a stream that opens ends at once, if it does, apart from what it would cost.
    pub(super) fn turned_away(&self, subscription: &Subscription) -> Option<EndReason> {
        let grant = subscription.grant.as_ref();
        let session = grant.and_then(|grant| Some((grant.session.as_deref()?, grant.asked_at)));
        // Its client was let in, and then shut out, before it came here.
        if session.is_some_and(|(name, asked_at)| self.revoked.is_revoked(name, asked_at)) {
            return Some(EndReason::Revoked);
        }
        (subscription.opening == Opening::ComeBack).then_some(EndReason::Shed)
    }

    /// With too many streams reading their past at once, a further one is told to come back later, as
    /// is one whose app server fails. By 200: after another status a native `EventSource` never would.
    fn finish_if(&mut self, key: StreamKey, turned_away: Option<EndReason>) {
        let is_crowded = self.metrics.replaying.get() > self.replays_max as u64;
        if let Some(reason) = turned_away.or(is_crowded.then_some(EndReason::Shed)) {
            self.finish(key, reason);
        }
    }

    pub(super) fn insert(
        &mut self,
        key: StreamKey,
        sink: Sink,
        framing: Framing,
        subscription: Subscription,
        sent: u64,
    ) {
        let protocol = protocol(&sink);
        let Subscription {
            route: route_id,
            filters,
            names,
            limit,
            max_duration,
            poll,
            interest,
            grant,
            access,
            ..
        } = subscription;
        let longest = [max_duration, poll].into_iter().flatten().min();
        let opened = self.tick;
        let expires = grant.as_ref().and_then(|grant| grant.ends);
        let (ends, end_reason) = self.lifetime(route_id, longest, expires);
        let kind = self.routes[route_id].kind(route_id);
        let heartbeat_ms = self.routes[route_id].heartbeat_ms;
        let audience_key = self.audiences.find_or_make(kind, Selection { filters, names });
        if let Some(interest) = interest {
            self.interests.insert(audience_key, interest);
        }
        // As if last heard some time ago, so that streams which open together do not beat together.
        let half_a_beat = Tick::at_ms(heartbeat_ms.unwrap_or(0) / 2);
        let heard = Tick(opened.0.saturating_sub(fastrand::u32(0..=half_a_beat.0)));
        let audience = &mut self.audiences[audience_key];
        let stored = self.subscribers.insert(Subscriber {
            sink,
            framing,
            phase: Phase::Live,
            route: route_id,
            audience: audience_key,
            seat: audience.join(key) as u32,
            remaining: limit.unwrap_or(u32::MAX),
            generation: self.generations,
            unsolicited: 0,
            cursor: audience.log.end(),
            sent,
            backlog: None,
            opened,
            heard,
            ends,
            end_reason,
        });
        debug_assert_eq!(stored, key);
        if let Some(session) = grant.and_then(|grant| grant.session.clone()) {
            self.sessions.insert(key, session);
        }
        if let Some(access) = access {
            access.opened();
            self.access.insert(key, access);
        }
        self.reschedule(key);
        self.metrics.subscribers[protocol as usize].add(1);
        self.metrics.streams_opened.add(1);
        self.metrics.topics.set(self.audiences.topics() as u64);
    }

    /// What a new stream is told first.
    pub(super) fn greet(&mut self, subscription: &Subscription) -> Greeting {
        match &subscription.opening {
            _ if self.turned_away(subscription).is_some() => {
                let hello = self.hello(subscription, self.applied, false, false);
                Greeting { frames: [Some(hello), None], sent: self.applied, ..Greeting::default() }
            }
            Opening::Snapshot(snapshot) => self.greet_with(snapshot, subscription),
            Opening::Plain | Opening::ComeBack => self.greet_by_cursor(subscription),
        }
    }

    /// A client with a cursor gets what it has missed, or is told of what is lost. A cursor that this
    /// shard has not come to yet may still be good: another shard was quicker. So what the mailbox has
    /// up to there is taken before the cursor is judged.
    fn greet_by_cursor(&mut self, subscription: &Subscription) -> Greeting {
        if let Cursor::At(id) = subscription.cursor
            && id.epoch == self.hub.epoch()
            && id.seq > self.applied
            && (id.seq <= self.hub.head() || id.seq <= self.hub.settled_head())
        {
            self.deliver_until(id.seq);
        }
        let head = self.applied;
        let route = &self.routes[subscription.route];
        let (resumed, sent, gap) = match subscription.cursor {
            Cursor::At(id)
                if id.epoch == self.hub.epoch()
                    && (id.seq == head || (id.seq < head && route.resume)) =>
            {
                let place = Place::after(id.seq);
                let Subscription { filters, names, .. } = subscription;
                let wants = Wants { filters, everyone: route.broadcast, names };
                let lost = self.hub.lost(wants, place, head, self.now);
                (lost.is_none(), id.seq, None)
            }
            cursor => (false, head, self.gap_up_to(head, cursor)),
        };
        // Nobody who comes with a good cursor needs to be told values again.
        let is_new = !matches!(subscription.cursor, Cursor::At(_)) || gap.is_some();
        let replay = if sent < head {
            Some(Replay::after(sent, GapReason::Expired))
        } else {
            (is_new && self.hub.retains()).then(|| Replay::of_values(head, gap))
        };
        let told = gap.filter(|_| replay.is_none());
        // The cursor is moved by what has to reach the client first.
        let moves_cursor = gap.is_none() && !(is_new && replay.is_some());
        let frames = [
            Some(self.hello(subscription, sent, resumed, moves_cursor)),
            told.map(|gap| self.gap(subscription, &gap, true)),
        ];
        Greeting { frames, gap: told, snapshot: None, sent, replay }
    }

    /// A client that needs a snapshot gets that, and then everything since. A snapshot that was
    /// fetched for others is of an earlier moment: its place in the order counts, not the head.
    fn greet_with(&mut self, snapshot: &Arc<Snapshot>, subscription: &Subscription) -> Greeting {
        let after = snapshot.after();
        self.deliver_until(after);
        let gap = self.gap_up_to(after, subscription.cursor);
        let (values_follow, is_behind) = (self.hub.retains(), after < self.applied);
        let replay = match (values_follow, is_behind) {
            (true, _) => Some(Replay::of_values(after, None)),
            (false, true) => Some(Replay::after(after, GapReason::Expired)),
            (false, false) => None,
        };
        // The cursor is moved by the snapshot's last event, or by what follows it.
        let frames = [
            Some(self.hello(subscription, after, false, false)),
            gap.map(|gap| self.gap(subscription, &gap, false)),
        ];
        let snapshot = Some((Arc::clone(snapshot), !values_follow));
        Greeting { frames, gap, snapshot, sent: after, replay }
    }

    /// The loss of a client with this cursor that gets nothing of what came before `head`.
    fn gap_up_to(&self, head: u64, cursor: Cursor) -> Option<Gap> {
        let (after, reason) = match cursor {
            Cursor::Live => return None,
            Cursor::At(id) if id.epoch != self.hub.epoch() => (None, GapReason::Epoch),
            Cursor::At(id) if id.seq > head => (None, GapReason::Ahead),
            Cursor::At(id) => (Some(id.seq), GapReason::Expired),
            Cursor::Unreadable => (None, GapReason::Epoch),
        };
        Some(Gap { after, to: head, cursor: head, count: None, reason })
    }

    fn hello(
        &self,
        subscription: &Subscription,
        head: u64,
        resumed: bool,
        moves_cursor: bool,
    ) -> Frame {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let session = self.next_id();
        let metadata = subscription.grant.as_ref().and_then(|grant| grant.metadata.as_deref());
        let time_ms = time.as_millis() as u64;
        let hello = Hello { time_ms, head, resumed, session, metadata };
        self.routes[subscription.route].control.hello(&hello, moves_cursor)
    }

    /// The id of the stream that opens next.
    fn next_id(&self) -> StreamId {
        self.id_of(self.subscribers.vacant_key(), self.generations.wrapping_add(1))
    }

    fn gap(&mut self, subscription: &Subscription, gap: &Gap, moves_cursor: bool) -> Frame {
        let next = self.next_id();
        // Retained values and what a snapshot's place is before are sent all the same.
        self.note_gap(next.key(), next.generation(), *gap, moves_cursor);
        self.routes[subscription.route].control.gap(gap, moves_cursor)
    }

    /// A lifetime of its own for each stream, from 80 to 100 % of the cap, so that streams which
    /// opened together do not end together. A tick's rounding is kept inside that range.
    fn lifetime(
        &self,
        route: RouteId,
        max_duration: Option<Duration>,
        expires: Option<Instant>,
    ) -> (Tick, EndReason) {
        let opened = self.tick;
        let cap = self.routes[route].lifetime_ms;
        let slack = 2 * TICK_MS;
        let (earliest, latest) = (cap * 4 / 5 + slack, cap.saturating_sub(slack));
        let lifetime = fastrand::u64(earliest.min(latest)..=latest.max(1));
        let mut ends = (opened.plus_ms(lifetime), EndReason::MaxLifetime);
        if let Some(asked) = max_duration {
            let asked = opened.plus_ms(asked.as_millis() as u64);
            if asked < ends.0 {
                ends = (asked, EndReason::Limit);
            }
        }
        if let Some(expires) = expires {
            let left = expires.saturating_duration_since(self.now);
            let expires = opened.plus_ms(left.as_millis() as u64);
            if expires < ends.0 {
                ends = (expires, EndReason::AuthExpired);
            }
        }
        match self.drain_by {
            Some(by) if by < ends.0 => (by, EndReason::Drain),
            _ => ends,
        }
    }
}

/// What of two buffers is left after so many bytes; what is shared stays so.
fn rest(first: &[u8], second: &Bytes, written: usize) -> Bytes {
    match written.checked_sub(first.len()) {
        Some(of_second) => second.slice(of_second..),
        None => [&first[written..], second].concat().into(),
    }
}

/// The head that hyper would have written, with some more `fields`. `connection: close` because the connection is not used
/// again after the stream.
pub(super) fn response_head(transfer: Transfer, fields: &HeaderMap) -> Bytes {
    let mut head = String::from("HTTP/1.1 200 OK\r\n");
    for (name, value) in STREAM_HEADERS {
        head.extend([name, ": ", value, "\r\n"]);
    }
    for (name, value) in fields {
        // Ours are visible ASCII, and so is an origin that equals one of ours.
        head.extend([name.as_str(), ": ", value.to_str().unwrap_or_default(), "\r\n"]);
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    head.extend(["date: ", &date, "\r\nconnection: close\r\n"]);
    if transfer == Transfer::Chunked {
        head.push_str("transfer-encoding: chunked\r\n");
    }
    head.push_str("\r\n");
    head.into()
}
