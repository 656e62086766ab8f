//! Order, all-or-nothing, the ids a publisher is told, and what a key recognises.

use super::*;
use crate::event::{ALL_NAMES, Destination};
use crate::history::Limits;
use crate::history::{PageBounds, Past};
use crate::journal::{self, Ended, Item, Record, RecordPlace, Recovered, To};
use crate::sse::{Draft, Fields, Gzip};
use crate::topic::{Filter, Topic};

/// A log with the records from `first_seq` to before `next_seq`.
fn recovered(first_seq: u64, next_seq: u64) -> Recovered {
    Recovered {
        epoch: Epoch::new(5),
        next_seq,
        first_seq,
        ended: Ended::Killed,
        records: next_seq - first_seq,
        values: 0,
        bytes: 0,
        findings: Vec::new(),
        holes: Vec::new(),
    }
}

fn submission(data: &str) -> Submission {
    let draft = Draft::new(&Fields { data, ..Fields::default() });
    Submission {
        to: Destination::Everyone,
        draft,
        ttl: None,
        retain: None,
        key: None,
        conflate: None,
        is_last: false,
    }
}

fn topics(names: &[&str]) -> Destination {
    Destination::Topics(names.iter().map(|name| Topic::parse(name).unwrap()).collect())
}

fn keyed(data: &str, key: &str) -> Submission {
    Submission { key: Some(Key::Event(key.as_bytes().into())), ..submission(data) }
}

fn retained(topic: &str, data_bytes: usize) -> Submission {
    let to = Destination::Topics([Topic::parse(topic).unwrap()].into());
    Submission { to, retain: Some(Retain::Keep("".into())), ..submission(&"x".repeat(data_bytes)) }
}

fn hub(events_max: usize, bytes_max: usize) -> (Hub, [Arc<EventMailbox>; 2]) {
    let mailboxes = [(); 2].map(|()| Arc::new(Mailbox::new(events_max, bytes_max)));
    let bounds = Bounds { retained_bytes_max: 1_000, ..Bounds::default() };
    let keys = KeyBounds { window: Duration::from_secs(120), keys_max: 3 };
    (Hub::new(Epoch::new(5), mailboxes.clone(), bounds, keys), mailboxes)
}

fn publish(hub: &Hub, batch: Vec<Submission>) -> Result<Vec<u64>, Refused> {
    let receipt = hub.publish(batch, None, Instant::now())?;
    Ok(receipt.ids().map(|id| id.seq).collect())
}

fn of(filters: &[Filter]) -> Wants<'_> {
    Wants { filters, everyone: true, names: &ALL_NAMES }
}

#[test]
fn every_shard_gets_every_event_in_one_order() {
    let (hub, mailboxes) = hub(8, 1 << 20);
    let batch = vec![submission("a"), submission("b")];
    let receipt = hub.publish(batch, None, Instant::now()).unwrap();
    publish(&hub, vec![submission("c")]).unwrap();
    let ids: Vec<_> = receipt.ids().map(|id| id.to_string()).collect();
    assert_eq!(ids, ["000000000005-1", "000000000005-2"]);
    for mailbox in mailboxes {
        let seqs: Vec<_> = std::iter::from_fn(|| mailbox.pop()).map(|event| event.seq).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }
    assert_eq!(hub.head(), 3);
}

#[test]
fn a_batch_without_room_leaves_no_trace() {
    let (hub, mailboxes) = hub(2, 1 << 20);
    mailboxes[1].push(Arc::new(Event {
        seq: 0,
        to: Destination::Everyone,
        frame: submission("x").draft.seal_without_id(),
        gzip: Gzip::default(),
        accepted: Instant::now(),
        expires: None,
        conflate: None,
        is_last: false,
    }));
    assert_eq!(publish(&hub, vec![keyed("a", "k"), submission("b")]), Err(Refused::Overloaded));
    assert_eq!((mailboxes[0].len(), mailboxes[1].len()), (0, 1));
    assert_eq!((hub.head(), hub.tidy(Instant::now()).events), (0, 0));
    assert_eq!(publish(&hub, vec![keyed("c", "k")]), Ok(vec![1]));
}

