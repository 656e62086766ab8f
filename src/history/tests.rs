//! The history against a model that forgets nothing: what a reader gets and what it is told of is
//! everything, whatever was forgotten meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::event::ALL_NAMES;
use crate::sse::{Draft, Epoch, EventId, Fields, Gzip};
use crate::topic::Filter;

const TOPICS: [&str; 6] = ["a", "b", "x.1", "x.2", "x.1.y", "z"];
const FILTERS: [&str; 8] = ["a", "b", "x.1", "never", "x.*", "x.>", ">", "*.1"];
const NAMES: [&str; 2] = ["", "state"];

#[derive(Clone, Debug)]
enum Operation {
    Publish {
        /// None: to everyone.
        topics: Vec<usize>,
        data_bytes: usize,
        ttl: Option<u64>,
        retain: Option<(bool, usize)>,
    },
    Wait {
        seconds: u64,
    },
    Expire,
    Read {
        filters: Vec<usize>,
        everyone: bool,
        /// Of 100, how far back of the head.
        back: u64,
        /// Of what is left, how far the reader's shard is behind the head.
        lag: u64,
        page_events: usize,
        /// Published while the reader is between pages: a trim races the replay.
        meanwhile: usize,
    },
    Subscribe {
        filters: Vec<usize>,
        everyone: bool,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let topics = prop::collection::vec(0..TOPICS.len(), 0..3);
    let filters = || prop::collection::vec(0..FILTERS.len(), 1..4);
    prop_oneof![
        12 => (
            topics,
            0..200usize,
            prop::option::weighted(0.2, 0..30u64),
            prop::option::weighted(0.2, (any::<bool>(), 0..NAMES.len())),
        )
            .prop_map(|(topics, data_bytes, ttl, retain)| Operation::Publish {
                topics, data_bytes, ttl, retain
            }),
        1 => (1..20u64).prop_map(|seconds| Operation::Wait { seconds }),
        1 => Just(Operation::Expire),
        4 => (filters(), any::<bool>(), 0..=100u64, 0..=50u64, 1..6usize, 0..3usize).prop_map(
            |(filters, everyone, back, lag, page_events, meanwhile)| Operation::Read {
                filters, everyone, back, lag, page_events, meanwhile
            }
        ),
        2 => (filters(), any::<bool>())
            .prop_map(|(filters, everyone)| Operation::Subscribe { filters, everyone }),
    ]
}

struct World {
    history: History,
    bounds: Bounds,
    /// Everything ever published.
    truth: Vec<(Arc<Event>, Option<Retain>)>,
    now: Instant,
}

fn is_wanted(wants: Wants<'_>, event: &Event) -> bool {
    match &event.to {
        Destination::Everyone => wants.everyone,
        Destination::Topics(topics) => {
            topics.iter().any(|topic| wants.filters.iter().any(|filter| filter.matches(topic)))
        }
    }
}

impl World {
    fn new(bounds: Bounds) -> Self {
        let history = History::new(bounds.clone(), 0);
        Self { history, bounds, truth: Vec::new(), now: Instant::now() }
    }

    fn head(&self) -> u64 {
        self.truth.len() as u64
    }

    fn publish(
        &mut self,
        topics: &[usize],
        data_bytes: usize,
        ttl: Option<u64>,
        retain: Option<Retain>,
    ) {
        let seq = self.head() + 1;
        let mut topics: Vec<_> =
            topics.iter().map(|&at| Topic::parse(TOPICS[at]).unwrap()).collect();
        topics.sort_unstable();
        topics.dedup();
        let to = match topics.is_empty() {
            true => Destination::Everyone,
            false => Destination::Topics(topics.into()),
        };
        let draft = Draft::new(&Fields { data: &"x".repeat(data_bytes), ..Fields::default() });
        let frame = draft.seal(EventId { epoch: Epoch::new(0), seq });
        let expires = ttl.map(|ttl| self.now + Duration::from_secs(ttl));
        let event = Arc::new(Event {
            seq,
            to,
            frame,
            gzip: Gzip::default(),
            accepted: self.now,
            expires,
            conflate: None,
            is_last: false,
        });
        let size = event.frame.size();
        let retain = retain.filter(|retain| match retain {
            Retain::Keep(name) => {
                let cost = self.history.cost_to_retain(&event.to, name, size);
                self.history.has_room_to_retain(cost)
            }
            Retain::Delete(_) => true,
        });
        self.history.append(&event, retain.as_ref(), self.now);
        self.truth.push((event, retain));
    }

