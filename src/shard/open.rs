//! How a stream opens: it joins the audience of its subscription set, is told `hello` and, where its
//! cursor calls for one, a gap, and reads its past before it is live.

use std::io::{self, Write as _};
use std::net::TcpStream as StdTcpStream;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use mio::net::TcpStream;

use super::audience::{Selection, StreamKey};
use super::places::Permit;
use super::replay::Replay;
use super::streams::{Streams, protocol};
use super::subscriber::{Framing, Phase, Sink, Subscriber};
use super::wheel::{TICK_MS, Tick};
use crate::history::{Place, Wants};
use crate::http::public::STREAM_HEADERS;
use crate::metrics::Protocol;
use crate::net;
use crate::sse::{Cursor, EndReason, Frame, GapReason};
use crate::subscribe::control::{Gap, Hello};
use crate::subscribe::{RouteId, Subscription};

/// The first frames of a stream, the place they leave it at, and what of the past comes after them.
pub(super) struct Greeting {
    frames: [Option<Frame>; 2],
    /// The loss that is among them.
    pub(super) gap: Option<Gap>,
    pub(super) sent: u64,
    pub(super) replay: Option<Replay>,
}

impl Streams {
    /// Opens a stream on a socket that was taken over from hyper.
    pub(super) fn open_socket(
        &mut self,
        socket: StdTcpStream,
        subscription: Subscription,
        framing: Framing,
        permit: Permit,
    ) -> io::Result<()> {
        self.look_at_clock();
        net::bound_send_buffer(&socket, self.send_buffer)?;
        let mut socket = TcpStream::from_std(socket);
        let greeting = self.greet(&subscription);
        let mut first = BytesMut::from(&*response_head(framing, &subscription.fields));
        for frame in greeting.frames.iter().flatten() {
            first.extend_from_slice(framing.of(frame));
        }

        let key = self.subscribers.vacant_key();
        self.generations = self.generations.wrapping_add(1);
        self.poll_set.add(&mut socket, key, self.generations)?;
        let written = match socket.write(&first) {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        self.metrics.sent_bytes.add(written as u64);
        let sink = Sink::Socket { socket, _permit: permit };
        self.insert(key, sink, framing, subscription, greeting.sent);
        if let Some(replay) = greeting.replay {
            self.begin_replay(key, replay);
        } else if written < first.len() {
            self.fall_behind(key);
        }
        if written < first.len() {
            self.backlog(key).unfinished = first.split_off(written).freeze();
        }
        self.shed_if_crowded(key);
        Ok(())
    }

    /// Opens a stream whose bytes are pulled. Returns its key and generation.
    pub(super) fn open_body(
        &mut self,
        subscription: Subscription,
        framing: Framing,
        protocol: Protocol,
    ) -> (StreamKey, u32) {
        self.look_at_clock();
        let greeting = self.greet(&subscription);
        let key = self.subscribers.vacant_key();
        self.generations = self.generations.wrapping_add(1);
        let sink = Sink::Body(protocol, None);
        self.insert(key, sink, framing, subscription, greeting.sent);
        match greeting.replay {
            Some(replay) => self.begin_replay(key, replay),
            None => self.fall_behind(key),
        }
        let mut first = BytesMut::new();
        for frame in greeting.frames.iter().flatten() {
            first.extend_from_slice(framing.of(frame));
        }
        self.backlog(key).unfinished = first.freeze();
        self.shed_if_crowded(key);
        (key, self.generations)
    }

    /// With too many streams reading their past at once, a further one is told to come back later. By
    /// 200: after another status a native `EventSource` never would.
    fn shed_if_crowded(&mut self, key: StreamKey) {
        if self.metrics.replaying.get() > self.replays_max as u64 {
            self.finish(key, EndReason::Shed);
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
        let Subscription { route: route_id, filters, names, limit, max_duration, poll, .. } =
            subscription;
        let longest = [max_duration, poll].into_iter().flatten().min();
        let opened = self.tick;
        let (ends, end_reason) = self.lifetime(route_id, longest);
        let route = &self.routes[route_id];
        let audience_key =
            self.audiences.find_or_make(route_id, route.broadcast, Selection { filters, names });
        // As if last heard some time ago, so that streams which open together do not beat together.
        let half_a_beat = Tick::at_ms(route.heartbeat_ms.unwrap_or(0) / 2);
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
        self.reschedule(key);
        self.metrics.subscribers[protocol as usize].add(1);
        self.metrics.streams_opened.add(1);
        self.metrics.topics.set(self.audiences.topics() as u64);
    }

    /// What a new stream is told first. A cursor that this shard has not come to yet may still be
    /// good: another shard was quicker. So what the mailbox has up to there is taken before the
    /// cursor is judged.
    pub(super) fn greet(&mut self, subscription: &Subscription) -> Greeting {
        if let Cursor::At(id) = subscription.cursor
            && id.epoch == self.hub.epoch()
            && id.seq > self.applied
            && (id.seq <= self.hub.head() || id.seq <= self.hub.settled_head())
        {
            self.deliver_until(id.seq);
        }
        let head = self.applied;
        let route = &self.routes[subscription.route];
        let gap = |reason| Gap { after: None, to: head, cursor: head, count: None, reason };
        let (resumed, sent, gap) = match subscription.cursor {
            Cursor::Live => (false, head, None),
            Cursor::At(id) if id.epoch != self.hub.epoch() => {
                (false, head, Some(gap(GapReason::Epoch)))
            }
            Cursor::At(id) if id.seq > head => (false, head, Some(gap(GapReason::Ahead))),
            Cursor::At(id) if id.seq < head && !route.resume => {
                (false, head, Some(Gap { after: Some(id.seq), ..gap(GapReason::Expired) }))
            }
            Cursor::At(id) => {
                let place = Place::after(id.seq);
                let Subscription { filters, names, .. } = subscription;
                let wants = Wants { filters, everyone: route.broadcast, names };
                let lost = self.hub.lost(wants, place, head, self.now);
                (lost.is_none(), id.seq, None)
            }
            Cursor::Unreadable => (false, head, Some(gap(GapReason::Epoch))),
        };
        // Nobody who comes with a good cursor needs to be told values again.
        let is_new = !matches!(subscription.cursor, Cursor::At(_)) || gap.is_some();
        let replay = if sent < head {
            Some(Replay::after(sent, GapReason::Expired))
        } else {
            (is_new && self.hub.retains()).then(|| Replay::of_values(head, gap))
        };
        let told = gap.filter(|_| replay.is_none());
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let session = fastrand::u64(..);
        let hello = Hello { time_ms: time.as_millis() as u64, head: sent, resumed, session };
        // The cursor is moved by what has to reach the client first.
        let moves_cursor = gap.is_none() && !(is_new && replay.is_some());
        let frames = [
            Some(route.control.hello(&hello, moves_cursor)),
            told.map(|gap| {
                self.metrics.gaps[gap.reason as usize].add(1);
                route.control.gap(&gap)
            }),
        ];
        Greeting { frames, gap: told, sent, replay }
    }

    /// A lifetime of its own for each stream, from 80 to 100 % of the cap, so that streams which
    /// opened together do not end together. A tick's rounding is kept inside that range.
    fn lifetime(&self, route: RouteId, max_duration: Option<Duration>) -> (Tick, EndReason) {
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
        match self.drain_by {
            Some(by) if by < ends.0 => (by, EndReason::Drain),
            _ => ends,
        }
    }
}

/// The head that hyper would have written, with some more `fields`. `connection: close` because the connection is not used
/// again after the stream.
pub(super) fn response_head(framing: Framing, fields: &HeaderMap) -> Bytes {
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
    if framing == Framing::Chunked {
        head.push_str("transfer-encoding: chunked\r\n");
    }
    head.push_str("\r\n");
    head.into()
}