#[test]
fn f18_an_event_sent_again_keeps_its_id() {
    let (hub, mailboxes) = hub(8, 1 << 20);
    assert_eq!(publish(&hub, vec![submission("a"), keyed("b", "k")]), Ok(vec![1, 2]));
    assert_eq!(publish(&hub, vec![keyed("other", "k")]), Ok(vec![2]));
    // Known, new, twice in the batch, and without a key.
    let batch = vec![keyed("b", "k"), keyed("c", "l"), keyed("c", "l"), submission("d")];
    let receipt = hub.publish(batch, None, Instant::now()).unwrap();
    assert_eq!(receipt.ids().map(|id| id.seq).collect::<Vec<_>>(), [2, 3, 3, 4]);
    assert_eq!(receipt.fresh, 2);
    assert_eq!((hub.head(), mailboxes[0].len()), (4, 4));
}

#[test]
fn f18_a_request_sent_again_gets_its_first_answer() {
    let (hub, _) = hub(8, 1 << 20);
    let key = || Some(Key::Request(b"r"[..].into()));
    let batch = || vec![submission("a"), submission("b")];
    let now = Instant::now();
    publish(&hub, vec![submission("0")]).unwrap();
    let first = hub.publish(batch(), key(), now).unwrap();
    let again = hub.publish(vec![submission("x")], key(), now).unwrap();
    assert_eq!((first.fresh, again.fresh, hub.head()), (2, 0, 3));
    assert!(first.ids().eq(again.ids()));
    let later = hub.publish(batch(), key(), now + Duration::from_secs(120)).unwrap();
    assert_eq!(later.ids().map(|id| id.seq).collect::<Vec<_>>(), [4, 5]);
}

#[test]
fn more_keys_than_may_be_remembered_are_refused() {
    let (hub, _) = hub(8, 1 << 20);
    publish(&hub, vec![keyed("a", "1"), keyed("b", "2")]).unwrap();
    let batch = vec![keyed("c", "3"), keyed("d", "4")];
    assert_eq!(publish(&hub, batch), Err(Refused::TooManyKeys));
    assert_eq!(publish(&hub, vec![keyed("e", "1"), keyed("c", "3")]), Ok(vec![1, 3]));
}

#[test]
fn retained_values_have_so_much_room() {
    let (hub, _) = hub(8, 1 << 20);
    assert_eq!(publish(&hub, vec![retained("a", 300)]), Ok(vec![1]));
    assert!(hub.retains());
    let batch = vec![submission("x"), retained("b", 800)];
    assert_eq!(publish(&hub, batch), Err(Refused::RetainedFull));
    assert_eq!(hub.head(), 1);
    // In the place of the first there is room.
    assert_eq!(publish(&hub, vec![retained("a", 600)]), Ok(vec![2]));
    assert_eq!(hub.tidy(Instant::now()).retained, 1);
}

fn hub_with_log() -> (Hub, Arc<EventMailbox>) {
    let mailbox = Arc::new(EventMailbox::new(8, 1 << 20));
    let clock = WallClock { now: Instant::now(), now_ms: 1_000_000 };
    let recovery = Recovery::new(Bounds::default(), KeyBounds::default(), clock);
    let restored = recovery.finish(&recovered(1, 1), |_, _| Ok(())).unwrap();
    (Hub::with_log(Epoch::new(5), [Arc::clone(&mailbox)], restored), mailbox)
}