    /// Reads all pages, and holds what is there and what is declared to the truth.
    fn read(
        &mut self,
        wants: Wants<'_>,
        (after, upto): (u64, u64),
        events_max: usize,
        meanwhile: usize,
    ) {
        let mut place = Place::after(after);
        let (mut got, mut losses) = (Vec::new(), Vec::new());
        loop {
            let bounds = PageBounds { events_max, bytes_max: 500 };
            let page = self
                .history
                .page(PageRequest { wants, past: Past::Events, place, upto, bounds }, self.now);
            assert!(page.events.len() <= events_max);
            if let Some(lost) = page.lost {
                assert!(lost.to > place.after, "{lost:?} at {place:?}");
                losses.push((place, lost, got.len()));
            }
            place.told_at = page.told_at;
            assert!(page.to > place.after || page.events.is_empty());
            got.extend(page.events);
            place.after = page.to;
            if place.after >= upto {
                break;
            }
            for _ in 0..meanwhile {
                self.publish(&[0, 2], 90, None, None);
            }
        }
        assert!(got.is_sorted_by(|a, b| a.seq < b.seq), "not in order, or twice");
        for event in &got {
            assert!(event.seq > after && event.seq <= upto && is_wanted(wants, event));
            assert!(!event.is_expired(self.now), "{} had expired", event.seq);
        }
        let got_seqs: Vec<_> = got.iter().map(|event| event.seq).collect();
        let missing: Vec<_> = self.truth[after as usize..upto as usize]
            .iter()
            .map(|(event, _)| event)
            .filter(|event| is_wanted(wants, event) && !got_seqs.contains(&event.seq))
            .collect();
        for event in missing.iter().filter(|event| !event.is_expired(self.now)) {
            // Told before anything that came after it.
            let told = losses.iter().any(|(_, lost, before)| {
                lost.to >= event.seq && got[..*before].iter().all(|got| got.seq < event.seq)
            });
            assert!(told, "{} is missing and was not declared: {losses:?}", event.seq);
        }
        let nothing_is_unknown = self.history.unknown_to == 0;
        for (place, lost, _) in &losses {
            let gone = |event: &&Arc<Event>| event.seq > place.after && event.seq <= lost.to;
            let events: Vec<_> = self.truth.iter().map(|(event, _)| event).collect();
            let gone: Vec<_> = events
                .into_iter()
                .filter(|event| is_wanted(wants, event) && !got_seqs.contains(&event.seq))
                .filter(gone)
                .collect();
            let expired = gone.iter().filter(|event| event.expires.is_some()).count() as u64;
            // What is trimmed later, while the reader reads, is another loss of the same range.
            if let Some(count) = lost.count.filter(|_| losses.len() == 1) {
                let at_most = gone.len() as u64;
                assert!((at_most - expired..=at_most).contains(&count), "{lost:?} of {at_most}");
            }
            assert!(lost.to <= upto);
            if nothing_is_unknown && lost.to < upto && losses.len() == 1 {
                let last = gone.last().map(|event| event.seq);
                // A retained value may still be there.
                let retained = got_seqs.contains(&lost.to);
                assert!(last == Some(lost.to) || retained, "{lost:?}, but last gone {last:?}");
            }
        }
    }

