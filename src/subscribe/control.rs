//! Control events: `hello`, heartbeat, `gap`, `end`. Each route has names of its own for them, and may
//! have `hello`, heartbeats and `end` switched off; the names in use are reserved.

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::config::schema::{HeartbeatKind, Stream};
use crate::inspect::StreamId;
use crate::sse::{self, Draft, EndReason, Epoch, EventId, Fields, Frame, GapReason};

/// Events that a stream has lost, all between two ids. Grows by coalescing: there is never more
/// than one owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last event before the loss, where it is known.
    pub after: Option<u64>,
    /// The last lost event.
    pub to: u64,
    /// Where the client's cursor is afterwards: at `to`, unless what comes next is older.
    pub cursor: u64,
    /// How many were lost, where it is known.
    pub count: Option<u64>,
    /// Why.
    pub reason: GapReason,
}

/// What a `hello` says.
#[derive(Clone, Copy, Debug)]
pub struct Hello<'a> {
    /// Server time in milliseconds since 1970.
    pub time_ms: u64,
    /// Where live events begin.
    pub head: u64,
    /// Whether the client has everything before that.
    pub resumed: bool,
    /// Names this stream in the internal API.
    pub session: StreamId,
    /// JSON that the app server has for the client.
    pub metadata: Option<&'a str>,
}

/// Encodes control events as one route is configured.
#[derive(Clone, Debug)]
pub struct ControlEvents {
    epoch: Epoch,
    hello: Option<String>,
    heartbeat: Heartbeat,
    gap: String,
    end: Option<String>,
    /// How long a stream is silent at most; 0 without heartbeats.
    heartbeat_ms: u64,
    retry: Duration,
}

/// A sign of life.
#[derive(Clone, Debug)]
enum Heartbeat {
    Comment,
    Event { name: Option<String>, data: String },
}

#[derive(Serialize)]
struct HelloData<'a> {
    time: u64,
    cursor: &'a str,
    resumed: bool,
    heartbeat_ms: u64,
    session: StreamId,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

/// What a client is told of a [`Gap`].
#[derive(Serialize)]
pub(super) struct GapData {
    after: Option<String>,
    to: String,
    count: Option<u64>,
    reason: &'static str,
}

impl GapData {
    pub(super) fn new(gap: &Gap, epoch: Epoch) -> Self {
        let id = |seq| EventId { epoch, seq }.to_string();
        Self {
            after: gap.after.map(id),
            to: id(gap.to),
            count: gap.count,
            reason: gap.reason.as_str(),
        }
    }
}

#[derive(Serialize)]
struct EndData<'a> {
    reason: &'a str,
    retry_ms: u64,
}

fn named(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

/// Longest silence on a stream before a heartbeat; `None` without heartbeats.
pub fn heartbeat_ms(stream: &Stream) -> Option<u64> {
    let interval = stream.heartbeat.0.as_millis() as u64;
    (stream.heartbeat_kind != HeartbeatKind::Off).then_some(interval)
}

fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("control data are strings and numbers")
}

impl ControlEvents {
    /// The control events of streams configured by `stream`, on a log of `epoch`.
    pub fn new(stream: &Stream, epoch: Epoch) -> Self {
        let control = &stream.control;
        let heartbeat = match stream.heartbeat_kind {
            HeartbeatKind::Event => Heartbeat::Event {
                name: named(&control.heartbeat),
                data: stream.heartbeat_data.clone(),
            },
            HeartbeatKind::Comment | HeartbeatKind::Off => Heartbeat::Comment,
        };
        Self {
            epoch,
            hello: named(&control.hello),
            heartbeat,
            gap: control.gap.clone(),
            end: named(&control.end),
            heartbeat_ms: heartbeat_ms(stream).unwrap_or(0),
            retry: stream.retry.0,
        }
    }

    fn id(&self, seq: u64) -> EventId {
        EventId { epoch: self.epoch, seq }
    }

    /// A reconnect delay of 50 to 150 % of the configured one, so that clients which lost their
    /// streams together do not come back together.
    pub fn jittered_retry_ms(&self) -> u64 {
        let retry = self.retry.as_millis() as u64;
        retry / 2 + fastrand::u64(0..=retry)
    }

    /// The first event. Carries the cursor as its id, so that a client which loses the stream
    /// before any event comes back to this place; unless something follows that has to reach the
    /// client before its cursor moves there. Where it is switched off, the cursor and the reconnect
    /// delay come without an event.
    pub fn hello(&self, hello: &Hello<'_>, moves_cursor: bool) -> Frame {
        let id = moves_cursor.then(|| self.id(hello.head));
        let retry_ms = self.jittered_retry_ms();
        let Some(name) = &self.hello else { return sse::retry(retry_ms, id) };
        let data = json(&HelloData {
            time: hello.time_ms,
            cursor: &self.id(hello.head).to_string(),
            resumed: hello.resumed,
            heartbeat_ms: self.heartbeat_ms,
            session: hello.session,
            metadata: hello.metadata.and_then(|text| serde_json::from_str(text).ok()),
        });
        let draft =
            Draft::new(&Fields { event: Some(name), retry_ms: Some(retry_ms), data: &data });
        match id {
            Some(id) => draft.seal(id),
            None => draft.seal_without_id(),
        }
    }

    /// A sign of life at `head`, the same for every stream that has everything up to there.
    pub fn heartbeat(&self, head: u64) -> Frame {
        match &self.heartbeat {
            Heartbeat::Event { name, data } => {
                let fields = Fields { event: name.as_deref(), retry_ms: None, data };
                Draft::new(&fields).seal(self.id(head))
            }
            Heartbeat::Comment => sse::comment(self.id(head)),
        }
    }

