//! Why a request was not answered by a server.

use std::fmt;
use std::io;
use std::time::Duration;

use http::Method;

use super::link::HEAD_BYTES_MAX;
use crate::request_body::BodyFault;

/// Why a request was not answered by a server.
#[derive(Debug)]
pub enum ProxyError {
    /// No route matches.
    NoRoute,
    /// A path with `.` or `..` segments: servers differ about what it means.
    DotSegments,
    /// A method that is not sent on.
    Method(Method),
    /// `Max-Forwards` is not a number.
    MaxForwards,
    /// Every server of the group has as many requests as it may.
    Busy {
        /// The group.
        group: Box<str>,
    },
    /// No server could be reached.
    Unreachable {
        /// The group.
        group: Box<str>,
        /// What the last one that was tried said.
        error: io::Error,
    },
    /// No server was reached in time.
    ConnectTimeout {
        /// The group.
        group: Box<str>,
        /// `connect_timeout`.
        after: Duration,
    },
    /// A server got the request and did not answer in time.
    ResponseTimeout {
        /// The group.
        group: Box<str>,
        /// `response_timeout`.
        after: Duration,
    },
    /// A server closed the connection, or answered with something that is not HTTP.
    BadResponse {
        /// The group.
        group: Box<str>,
        /// What is wrong with it.
        error: io::Error,
    },
    /// A server answered with a larger head than is taken.
    HeadTooLarge {
        /// The group.
        group: Box<str>,
        /// `response_fields_max`.
        fields_max: usize,
    },
    /// The client's body broke off, stopped, or is not one to send on.
    Body(BodyFault),
}

impl ProxyError {
    /// Whether the servers are to blame, and not the request.
    pub fn is_the_servers(&self) -> bool {
        !matches!(
            self,
            Self::NoRoute | Self::DotSegments | Self::Method(_) | Self::MaxForwards | Self::Body(_)
        )
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoute => write!(f, "nothing is served here"),
            Self::DotSegments => write!(f, "a path must not have \".\" or \"..\" segments"),
            Self::Method(method) => write!(f, "{method} is not sent on"),
            Self::MaxForwards => write!(f, "a number from 0 to 4294967295 was expected"),
            Self::Busy { group } => {
                write!(f, "every server of {group} has as many requests as it may")
            }
            Self::Unreachable { group, .. } => write!(f, "no server of {group} could be reached"),
            Self::ConnectTimeout { group, after } => {
                write!(f, "no server of {group} could be reached within {after:?}")
            }
            Self::ResponseTimeout { group, after } => {
                write!(f, "a server of {group} did not answer within {after:?}")
            }
            Self::BadResponse { group, .. } => {
                write!(f, "a server of {group} did not answer as HTTP has it")
            }
            Self::HeadTooLarge { group, fields_max } => write!(
                f,
                "a server of {group} answered with a head of more than response_fields_max \
                 ({fields_max}) fields or {HEAD_BYTES_MAX} bytes"
            ),
            Self::Body(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable { error, .. } => Some(error),
            Self::BadResponse { error, .. } => Some(error),
            _ => None,
        }
    }
}