fn outcome(receipt: &Receipt) -> Option<Outcome> {
    let mut settled = receipt.logged.clone().expect("there is a log");
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut settled).poll(&mut cx) {
        std::task::Poll::Ready(outcome) => Some(outcome),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn nothing_is_delivered_before_it_is_in_the_log() {
    let (hub, mailbox) = hub_with_log();
    let now = Instant::now();
    let first = hub.publish(vec![submission("a"), submission("b")], None, now).unwrap();
    let second = hub.publish(vec![submission("c")], None, now).unwrap();
    assert_eq!((hub.head(), mailbox.len(), outcome(&first)), (0, 0, None));
    assert!(hub.wait_for_log(Duration::ZERO));
    let mut shown = Vec::new();
    let taken = hub.show_to_log(|batch| {
        let clock = WallClock { now, now_ms: 0 };
        shown.extend(batch.records(clock).map(|record| record.as_log().seq));
        shown.len() <= 2
    });
    assert_eq!((taken, shown), (1, vec![1, 2, 3]));
    hub.logged(1, now);
    assert_eq!((hub.head(), mailbox.len()), (2, 2));
    assert_eq!((outcome(&first), outcome(&second)), (Some(Outcome::Logged), None));
    hub.logged(1, now);
    assert_eq!((hub.head(), outcome(&second)), (3, Some(Outcome::Logged)));
    assert!(!hub.wait_for_log(Duration::ZERO));
}

#[test]
fn f63_without_room_on_the_disk_it_is_as_if_nothing_had_been_published() {
    let (hub, mailbox) = hub_with_log();
    let now = Instant::now();
    let request = || Some(Key::Request(b"r"[..].into()));
    let first = hub.publish(vec![keyed("a", "k")], None, now).unwrap();
    let second = hub.publish(vec![submission("b")], request(), now).unwrap();
    hub.not_logged(Outcome::Full);
    assert_eq!((outcome(&first), outcome(&second)), (Some(Outcome::Full), Some(Outcome::Full)));
    assert_eq!((hub.head(), mailbox.len()), (0, 0));
    // The ids and the keys are free again: nobody has seen them.
    let again = hub.publish(vec![keyed("a", "k")], request(), now).unwrap();
    assert_eq!((again.fresh, again.ids().next().map(|id| id.seq)), (1, Some(1)));
    hub.logged(1, now);
    assert_eq!((hub.head(), outcome(&again)), (1, Some(Outcome::Logged)));
}

#[test]
fn f64_after_a_failure_of_the_log_nothing_is_taken() {
    let (hub, _) = hub_with_log();
    let receipt = hub.publish(vec![submission("a")], None, Instant::now()).unwrap();
    hub.not_logged(Outcome::Failed);
    assert_eq!(outcome(&receipt), Some(Outcome::Failed));
    assert!(hub.has_failed());
    assert_eq!(publish(&hub, vec![submission("b")]), Err(Refused::LogFailed));
}

#[test]
fn who_sends_again_what_is_on_its_way_waits_for_it_too() {
    let (hub, _) = hub_with_log();
    let now = Instant::now();
    publish(&hub, vec![submission("before")]).unwrap();
    let first = hub.publish(vec![keyed("a", "k")], None, now).unwrap();
    let again = hub.publish(vec![keyed("a", "k")], None, now).unwrap();
    assert_eq!((again.fresh, again.ids().next().map(|id| id.seq)), (0, Some(2)));
    hub.logged(1, now);
    assert_eq!((outcome(&first), outcome(&again)), (None, None));
    hub.logged(1, now);
    assert_eq!((outcome(&first), outcome(&again)), (Some(Outcome::Logged), Some(Outcome::Logged)));
    let later = hub.publish(vec![keyed("a", "k")], None, now).unwrap();
    assert!(later.logged.is_none(), "it is there already");
}

#[test]
fn what_waits_for_the_log_has_its_room() {
    let (hub, _) = hub_with_log();
    for _ in 0..4 {
        publish(&hub, vec![submission("a"), submission("b")]).unwrap();
    }
    assert_eq!(publish(&hub, vec![submission("c")]), Err(Refused::Overloaded));
}

#[test]
fn values_that_wait_for_the_log_have_their_room() {
    let mailbox = Arc::new(EventMailbox::new(8, 1 << 20));
    let clock = WallClock { now: Instant::now(), now_ms: 1_000_000 };
    let bounds = Bounds { retained_bytes_max: 1_000, ..Bounds::default() };
    let recovery = Recovery::new(bounds, KeyBounds::default(), clock);
    let restored = recovery.finish(&recovered(1, 1), |_, _| Ok(())).unwrap();
    let hub = Hub::with_log(Epoch::new(5), [mailbox], restored);
    assert_eq!(publish(&hub, vec![retained("a", 300)]), Ok(vec![1]));
    assert_eq!(publish(&hub, vec![retained("b", 300)]), Err(Refused::RetainedFull));
    hub.not_logged(Outcome::Full);
    assert_eq!(publish(&hub, vec![retained("b", 300)]), Ok(vec![1]));
    hub.logged(1, Instant::now());
    // In the place of the first there is room.
    assert_eq!(publish(&hub, vec![retained("b", 600)]), Ok(vec![2]));
}

#[test]
fn values_without_their_records_come_back_as_values_only() {
    let (hub, _) = hub_with_log();
    let of_both = Submission { to: topics(&["a", "b"]), ..retained("a", 9) };
    let to_all = Submission { to: Destination::Everyone, ..retained("a", 9) };
    let gone = Submission { ttl: Some(Duration::ZERO), ..retained("c", 9) };
    let batch = vec![of_both, to_all, gone, retained("b", 9), submission("kept by the log")];
    publish(&hub, batch).unwrap();
    let now = Instant::now();
    hub.logged(1, now);
    // Of the first, the value of `b` has been replaced by the fourth; the third has expired.
    let clock = WallClock { now, now_ms: 1_000_000 };
    let values = hub.values_before(4, now);
    let records: Vec<_> = values.iter().map(|value| value.as_log(clock)).collect();
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2]);
    let a = topics(&["a"]);
    assert_eq!((records[0].to, records[1].to), (waiting::to_log(&a), To::Everyone));

    let mut recovery = Recovery::new(Bounds::default(), KeyBounds::default(), clock);
    records.iter().for_each(|record| recovery.take(Item::Value(*record)));
    assert_eq!(recovery.unreadable, 0);
    let mailbox = Arc::new(EventMailbox::new(8, 1 << 20));
    let restored = recovery.finish(&recovered(4, 6), |_, _| Ok(())).unwrap();
    let hub = Hub::with_log(Epoch::new(5), [mailbox], restored);
    let totals = hub.tidy(now);
    assert_eq!((totals.retained, totals.events), (2, 0));
    let bounds = PageBounds { events_max: 9, bytes_max: 9_999 };
    let seqs = |filters: &[&str], past, after| {
        let filters: Vec<_> = filters.iter().map(|text| Filter::parse(text).unwrap()).collect();
        let page = hub.page(
            PageRequest { wants: of(&filters), past, place: Place::after(after), upto: 5, bounds },
            now,
        );
        (page.lost.map(|lost| lost.to), page.events.iter().map(|e| e.seq).collect::<Vec<_>>())
    };
    assert_eq!(seqs(&["a", "b"], Past::Retained, 0), (None, vec![1, 2]));
    assert_eq!(seqs(&["b"], Past::Retained, 0), (None, vec![2]));
    assert_eq!(seqs(&["a"], Past::Events, 0), (Some(3), vec![1, 2]));
    assert_eq!(seqs(&["a"], Past::Events, 3), (None, vec![]));
    // The next trim takes them along.
    assert_eq!(hub.values_before(6, now).len(), 2);
}