    /// The loss of events; its id is where the client's cursor is then, unless something follows that
    /// has to reach the client first.
    pub fn gap(&self, gap: &Gap, moves_cursor: bool) -> Frame {
        let data = json(&GapData::new(gap, self.epoch));
        let fields = Fields { event: Some(&self.gap), retry_ms: None, data: &data };
        let draft = Draft::new(&fields);
        if moves_cursor { draft.seal(self.id(gap.cursor)) } else { draft.seal_without_id() }
    }

    /// The last event of a stream that the gateway ends. Without an id: it is not a place in the
    /// order. `retry:` says the same delay to native clients as `retry_ms` does to scripts.
    /// A stream that is shed was never one: it is only told when to come back.
    pub fn end(&self, reason: EndReason) -> Option<Frame> {
        let retry_ms = self.jittered_retry_ms();
        if reason == EndReason::Shed {
            return Some(sse::retry(retry_ms, None));
        }
        let data = json(&EndData { reason: reason.as_str(), retry_ms });
        let fields =
            Fields { event: Some(self.end.as_deref()?), retry_ms: Some(retry_ms), data: &data };
        Some(Draft::new(&fields).seal_without_id())
    }
}

#[cfg(test)]
mod tests {
    //! The control events' text, by example.

    use super::*;

    fn control(edit: impl FnOnce(&mut Stream)) -> ControlEvents {
        let mut stream = Stream::default();
        edit(&mut stream);
        ControlEvents::new(&stream, Epoch::new(1))
    }

    fn text(frame: &Frame) -> String {
        String::from_utf8(frame.bare().to_vec()).unwrap()
    }

    #[test]
    fn hello_carries_the_cursor_unless_a_gap_follows() {
        let hello = Hello {
            time_ms: 5,
            head: 9,
            resumed: true,
            session: StreamId::new(0, 0xab, 0),
            metadata: None,
        };
        let frame = text(&control(|_| ()).hello(&hello, true));
        assert!(frame.starts_with("id: 000000000001-9\nevent: hello\nretry: "), "{frame}");
        let data = r#"{"time":5,"cursor":"000000000001-9","resumed":true,"heartbeat_ms":15000,"session":"00000000000000ab"}"#;
        assert!(frame.ends_with(&format!("data: {data}\n\n")), "{frame}");
        assert!(text(&control(|_| ()).hello(&hello, false)).starts_with("event: hello\n"));
        let told = text(&control(|_| ()).hello(&Hello { metadata: Some("[1]"), ..hello }, true));
        assert!(told.ends_with(",\"metadata\":[1]}\n\n"), "{told}");
    }

    #[test]
    fn a_gap_says_what_is_known() {
        let gap = Gap { after: Some(2), to: 7, cursor: 7, count: Some(3), reason: GapReason::Slow };
        assert_eq!(
            text(&control(|_| ()).gap(&gap, true)),
            "id: 000000000001-7\nevent: gap\ndata: {\"after\":\"000000000001-2\",\
             \"to\":\"000000000001-7\",\"count\":3,\"reason\":\"slow\"}\n\n"
        );
        let unknown = Gap { after: None, count: None, ..gap };
        assert!(text(&control(|_| ()).gap(&unknown, true)).contains("\"after\":null"));
    }

    #[test]
    fn end_has_no_id_and_says_when_to_come_back() {
        let frame = text(&control(|_| ()).end(EndReason::Drain).unwrap());
        assert!(frame.starts_with("event: end\nretry: "), "{frame}");
        assert!(frame.contains("{\"reason\":\"drain\",\"retry_ms\":"), "{frame}");
    }

    #[test]
    fn heartbeats_are_comments_or_events_and_move_the_cursor() {
        assert_eq!(text(&control(|_| ()).heartbeat(3)), "id: 000000000001-3\n:\n\n");
        let visible = control(|stream| stream.heartbeat_kind = HeartbeatKind::Event);
        assert_eq!(
            text(&visible.heartbeat(3)),
            "id: 000000000001-3\nevent: heartbeat\ndata: {}\n\n"
        );
        let ping = control(|stream| {
            stream.heartbeat_kind = HeartbeatKind::Event;
            stream.heartbeat_data = r#"{"type":"ping"}"#.into();
            stream.control.heartbeat = String::new();
        });
        let expected = "id: 000000000001-3\ndata: {\"type\":\"ping\"}\n\n";
        assert_eq!(text(&ping.heartbeat(3)), expected);
    }

    #[test]
    fn names_can_be_changed_or_switched_off() {
        let mut stream = Stream::default();
        assert_eq!(stream.control_names().collect::<Vec<_>>(), ["hello", "gap", "end"]);
        stream.heartbeat_kind = HeartbeatKind::Event;
        stream.control.gap = "lost".into();
        stream.control.hello = String::new();
        assert_eq!(stream.control_names().collect::<Vec<_>>(), ["heartbeat", "lost", "end"]);
        let control = ControlEvents::new(&stream, Epoch::new(1));
        let hello = Hello {
            time_ms: 0,
            head: 4,
            resumed: false,
            session: StreamId::new(0, 0, 0),
            metadata: None,
        };
        let first = text(&control.hello(&hello, true));
        assert!(first.starts_with("id: 000000000001-4\nretry: "), "{first}");
        assert!(!first.contains("data"), "{first}");
        assert!(text(&control.hello(&hello, false)).starts_with("retry: "));
    }

    #[test]
    fn f74_retries_are_spread() {
        let control = control(|_| ());
        let retries: Vec<_> = (0..200).map(|_| control.jittered_retry_ms()).collect();
        assert!(retries.iter().all(|retry| (1000..=3000).contains(retry)));
        assert!(retries.iter().any(|retry| *retry < 1500));
        assert!(retries.iter().any(|retry| *retry > 2500));
    }
}
