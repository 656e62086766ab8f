//! The gateway's control events, read from frames: `hello`, heartbeats, `gap`, `end`.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use crate::payload::EventId;
use crate::wire::sse::Frame;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The declared `(after, to]`, as the half-open range of sequence numbers.
    pub(crate) seqs: Range<u64>,
    pub(crate) count: Option<u64>,
    pub(crate) reason: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control<'a> {
    Hello {
        cursor: Option<Vec<u8>>,
    },
    Heartbeat {
        cursor: Option<&'a [u8]>,
    },
    Gap(Gap),
    End {
        reason: String,
    },
    /// Not a control event.
    Event,
}

/// The members of all control events; each kind has its own.
#[derive(Deserialize, Default)]
struct Members {
    time: Option<u64>,
    cursor: Option<String>,
    resumed: Option<bool>,
    heartbeat_ms: Option<u64>,
    #[serde(default)]
    session: Value,
    after: Option<String>,
    to: Option<String>,
    count: Option<u64>,
    reason: Option<String>,
    retry_ms: Option<u64>,
}

pub(crate) fn read<'a>(frame: &Frame<'a>) -> Result<Control<'a>, String> {
    let members = || -> Result<Members, String> {
        let data = frame.data.unwrap_or_default();
        serde_json::from_slice(data)
            .map_err(|error| format!("control data {:?}: {error}", String::from_utf8_lossy(data)))
    };
    match frame.event {
        Some(b"hello") => {
            let hello = members()?;
            let whole = hello.time.is_some()
                && hello.resumed.is_some()
                && hello.heartbeat_ms.is_some()
                && !hello.session.is_null();
            if !whole {
                return Err("hello lacks time, resumed, heartbeat_ms or session".to_owned());
            }
            if frame.retry.is_none() {
                return Err("hello without retry:".to_owned());
            }
            Ok(Control::Hello { cursor: hello.cursor.map(String::into_bytes) })
        }
        Some(b"heartbeat") => Ok(Control::Heartbeat { cursor: frame.id }),
        Some(b"gap") => read_gap(frame.id, members()?).map(Control::Gap),
        Some(b"end") => {
            let end = members()?;
            if frame.id.is_some() {
                return Err("end with an id".to_owned());
            }
            match (end.reason, end.retry_ms) {
                (Some(reason), Some(_)) => Ok(Control::End { reason }),
                _ => Err("end lacks reason or retry_ms".to_owned()),
            }
        }
        None if frame.data.is_none() => Ok(Control::Heartbeat { cursor: frame.id }),
        _ => Ok(Control::Event),
    }
}

fn read_gap(id: Option<&[u8]>, gap: Members) -> Result<Gap, String> {
    let seq = |id: Option<&[u8]>| id.and_then(EventId::parse).map(|id| id.seq);
    let to = seq(gap.to.as_deref().map(str::as_bytes))
        .ok_or_else(|| format!("gap whose `to` is {:?}", gap.to))?;
    // No `after`: nothing was delivered before, the gap begins with the stream.
    let from = match gap.after.as_deref().filter(|after| !after.is_empty()) {
        None => 0,
        Some(after) => {
            seq(Some(after.as_bytes())).ok_or_else(|| format!("gap whose `after` is {after:?}"))?
                + 1
        }
    };
    if seq(id) != Some(to) {
        let id = String::from_utf8_lossy(id.unwrap_or(b"none"));
        return Err(format!("gap up to seq {to} with id {id}"));
    }
    if from > to {
        return Err(format!("empty gap: after seq {}, to seq {to}", from - 1));
    }
    let reason = gap.reason.ok_or("gap without reason")?;
    Ok(Gap { seqs: from..to + 1, count: gap.count, reason })
}
