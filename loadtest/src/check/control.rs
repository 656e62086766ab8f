//! The gateway's control events, read from frames: `hello`, heartbeats, `gap`, `retry`, `end`.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;

use crate::payload::EventId;
use crate::wire::sse::Frame;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The declared `(after, to]`, as the half-open range of sequence numbers.
    pub(crate) seqs: Range<u64>,
    /// The gap's id: where the client's cursor is then. Before `to` where older events follow,
    /// which may be since topics forget at different times.
    pub(crate) cursor: u64,
    pub(crate) count: Option<u64>,
    pub(crate) reason: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control<'a> {
    Hello {
        cursor: Option<Vec<u8>>,
        resumed: bool,
    },
    Heartbeat {
        cursor: Option<&'a [u8]>,
    },
    Gap(Gap),
    /// Nothing but a time to come back after: the stream is shed.
    Retry {
        ms: u64,
    },
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
            let whole =
                hello.time.is_some() && hello.heartbeat_ms.is_some() && !hello.session.is_null();
            let Some(resumed) = hello.resumed.filter(|_| whole) else {
                return Err("hello lacks time, resumed, heartbeat_ms or session".to_owned());
            };
            if frame.retry.is_none() {
                return Err("hello without retry:".to_owned());
            }
            Ok(Control::Hello { cursor: hello.cursor.map(String::into_bytes), resumed })
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
        None if frame.data.is_none() && frame.id.is_none() && frame.retry.is_some() => {
            let digits = frame.retry.map(String::from_utf8_lossy).unwrap_or_default();
            let ms = digits.parse().map_err(|_| format!("retry: {digits}"))?;
            Ok(Control::Retry { ms })
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
    if from > to {
        return Err(format!("empty gap: after seq {}, to seq {to}", from - 1));
    }
    let reason = gap.reason.ok_or("gap without reason")?;
    let cursor_min = if reason == "slow" { to } else { from.saturating_sub(1) };
    let Some(cursor) = seq(id).filter(|cursor| (cursor_min..=to).contains(cursor)) else {
        let id = String::from_utf8_lossy(id.unwrap_or(b"none"));
        return Err(format!("gap({reason}) of seqs {from} to {to} with id {id}"));
    };
    Ok(Gap { seqs: from..to + 1, cursor, count: gap.count, reason })
}
