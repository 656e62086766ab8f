//! `/tail`: the events of a topic or pattern as JSON, from a place on, waiting for them if there are none
//! yet. Read from the history, so that no watcher is on an event's way; one that is slow finds a gap.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use serde::Serialize;
use tokio::time::sleep;

use super::parameters::{Parameters, bad};
use super::{Answered, Console, json};
use crate::config::units::Interval;
use crate::error::Problem;
use crate::event::{ALL_NAMES, Destination, Event};
use crate::history::{Page, PageBounds, PageRequest, Past, Place, Wants};
use crate::sse::{Cursor, EventId, GapReason, Item, Parser};
use crate::topic::{BROADCAST, Filter, Topic};

/// How often somebody who waits looks for what is new.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Longest wait for an event, so that no proxy between takes the answer for lost.
const WAIT_MAX: Duration = Duration::from_secs(25);

/// Bytes of the events of one answer, as they are on a stream. One event always fits.
const BYTES_MAX: usize = 256 * 1024;

#[derive(Serialize)]
struct Tail {
    events: Vec<Shown>,
    /// Before the first of these events.
    gap: Option<Gap>,
    /// What to ask with next.
    cursor: String,
}

#[derive(Serialize)]
struct Shown {
    id: String,
    topics: Vec<String>,
    event: Option<String>,
    data: String,
    accepted_ms: u64,
}

#[derive(Serialize)]
struct Gap {
    after: Option<String>,
    to: String,
    count: Option<u64>,
    reason: &'static str,
}

impl Console {
    pub(super) async fn tail<S>(&self, head: &Parts) -> Answered<S> {
        let parameters = Parameters::read(head, &["topic", "after", "limit", "wait"])?;
        let Some(topic) = parameters.get("topic") else {
            let detail = "say which topic or pattern: /tail?topic=a.*";
            return Err(Problem::new(400, "no-topic", "No topic", detail).in_field("topic"));
        };
        let filter = Filter::parse(topic).map_err(|error| {
            Problem::new(400, "bad-topic", "Bad topic", error.to_string()).in_field("topic")
        })?;
        let events_max = parameters.limit()?;
        let wait = parameters.parsed::<Interval>("wait", "a length of time such as `25s`")?;
        let wait = wait.map_or(Duration::ZERO, |wait| wait.0.min(WAIT_MAX));
        let (mut place, gap) = self.begin(parameters.get("after"))?;
        let Ok(_waits) = self.tails.try_acquire() else {
            let detail = "as many requests wait for events as may; try again when some have ended";
            return Err(Problem::new(503, "too-many-tails", "Too many tails", detail));
        };
        let until = Instant::now() + wait;
        let bounds = PageBounds { events_max, bytes_max: BYTES_MAX };
        loop {
            let page = self.read(&filter, place, bounds);
            let is_news = gap.is_some() || page.lost.is_some() || !page.events.is_empty();
            if is_news || Instant::now() >= until {
                return Ok(json(&self.show(&page, place, gap)));
            }
            place.after = page.to;
            sleep(LOOK_EVERY).await;
        }
    }

    /// Where a request begins: behind its cursor, or behind what is there now.
    fn begin(&self, after: Option<&str>) -> Result<(Place, Option<Gap>), Problem> {
        let head = self.hub.head();
        let Some(after) = after else { return Ok((Place::after(head), None)) };
        let (id, told_at) = after.split_once('.').unwrap_or((after, "0"));
        let what = "it is an event's id, or the `cursor` of an answer before";
        let told_at = told_at.parse().map_err(|_| bad("after", what))?;
        let reason = match Cursor::parse(id.as_bytes()) {
            Cursor::At(id) if id.epoch != self.hub.epoch() => GapReason::Epoch,
            Cursor::At(id) if id.seq > head => GapReason::Ahead,
            Cursor::At(id) => return Ok((Place { after: id.seq, told_at }, None)),
            Cursor::Live | Cursor::Unreadable => return Err(bad("after", what)),
        };
        let to = self.hub.id(head).to_string();
        let gap = Gap { after: None, to, count: None, reason: reason.as_str() };
        Ok((Place::after(head), Some(gap)))
    }

    fn read(&self, filter: &Filter, place: Place, bounds: PageBounds) -> Page {
        let upto = self.hub.head();
        if upto <= place.after {
            return Page { to: place.after, told_at: place.told_at, ..Page::default() };
        }
        let wants =
            Wants { filters: std::slice::from_ref(filter), everyone: true, names: &ALL_NAMES };
        let past = Past::Events;
        self.hub.page(PageRequest { wants, past, place, upto, bounds }, Instant::now())
    }

    fn show(&self, page: &Page, place: Place, gap: Option<Gap>) -> Tail {
        let id = |seq| self.hub.id(seq).to_string();
        let lost = page.lost.map(|lost| Gap {
            after: Some(id(place.after)),
            to: id(lost.to),
            count: lost.count,
            reason: if lost.by_damage { GapReason::Corrupt } else { GapReason::Expired }.as_str(),
        });
        Tail {
            events: page.events.iter().map(|event| shown(event, self.hub.id(event.seq))).collect(),
            gap: gap.or(lost),
            cursor: format!("{}.{}", id(page.to), page.told_at),
        }
    }
}

fn shown(event: &Arc<Event>, id: EventId) -> Shown {
    let frame = event.frame.bare_bytes();
    // Our own encoding, read by our own parser.
    let mut parser = Parser::new(frame.len(), "");
    let (name, data) = match parser.pull(&mut &*frame) {
        Some(Item::Event(message)) => (message.event.map(str::to_owned), message.data.to_owned()),
        Some(Item::Retry(_) | Item::TooLarge) | None => (None, String::new()),
    };
    let topics = match &event.to {
        Destination::Everyone => vec![BROADCAST.to_owned()],
        Destination::Topics(topics) => {
            topics.iter().map(Topic::as_str).map(str::to_owned).collect()
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let accepted_ms = now.saturating_sub(event.accepted.elapsed()).as_millis() as u64;
    Shown { id: id.to_string(), topics, event: name, data, accepted_ms }
}