#[test]
fn f71_a_clock_that_was_set_back_or_on_loses_no_event_and_gives_no_id_twice() {
    let now = Instant::now();
    for (accepted_ms, now_ms, is_kept) in
        [(1_000_000, 1_000, true), (1_000, 1_000, true), (1_000, 1_000 + 7_200_000, false)]
    {
        let clock = WallClock { now, now_ms };
        let mut recovery = Recovery::new(Bounds::default(), KeyBounds::default(), clock);
        let frame = submission("x").draft.seal(EventId { epoch: Epoch::new(5), seq: 1 });
        let record = Record {
            seq: 1,
            accepted_ms,
            expires_ms: None,
            to: To::Everyone,
            retain: journal::Retain::No,
            key: None,
            frame: frame.chunk(),
        };
        recovery.take(Item::Record(record, RecordPlace::default()));
        let mailbox = Arc::new(EventMailbox::new(8, 1 << 20));
        let restored = recovery.finish(&recovered(1, 2), |wanted, visit| {
            assert_eq!(wanted, [(RecordPlace::default(), 1)]);
            visit(record);
            Ok(())
        });
        let hub = Hub::with_log(Epoch::new(5), [mailbox], restored.unwrap());
        let start = Place::after(0);
        let lost = hub.lost(of(&[]), start, 1, now);
        assert_eq!(lost.is_none(), is_kept, "too old is declared, {accepted_ms} at {now_ms}");
        let bounds = PageBounds { events_max: 9, bytes_max: 9_999 };
        let page = hub.page(
            PageRequest { wants: of(&[]), past: Past::Events, place: start, upto: 1, bounds },
            now,
        );
        assert_eq!(page.events.len(), usize::from(is_kept));
        assert_eq!(publish(&hub, vec![submission("y")]), Ok(vec![2]));
    }
}

