//! Why an app server's answer opens no stream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderMap;

/// What keeps a stream from opening. Cheap to share: many clients may wait for one answer.
#[derive(Clone, Debug)]
pub enum HookError {
    /// The app server says no: its answer is the client's.
    Denied(Arc<Denial>),
    /// There is no answer of use.
    Failed(HookFault),
}

/// Why there is no answer of use. Only `Busy` is not the app server's fault.
#[derive(Clone, Debug)]
pub enum HookFault {
    /// As many clients wait for answers as may. Trying again helps.
    Busy,
    /// The whole answer did not come in time. Trying again may help.
    Timeout(Duration),
    /// There is no connection, or it broke off. Trying again may help.
    Unreachable(Arc<str>),
    /// The answer is none that a hook takes. It is the same again.
    BadAnswer(Arc<str>),
}

/// An answer that is passed on.
#[derive(Debug)]
pub struct Denial {
    /// 401, 403 or 404.
    pub status: StatusCode,
    /// Those of its fields that a client has a use for.
    pub fields: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

impl HookFault {
    pub(super) fn bad(why: impl Into<Arc<str>>) -> Self {
        Self::BadAnswer(why.into())
    }
}

impl From<HookFault> for HookError {
    fn from(fault: HookFault) -> Self {
        Self::Failed(fault)
    }
}

impl fmt::Display for HookFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => write!(f, "too many streams wait for the app server; try again"),
            Self::Timeout(longest) => {
                write!(f, "the app server did not answer within {longest:?}")
            }
            Self::Unreachable(why) => write!(f, "the app server cannot be reached: {why}"),
            Self::BadAnswer(why) => write!(f, "the app server's answer is of no use: {why}"),
        }
    }
}

impl std::error::Error for HookFault {}
