//! What can be run. Each scenario is a recipe over `session`: open, do, settle, judge.
//! `Ok(true)`: no violation. `Err`: the run could not be made, with the reason.

pub(crate) mod cap;
pub(crate) mod fanout;
pub(crate) mod idle;

use crate::reader::{Close, StreamEnd};
use crate::violations::{Kind, Violations};

/// In a run without a lifetime cap a stream ends when the run does, not before.
fn check_still_open(end: &StreamEnd, violations: &mut Violations) {
    if end.close == Close::Open && end.check.ended.is_none() {
        return;
    }
    violations.add(Kind::UnexpectedClose, || {
        let reason = end.check.ended.as_deref().unwrap_or("none");
        format!("stream {}: {}; end reason: {reason}", end.check.stream, end.close)
    });
}
