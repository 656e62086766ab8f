//! The account of one slow stream: what it received and what was declared lost must together be
//! everything that was published, in the order in which it was.

use serde_json::Value;

use super::support::Event;

/// The count of one stream to which every published event goes.
#[derive(Debug, Default)]
pub(crate) struct Account {
    last: u64,
    /// Published events that came.
    pub(crate) received: u64,
    /// Published events that were declared lost.
    pub(crate) declared: u64,
    /// Gaps that declared them.
    pub(crate) gaps: u64,
    /// Events received since the last gap.
    pub(crate) since_gap: u64,
}

impl Account {
    /// The account of a stream that begins at this cursor.
    pub(crate) fn from(cursor: &str) -> Self {
        Self { last: seq(cursor), ..Self::default() }
    }

    /// Takes the stream's next event, a published one or a gap.
    #[track_caller]
    pub(crate) fn take(&mut self, event: &Event) {
        if event.event == "gap" {
            return self.take_gap(event);
        }
        let now = seq(&event.id);
        assert_eq!(now, self.last + 1, "the event after {} is {event:?}", self.last);
        self.last = now;
        self.received += 1;
        self.since_gap += 1;
    }

    #[track_caller]
    fn take_gap(&mut self, event: &Event) {
        let gap: Value = serde_json::from_str(&event.data).expect("a gap's data is JSON");
        let to = seq(gap["to"].as_str().expect("a gap says where it ends"));
        let after = gap["after"].as_str().map(seq);
        let count = gap["count"].as_u64().expect("the loss of a slow stream is counted");
        assert_eq!(after, Some(self.last), "a gap begins where the stream was: {event:?}");
        assert_eq!(self.last + count, to, "the count is what lies between: {event:?}");
        assert_eq!(gap["reason"], "slow");
        assert!(count > 0, "a gap without a loss: {event:?}");
        assert_eq!(seq(&event.id), to, "a gap carries the last id lost: {event:?}");
        self.last = to;
        self.declared += count;
        self.gaps += 1;
        self.since_gap = 0;
    }
}

/// The place in the order that an id names.
#[track_caller]
fn seq(id: &str) -> u64 {
    let seq = id.split_once('-').and_then(|(_, seq)| seq.parse().ok());
    seq.unwrap_or_else(|| panic!("{id:?} is not an id"))
}
