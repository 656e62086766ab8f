//! Answers what an operator asks of a shard's streams, between two turns. Changes nothing but where
//! asked to end a stream; looks at a bounded number of entries for each question.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use tokio::task::yield_now;

use super::audience::StreamKey;
use super::ring::Lost;
use super::streams::{Streams, protocol};
use super::subscriber::{Phase, Sink, Subscriber};
use super::wheel::TICK_MS;
use crate::config::schema::Slow;
use crate::inspect::{
    Found, GapOwed, Question, Questions, Search, State, StreamId, StreamReport, TOPICS_SHOWN,
    VISITS,
};
use crate::sse::EndReason;
use crate::topic::{Filter, Topic};

/// Answers until the gateway is gone.
pub(super) async fn answer(mut questions: Questions, streams: Rc<RefCell<Streams>>) {
    while let Some(question) = questions.recv().await {
        // Whoever asked may have left: then nobody takes the answer.
        match question {
            Question::Streams { search, from, most, answer } => {
                let _ = answer.send(streams.borrow_mut().find(&search, from, most));
            }
            Question::Stream(id, answer) => {
                let _ = answer.send(streams.borrow_mut().show(id));
            }
            Question::End(id, answer) => {
                let _ = answer.send(streams.borrow_mut().end_on_request(id));
            }
            Question::Explain(id, about, answer) => {
                let _ = answer.send(streams.borrow_mut().explain(id, &about));
            }
            Question::Subscribers(topics, from, answer) => {
                let _ = answer.send(streams.borrow().count_subscribers(&topics[from..]));
            }
        }
        // However many are waiting, the shard turns after each.
        yield_now().await;
    }
}

impl Streams {
    /// The id of a stream.
    pub(super) fn id_of(&self, key: StreamKey, generation: u32) -> StreamId {
        StreamId::new(self.shard, key, generation)
    }

    fn find(&mut self, search: &Search, from: usize, most: usize) -> Found {
        self.look_at_clock();
        let mut streams = Vec::new();
        // A topic is compared with each that a stream has asked for.
        let (mut left, end) = (VISITS, self.subscribers.capacity());
        for key in from..end {
            if streams.len() == most || left == 0 {
                return Found { streams, next: Some(key) };
            }
            left -= 1;
            let Some(subscriber) = self.subscribers.get(key) else { continue };
            if search.topic.is_some() {
                left = left.saturating_sub(self.filters(subscriber).len());
            }
            if self.is_wanted(key, subscriber, search) {
                streams.push(self.report(key, subscriber, TOPICS_SHOWN));
            }
        }
        Found { streams, next: None }
    }

    fn is_wanted(&self, key: StreamKey, subscriber: &Subscriber, search: &Search) -> bool {
        let has_topic = search.topic.as_ref().is_none_or(|wanted| {
            self.filters(subscriber).iter().any(|filter| match wanted {
                Filter::Exact(topic) => filter.matches(topic),
                Filter::Pattern(_) => filter == wanted,
            })
        });
        let has_session = search.session.as_ref().is_none_or(|wanted| {
            self.sessions.get(&key).is_some_and(|session| **session == **wanted)
        });
        let has_address = || {
            search.address.as_ref().is_none_or(|wanted| {
                self.address(subscriber)
                    .is_some_and(|address| address.to_string().starts_with(wanted))
            })
        };
        has_topic && has_session && has_address()
    }

    fn show(&mut self, id: StreamId) -> Option<StreamReport> {
        self.look_at_clock();
        let subscriber = self.stream(id)?;
        Some(self.report(id.key(), subscriber, usize::MAX))
    }

    pub(super) fn stream(&self, id: StreamId) -> Option<&Subscriber> {
        let is_here = id.shard() == self.shard && self.is(id.key(), id.generation());
        is_here.then(|| &self.subscribers[id.key()])
    }

    /// Ends a stream as a revoked session's are. Whether there is such a stream: one that is ending
    /// goes on with that.
    fn end_on_request(&mut self, id: StreamId) -> bool {
        self.look_at_clock();
        let Some(phase) = self.stream(id).map(|subscriber| subscriber.phase) else { return false };
        if phase == Phase::Live {
            self.finish(id.key(), EndReason::Revoked);
        }
        true
    }