#[test]
fn what_is_read_back_from_a_log_is_what_was_there() {
    const EVENTS: u64 = 2_000;
    let now = Instant::now();
    let clock = WallClock { now, now_ms: 1_000_000 };
    let limits = Limits { events_max: 150, bytes_max: 40_000, age_max: Duration::from_secs(60) };
    let bounds = Bounds { topic: limits, bytes_max: 150_000, topics_max: 20, ..Bounds::default() };
    let new_mailbox = || [Arc::new(EventMailbox::new(2 * EVENTS as usize, 64 << 20))];
    let keys = KeyBounds::default();
    let before = Hub::new(Epoch::new(5), new_mailbox(), bounds.clone(), keys);
    let mut recovery = Recovery::new(bounds, keys, clock);
    let mut log = Vec::new();
    let mut random = fastrand::Rng::with_seed(7);
    for seq in 1..=EVENTS {
        let names = ["a", "b", "c", "seldom", "gone"];
        // The last of them only in the beginning: by the end nothing of it is left.
        let topic = if seq < 50 { random.usize(..5) } else { random.usize(..3) };
        let mut of: Vec<_> = vec![names[if seq % 400 == 0 { 3 } else { topic }]];
        of.extend((seq % 7 == 0 && of[0] != "a").then_some("a"));
        let event = Submission {
            to: if seq % 31 == 0 { Destination::Everyone } else { topics(&of) },
            ttl: (seq % 11 == 0).then_some(Duration::from_secs(60)),
            retain: (seq % 97 == 0).then(|| Retain::Keep("name".into())),
            ..submission(&"x".repeat(random.usize(..400)))
        };
        before.publish(vec![event.clone()], None, now).unwrap();
        log.push(event);
    }
    let frames: Vec<_> =
        (1..).zip(&log).map(|(seq, event)| event.draft.clone().seal(before.id(seq))).collect();
    let record = |seq: u64| {
        let event = &log[seq as usize - 1];
        let keep = journal::Retain::Keep { event_name: Some("name") };
        Record {
            seq,
            accepted_ms: clock.now_ms,
            expires_ms: event.ttl.map(|ttl| clock.now_ms + ttl.as_millis() as u64),
            to: waiting::to_log(&event.to),
            retain: if event.retain.is_some() { keep } else { journal::Retain::No },
            key: None,
            frame: frames[seq as usize - 1].chunk(),
        }
    };
    (1..=EVENTS).for_each(|seq| recovery.take(Item::Record(record(seq), RecordPlace::default())));
    let restored = recovery.finish(&recovered(1, EVENTS + 1), |wanted, visit| {
        assert!(wanted.len() < EVENTS as usize / 4, "only what is kept: {}", wanted.len());
        wanted.iter().for_each(|(_, seq)| visit(record(*seq)));
        Ok(())
    });
    let after = Hub::with_log(Epoch::new(5), new_mailbox(), restored.unwrap());

    assert_eq!(after.tidy(now), before.tidy(now));
    for name in ["a", "b", "c", "seldom", "gone", "never", ">"] {
        for past in [Past::Events, Past::Retained] {
            for from in [0, EVENTS / 2, EVENTS - 5] {
                let page = |hub: &Hub| {
                    let filters = [Filter::parse(name).unwrap()];
                    let bounds = PageBounds { events_max: usize::MAX, bytes_max: usize::MAX };
                    let (wants, place) = (of(&filters), Place::after(from));
                    let page =
                        hub.page(PageRequest { wants, past, place, upto: EVENTS, bounds }, now);
                    let event = |event: &Arc<Event>| {
                        (event.seq, event.frame.chunk().clone(), event.expires)
                    };
                    (page.lost, page.events.iter().map(event).collect::<Vec<_>>())
                };
                assert_eq!(page(&after), page(&before), "{name} after {from}");
            }
        }
    }
}