    /// What a new subscriber is told: the last value of each topic and name.
    fn subscribe(&mut self, wants: Wants<'_>) {
        let mut values = Vec::<(Option<Topic>, Box<str>, Arc<Event>)>::new();
        for (event, retain) in &self.truth {
            let Some(retain) = retain else { continue };
            let (Retain::Keep(name) | Retain::Delete(name)) = retain;
            let topics = match &event.to {
                Destination::Everyone => vec![None],
                Destination::Topics(topics) => topics.iter().cloned().map(Some).collect(),
            };
            for topic in topics {
                values.retain(|(of, named, _)| !(*of == topic && named == name));
                if matches!(retain, Retain::Keep(_)) {
                    values.push((topic, name.clone(), Arc::clone(event)));
                }
            }
        }
        let wanted = |topic: &Option<Topic>| {
            let Some(topic) = topic else { return wants.everyone };
            wants.filters.iter().any(|filter| filter.matches(topic))
        };
        let mut expected: Vec<_> = values
            .into_iter()
            .filter(|(topic, _, event)| wanted(topic) && !event.is_expired(self.now))
            .map(|(_, _, event)| event.seq)
            .collect();
        expected.sort_unstable();
        expected.dedup();
        let bounds = PageBounds { events_max: usize::MAX, bytes_max: usize::MAX };
        let (start, upto) = (Place::after(0), self.head());
        let page = self.history.page(
            PageRequest { wants, past: Past::Retained, place: start, upto, bounds },
            self.now,
        );
        let got: Vec<_> = page.events.iter().map(|event| event.seq).collect();
        assert_eq!(got, expected);
        assert_eq!(page.lost, None);
    }

    fn check_totals(&self) {
        let History { topics, by_name, retaining, totals, .. } = &self.history;
        let sum = |of: &dyn Fn(&TopicHistory<Arc<Event>>) -> usize| {
            topics.iter().map(|(_, t)| of(t)).sum()
        };
        let named: usize = sum(&|topic| topic.name.as_ref().map_or(0, |_| topic.own_bytes()));
        let events_bytes: usize = sum(&|topic| topic.bytes);
        assert_eq!(totals.bytes, named + events_bytes);
        assert_eq!(totals.events, sum(&TopicHistory::len));
        assert_eq!(totals.retained, sum(&|topic| topic.retained.len()));
        assert_eq!(by_name.len() + 1, topics.len());
        assert!(totals.retained_bytes <= self.bounds.retained_bytes_max);
        let kept: usize = retaining.iter().map(|&key| topics[key].own_bytes()).sum();
        assert!(totals.bytes <= self.bounds.bytes_max + kept, "{totals:?}");
        assert!(by_name.len() <= self.bounds.topics_max + retaining.len());
        let empty = |(_, topic): &(usize, &TopicHistory<Arc<Event>>)| {
            topic.name.is_some() && topic.class == 0
        };
        let empty: usize = topics.iter().filter(empty).map(|(_, topic)| topic.own_bytes()).sum();
        assert_eq!(self.history.empty_bytes, empty);
        for (key, topic) in topics {
            assert!(topic.len() <= topic.limits.events_max);
            assert!(topic.bytes <= topic.limits.bytes_max);
            let class = if key == EVERYONE { topic.class } else { class_of(topic.bytes) };
            assert!(topic.class == class || topic.class == RETAINING);
        }
    }
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let limits = (0..12usize, 0..6_000usize, 1..60u64).prop_map(|(events_max, bytes_max, age)| {
        Limits { events_max, bytes_max, age_max: Duration::from_secs(age) }
    });
    (limits.clone(), limits, 1_500..20_000usize, 2..8usize, 0..4_000usize).prop_map(
        |(topic, other, bytes_max, topics_max, retained_bytes_max)| Bounds {
            topic,
            overrides: [(Filter::parse("x.>").unwrap(), other)].into(),
            bytes_max,
            topics_max,
            retained_bytes_max,
        },
    )
}

fn of(filters: &[Filter]) -> Wants<'_> {
    Wants { filters, everyone: true, names: &ALL_NAMES }
}

fn filters(of: &[usize]) -> Vec<Filter> {
    let mut filters: Vec<_> = of.iter().map(|&at| Filter::parse(FILTERS[at]).unwrap()).collect();
    filters.sort_unstable();
    filters.dedup();
    filters
}

