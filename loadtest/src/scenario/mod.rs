//! What can be run. Each scenario is a recipe over `session`: open, do, settle, judge.
//! `Ok(true)`: no violation. `Err`: the run could not be made, with the reason.

pub(crate) mod cap;
pub(crate) mod churn;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod storm;

use std::ffi::OsString;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::CommonArgs;
use crate::processes::{self, Finished, Merge};
use crate::reader::{Close, StreamEnd};
use crate::session::Opening;
use crate::violations::{Kind, Violations};

/// Makes a run, in this process or in several; `None` in a child, which has handed what
/// it found to its parent.
fn conduct<F: Merge + Serialize + DeserializeOwned>(
    common: &CommonArgs,
    command_line: &[OsString],
    shared_rates: &[(&str, Option<f64>)],
    run_here: impl FnOnce() -> Result<(Opening, F), String>,
) -> Result<Option<(Opening, F)>, String> {
    if common.processes > 1 {
        let Finished { opening, found } = processes::run(command_line, common, shared_rates)?;
        return Ok(Some((opening, found)));
    }
    let (opening, found) = run_here()?;
    if common.child {
        Finished { opening, found }.hand_over()?;
        return Ok(None);
    }
    Ok(Some((opening, found)))
}

/// In a run without a lifetime cap a stream ends when the client ends it, not before.
fn check_still_open(end: &StreamEnd, violations: &mut Violations) {
    if matches!(end.close, Close::Open | Close::Left) && end.check.ended.is_none() {
        return;
    }
    violations.add(Kind::UnexpectedClose, || {
        let reason = end.check.ended.as_deref().unwrap_or("none");
        format!("stream {}: {}; end reason: {reason}", end.check.stream, end.close)
    });
}
