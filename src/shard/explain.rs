//! Why a stream has an event, or has not: from its place, what waits for it, the gaps it was told of and
//! the history. What none of these says is said to be unknown.

use std::sync::Arc;

use super::audience::StreamKey;
use super::gaps::Told;
use super::replay::Replay;
use super::ring::Lost;
use super::streams::Streams;
use super::subscriber::{Phase, Subscriber};
use super::wheel::Tick;
use crate::event::{ALL_NAMES, Destination, Event};
use crate::history::{PageBounds, PageRequest, Past, Place, Wants};
use crate::inspect::{About, Explanation, GapOver, Outcome, StreamId};
use crate::sse::{EventId, GapReason};
use crate::topic::{BROADCAST, Filter, Topic};

impl Streams {
    /// What became of an event on a stream; `None` if there is no such stream.
    pub(super) fn explain(&mut self, id: StreamId, about: &About) -> Option<Explanation> {
        self.look_at_clock();
        let subscriber = self.stream(id)?;
        let is_ending = subscriber.phase != Phase::Live;
        let mut explanation = Explanation {
            outcome: Outcome::Ending,
            delivered: None,
            why: "",
            event_topics: None,
            event_name: None,
            stream_topics: self.filters(subscriber).to_vec(),
            stream_names: self.names(subscriber).map(<[_]>::to_vec),
            matched_by: None,
            cursor: self.hub.id(subscriber.sent),
            gap: None,
        };
        explanation.outcome = match about {
            _ if is_ending => Outcome::Ending,
            About::Topic(topic) => {
                let found = explanation.stream_topics.iter().find(|filter| filter.matches(topic));
                explanation.matched_by = found.map(|filter| filter.as_str().to_owned());
                if found.is_some() { Outcome::AskedFor } else { Outcome::NotAskedFor }
            }
            About::Event(event) => self.explain_event(id.key(), *event, &mut explanation),
        };
        explanation.delivered = explanation.outcome.delivered();
        explanation.why = explanation.outcome.why();
        Some(explanation)
    }

    fn explain_event(&self, key: StreamKey, id: EventId, explained: &mut Explanation) -> Outcome {
        if id.epoch != self.hub.epoch() {
            return Outcome::OtherOrder;
        }
        if id.seq > self.hub.head() {
            return Outcome::NotYet;
        }
        let subscriber = &self.subscribers[key];
        let wants = self.audiences[subscriber.audience].wants();
        // It may be held as one of its topics and be forgotten as another.
        let all = Filter::parse(">").expect("a pattern");
        let all = Wants { filters: std::slice::from_ref(&all), everyone: true, names: &ALL_NAMES };
        let held = self.event(id.seq, wants).or_else(|| self.event(id.seq, all));
        let Some(event) = held else { return Outcome::NoLongerKnown };
        explained.event_topics = Some(topics(&event));
        explained.event_name = event.frame.name().map(|name| String::from_utf8_lossy(name).into());
        explained.matched_by = matched_by(&event, wants);
        if explained.matched_by.is_none() {
            return Outcome::NotAskedFor;
        }
        if !wants.names.have(&event) {
            return Outcome::FilteredByName;
        }
        let (outcome, gap) = self.fate(key, subscriber, &event);
        explained.gap = gap;
        outcome
    }

    /// The event with this `seq`, if the history holds it as one of these.
    fn event(&self, seq: u64, wants: Wants<'_>) -> Option<Arc<Event>> {
        let place = Place::after(seq.checked_sub(1)?);
        let bounds = PageBounds { events_max: 1, bytes_max: usize::MAX };
        let request = PageRequest { wants, past: Past::Events, place, upto: seq, bounds };
        self.hub.page(request, self.now).events.pop()
    }

    /// What became of an event that the stream has asked for.
    fn fate(
        &self,
        key: StreamKey,
        subscriber: &Subscriber,
        event: &Event,
    ) -> (Outcome, Option<GapOver>) {
        let replay = subscriber.backlog.as_ref().and_then(|backlog| backlog.replay.as_ref());
        if replay.and_then(Replay::values_to).is_some_and(|values_to| event.seq <= values_to) {
            return (Outcome::BeforeItOpened, None);
        }
        // A newer event may have taken its place before the gap came over both.
        let dropped = match event.conflate {
            Some(_) => Outcome::DroppedOrConflated,
            None => Outcome::Dropped,
        };
        if event.seq > subscriber.sent {
            let lost = self.lost(subscriber).filter(|lost| event.seq <= lost.to);
            return match lost {
                Some(lost) => (dropped, Some(self.owed(subscriber, lost))),
                None if self.is_conflated(subscriber, event) => (Outcome::Conflated, None),
                None => (Outcome::Waiting, None),
            };
        }
        if let Some(told) = self.told_gaps.over(key, subscriber.generation, event.seq) {
            let outcome = if told.is_whole { dropped } else { Outcome::InAGap };
            return (outcome, Some(self.told(told)));
        }
        let is_half_written =
            subscriber.backlog.as_ref().is_some_and(|backlog| backlog.unfinished_event.is_some());
        // The clock of streams has ticks: what is of the same one may have been before.
        let opened = self.instant_of(Tick(subscriber.opened.0 + 1));
        let outcome = if is_half_written && event.seq == subscriber.sent {
            Outcome::Waiting
        } else if event.accepted < opened {
            Outcome::BeforeItOpened
        } else if !self.told_gaps.are_known_since(subscriber.opened) {
            Outcome::GapsForgotten
        } else if event.conflate.is_some() {
            Outcome::DeliveredOrConflated
        } else {
            Outcome::Delivered
        };
        (outcome, None)
    }

    /// Whether a newer event has taken the place of one that has been to the stream's ring.
    fn is_conflated(&self, subscriber: &Subscriber, event: &Event) -> bool {
        let ring = subscriber.backlog.as_ref().and_then(|backlog| backlog.ring.as_ref());
        event.conflate.is_some()
            && event.seq <= self.applied
            && ring.is_some_and(|ring| !ring.holds(event.seq))
    }

    fn owed(&self, subscriber: &Subscriber, lost: Lost) -> GapOver {
        GapOver {
            after: Some(self.hub.id(subscriber.sent).to_string()),
            to: self.hub.id(lost.to).to_string(),
            count: Some(lost.count),
            reason: GapReason::Slow.as_str(),
            told: false,
        }
    }

    fn told(&self, told: &Told) -> GapOver {
        GapOver {
            after: told.gap.after.map(|seq| self.hub.id(seq).to_string()),
            to: self.hub.id(told.gap.to).to_string(),
            count: told.gap.count,
            reason: told.gap.reason.as_str(),
            told: true,
        }
    }
}

fn topics(event: &Event) -> Vec<String> {
    match &event.to {
        Destination::Everyone => vec![BROADCAST.to_owned()],
        Destination::Topics(topics) => {
            topics.iter().map(Topic::as_str).map(str::to_owned).collect()
        }
    }
}

fn matched_by(event: &Event, wants: Wants<'_>) -> Option<String> {
    let topics = match &event.to {
        Destination::Everyone => return wants.everyone.then(|| BROADCAST.to_owned()),
        Destination::Topics(topics) => topics,
    };
    let matches = |filter: &&Filter| topics.iter().any(|topic| filter.matches(topic));
    wants.filters.iter().find(matches).map(|filter| filter.as_str().to_owned())
}