    /// Of the first of these topics: at least one, and as many as it takes no more than the bound.
    fn count_subscribers(&self, topics: &[Option<Topic>]) -> Vec<u64> {
        let (mut counts, mut left) = (Vec::new(), VISITS);
        for topic in topics {
            if left == 0 {
                break;
            }
            let (count, audiences) = self.audiences.count_members(topic.as_ref());
            counts.push(count);
            left = left.saturating_sub(1 + audiences);
        }
        counts
    }

    fn report(&self, key: StreamKey, subscriber: &Subscriber, topics_max: usize) -> StreamReport {
        let filters = self.filters(subscriber);
        StreamReport {
            id: self.id_of(key, subscriber.generation),
            shard: self.shard,
            state: state(subscriber),
            protocol: protocol(&subscriber.sink).as_str(),
            compressed: subscriber.framing.gzip,
            route: self.routes[subscriber.route].path.as_deref().map(Into::into),
            address: self.address(subscriber),
            topics: filters.iter().take(topics_max).cloned().collect(),
            topics_count: filters.len(),
            names: self.names(subscriber).map(Into::into),
            opened_ms: self.opened_ms(subscriber),
            cursor: self.hub.id(subscriber.sent),
            waiting: self.waiting(subscriber),
            gap_owed: self.gap_owed(subscriber),
            session: self.sessions.get(&key).map(|session| Box::from(&**session)),
        }
    }

    /// What it has asked for. Of a stream that is ending it is not known any more.
    pub(super) fn filters(&self, subscriber: &Subscriber) -> &[Filter] {
        match subscriber.phase {
            Phase::Live => self.audiences[subscriber.audience].wants().filters,
            Phase::Ending(_) | Phase::Lingering(_) => &[],
        }
    }

    /// The names of the events that it has asked for, where it has not asked for all.
    pub(super) fn names(&self, subscriber: &Subscriber) -> Option<&[Box<str>]> {
        match subscriber.phase {
            Phase::Live => self.audiences[subscriber.audience].wants().names.named(),
            Phase::Ending(_) | Phase::Lingering(_) => None,
        }
    }

    fn opened_ms(&self, subscriber: &Subscriber) -> u64 {
        let started = self.started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        started.as_millis() as u64 + u64::from(subscriber.opened.0) * TICK_MS
    }

    fn waiting(&self, subscriber: &Subscriber) -> Option<u64> {
        match &subscriber.backlog {
            Some(backlog) if backlog.replay.is_some() => None,
            Some(backlog) => Some(backlog.waiting() as u64),
            None if subscriber.keeps_up() => {
                let log = &self.audiences[subscriber.audience].log;
                Some(log.from(subscriber.cursor).len() as u64)
            }
            None => Some(0),
        }
    }

    fn gap_owed(&self, subscriber: &Subscriber) -> Option<GapOwed> {
        let lost = self.lost(subscriber)?;
        Some(GapOwed { to: self.hub.id(lost.to), count: lost.count })
    }

    /// What it has lost and not been told of. One that is to catch up reads it from the history.
    pub(super) fn lost(&self, subscriber: &Subscriber) -> Option<Lost> {
        match &subscriber.backlog {
            Some(backlog) => backlog.ring.as_ref()?.lost(),
            None if subscriber.keeps_up()
                && self.routes[subscriber.route].slow != Slow::CatchUp =>
            {
                self.audiences[subscriber.audience].log.lost_to(subscriber.cursor)
            }
            None => None,
        }
    }

    fn address(&self, subscriber: &Subscriber) -> Option<std::net::SocketAddr> {
        match &subscriber.sink {
            // The kernel knows it, so that no stream has to keep it.
            Sink::Socket { socket, .. } => socket.peer_addr().ok(),
            Sink::Body(..) => None,
        }
    }
}

fn state(subscriber: &Subscriber) -> State {
    let Phase::Live = subscriber.phase else { return State::Ending };
    match (&subscriber.backlog, &subscriber.sink) {
        (None, _) => State::Live,
        (Some(backlog), _) if backlog.replay.is_some() => State::Replaying,
        // A body has its events in a ring, behind or not.
        (Some(backlog), Sink::Body(..)) if backlog.waiting() == 0 => State::Live,
        (Some(_), _) => State::Behind,
    }
}