proptest! {
    #[test]
    fn f16_everything_is_there_or_declared(
        bounds in bounds(),
        operations in prop::collection::vec(operation(), 1..150),
    ) {
        let mut world = World::new(bounds);
        for operation in operations {
            match operation {
                Operation::Publish { topics, data_bytes, ttl, retain } => {
                    let retain = retain.map(|(keep, name)| match keep {
                        true => Retain::Keep(NAMES[name].into()),
                        false => Retain::Delete(NAMES[name].into()),
                    });
                    world.publish(&topics, data_bytes, ttl, retain);
                }
                Operation::Wait { seconds } => world.now += Duration::from_secs(seconds),
                Operation::Expire => world.history.expire(3, world.now),
                Operation::Read { filters: named, everyone, back, lag, page_events, meanwhile } => {
                    let head = world.head();
                    let after = head - head * back / 100;
                    let upto = head - (head - after) * lag / 100;
                    let wants = Wants { filters: &filters(&named), everyone, names: &ALL_NAMES };
                    world.read(wants, (after, upto), page_events, meanwhile);
                }
                Operation::Subscribe { filters: named, everyone } => {
                    world.subscribe(Wants { filters: &filters(&named), everyone, names: &ALL_NAMES });
                }
            }
            world.check_totals();
        }
    }
}

fn roomy() -> Bounds {
    Bounds {
        topic: Limits {
            events_max: 1_000_000,
            bytes_max: 1 << 30,
            age_max: Duration::from_secs(3600),
        },
        overrides: Box::default(),
        bytes_max: 100_000,
        topics_max: 100,
        retained_bytes_max: 10_000,
    }
}

#[test]
fn a_chatty_topic_leaves_the_quiet_ones_their_share() {
    let mut world = World::new(roomy());
    for topic in 1..TOPICS.len() {
        // Less than a sixth of all bytes each.
        for _ in 0..20 {
            world.publish(&[topic], 100, None, None);
        }
    }
    let quiet = world.head();
    for _ in 0..5_000 {
        world.publish(&[0], 100, None, None);
    }
    let head = world.head();
    world.read(of(&filters(&[1, 2, 5])), (0, head), 10, 0);
    let lost = world.history.lost(of(&filters(&[1, 2, 5])), Place::after(0), u64::MAX, world.now);
    assert_eq!(lost, None, "of {quiet} events of quiet topics");
    let lost =
        world.history.lost(of(&filters(&[0])), Place::after(0), u64::MAX, world.now).unwrap();
    assert!(lost.count.unwrap() > 4_000, "{lost:?}");
}

#[test]
fn f45_a_million_topics_are_bounded() {
    let mut history = History::new(Bounds { bytes_max: 1 << 20, topics_max: 1_000, ..roomy() }, 0);
    let now = Instant::now();
    for seq in 1..=1_000_000 {
        let draft = Draft::new(&Fields { data: "x", ..Fields::default() });
        let frame = draft.seal(EventId { epoch: Epoch::new(0), seq });
        let to = Destination::Topics([Topic::parse(&format!("t.{seq}")).unwrap()].into());
        let event = Arc::new(Event {
            seq,
            to,
            frame,
            gzip: Gzip::default(),
            accepted: now,
            expires: None,
            conflate: None,
            is_last: false,
        });
        history.append(&event, None, now);
    }
    let totals = history.totals();
    assert_eq!(totals.topics, 1_000);
    assert!(totals.bytes <= 1 << 20);
    // What is gone with its topic is still declared.
    let gone = [Filter::parse("t.5").unwrap()];
    let lost = history.lost(of(&gone), Place::after(4), u64::MAX, now).unwrap();
    assert_eq!(lost, Loss { to: 999_000, count: None, by_damage: false });
    let kept = [Filter::parse("t.1000000").unwrap()];
    assert_eq!(history.lost(of(&kept), Place::after(999_000), u64::MAX, now), None);
}

#[test]
fn a_loss_is_exact_for_a_topic_that_was_known_all_along() {
    let limits = Limits { events_max: 3, ..roomy().topic };
    let mut world = World::new(Bounds { topic: limits, ..roomy() });
    for topic in [0, 0, 1, 0, 0, 0] {
        world.publish(&[topic], 1, None, None);
    }
    let mut lost =
        |after| world.history.lost(of(&filters(&[0])), Place::after(after), u64::MAX, world.now);
    assert_eq!(lost(0), Some(Loss { to: 2, count: Some(2), by_damage: false }));
    assert_eq!(lost(1), Some(Loss { to: 2, count: None, by_damage: false }));
    assert_eq!(lost(2), None);
}
