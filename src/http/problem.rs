//! The one place where a module's error becomes a status code and a problem type.

use super::guard::Fault as GuardFault;
use crate::error::Problem;
use crate::hook::HookFault;
use crate::hub::Refused;
use crate::proxy::ProxyError;
use crate::publish::{Fault, PublishError};
use crate::request_body::BodyFault;
use crate::source::SourceError;
use crate::subscribe::SubscribeError;
use crate::topic::TopicError;

impl From<&SubscribeError> for Problem {
    fn from(error: &SubscribeError) -> Self {
        let (status, slug, title) = match error {
            SubscribeError::NotAcceptable => (406, "not-acceptable", "Not acceptable"),
            SubscribeError::NoTopic { .. } => (400, "no-topic", "No topic"),
            SubscribeError::TooManyTopics { .. } => (400, "too-many-topics", "Too many topics"),
            SubscribeError::Topic(_) => (400, "bad-topic", "Bad topic"),
            SubscribeError::NotUtf8 { .. } => (400, "not-utf8", "Not UTF-8"),
            SubscribeError::Limit
            | SubscribeError::MaxDuration
            | SubscribeError::Wait
            | SubscribeError::Filter
            | SubscribeError::Parameter { .. } => (400, "bad-parameter", "Bad parameter"),
        };
        Self::new(status, slug, title, error.to_string()).in_field(error.field())
    }
}

impl From<&PublishError> for Problem {
    fn from(error: &PublishError) -> Self {
        let (status, slug, title) = match &error.fault {
            Fault::NotUtf8 { .. } => (400, "not-utf8", "Not UTF-8"),
            Fault::Json(_) => (400, "bad-json", "Bad JSON"),
            Fault::NoEvent => (400, "no-event", "No event"),
            Fault::TooManyEvents { .. } => (413, "too-many-events", "Too many events"),
            Fault::NoTopic => (400, "no-topic", "No topic"),
            Fault::TooManyTopics { .. } => (400, "too-many-topics", "Too many topics"),
            Fault::Topic(TopicError::TooLong) => (413, "topic-too-long", "Topic too long"),
            Fault::Topic(_) => (400, "bad-topic", "Bad topic"),
            Fault::EventNameTooLong => (413, "event-name-too-long", "Event name too long"),
            Fault::EventNameCharacter(_) => (400, "bad-event-name", "Bad event name"),
            Fault::Reserved(_) => (403, "reserved-name", "Reserved name"),
            Fault::ReservedTopic(_) => (403, "reserved-topic", "Reserved topic"),
            Fault::Retry => (400, "bad-retry", "Bad retry"),
            Fault::EventTooLarge { .. } => (413, "event-too-large", "Event too large"),
            Fault::UnknownParameter => (400, "bad-parameter", "Bad parameter"),
            Fault::Ttl => (400, "bad-ttl", "Bad ttl"),
            Fault::Key => (400, "bad-key", "Bad idempotency key"),
            Fault::ConflateKey => (400, "bad-conflate", "Bad conflation key"),
            Fault::Flag => (400, "bad-parameter", "Bad parameter"),
        };
        Self::new(status, slug, title, error.fault.to_string()).in_field(error.field.as_str())
    }
}

impl From<&Refused> for Problem {
    fn from(error: &Refused) -> Self {
        let detail = format!("{error}; nothing was published");
        match error {
            Refused::Overloaded => {
                Self::new(503, "overloaded", "Overloaded", format!("{detail}, try again"))
            }
            Refused::TooManyKeys => {
                Self::new(429, "too-many-keys", "Too many idempotency keys", detail).in_field("key")
            }
            Refused::LogFull => {
                let title = "Event log full";
                Self::new(507, "log-full", title, format!("{detail}, try again when there is room"))
            }
            Refused::LogFailed => Self::new(503, "log-failed", "Event log failed", detail),
            Refused::RetainedFull => {
                let title = "Retained values full";
                Self::new(507, "retained-full", title, detail).in_field("retain")
            }
        }
    }
}

impl From<&ProxyError> for Problem {
    fn from(error: &ProxyError) -> Self {
        let (status, slug, title) = match error {
            ProxyError::NoRoute => (404, "not-found", "Not found"),
            ProxyError::DotSegments => (400, "bad-path", "Bad path"),
            ProxyError::Method(_) => (405, "method-not-allowed", "Method not allowed"),
            ProxyError::MaxForwards => (400, "bad-max-forwards", "Bad Max-Forwards"),
            ProxyError::Busy { .. } => (503, "upstream-busy", "Upstream busy"),
            ProxyError::Unreachable { .. } => (502, "upstream-unreachable", "Upstream unreachable"),
            ProxyError::BadResponse { .. } | ProxyError::HeadTooLarge { .. } => {
                (502, "bad-upstream", "Bad upstream response")
            }
            ProxyError::ConnectTimeout { .. } | ProxyError::ResponseTimeout { .. } => {
                (504, "upstream-timeout", "Upstream timeout")
            }
            ProxyError::Body(BodyFault::TooLarge(_)) => (413, "body-too-large", "Body too large"),
            ProxyError::Body(BodyFault::Broken | BodyFault::TooSlow(_)) => {
                (408, "body-timeout", "Body timeout")
            }
        };
        Self::new(status, slug, title, error.to_string())
    }
}

impl From<&HookFault> for Problem {
    fn from(fault: &HookFault) -> Self {
        let (status, slug, title) = match fault {
            HookFault::Busy => (503, "upstream-busy", "Upstream busy"),
            HookFault::Timeout(_) => (504, "upstream-timeout", "Upstream timeout"),
            HookFault::Unreachable(_) => (502, "upstream-unreachable", "Upstream unreachable"),
            HookFault::BadAnswer(_) => (502, "bad-upstream", "Bad upstream response"),
        };
        Self::new(status, slug, title, fault.to_string())
    }
}

impl From<&SourceError> for Problem {
    fn from(error: &SourceError) -> Self {
        let (status, slug, title) = match error {
            SourceError::Faults(_) | SourceError::Tls(_) => (400, "bad-source", "Bad source"),
            SourceError::Unknown(_) => (404, "not-found", "Not found"),
            SourceError::Configured(_) => (409, "configured-source", "Configured source"),
            SourceError::TooMany(_) => (507, "too-many-sources", "Too many sources"),
            SourceError::File(_) | SourceError::Save(..) => (507, "not-saved", "Not saved"),
        };
        Self::new(status, slug, title, error.to_string())
    }
}

impl From<&GuardFault> for Problem {
    fn from(fault: &GuardFault) -> Self {
        let (status, slug, title) = match fault {
            GuardFault::EmptyLines(_) | GuardFault::RequestLine | GuardFault::Target => {
                (400, "bad-request-line", "Bad request line")
            }
            GuardFault::RequestLineTooLong(_) => (414, "target-too-long", "Target too long"),
            GuardFault::Version => (505, "bad-version", "HTTP version not supported"),
            GuardFault::Connect | GuardFault::TransferCoding(_) => {
                (501, "not-implemented", "Not implemented")
            }
            GuardFault::HeadTooLarge(_) | GuardFault::TooManyFields(_) => {
                (431, "head-too-large", "Request head too large")
            }
            GuardFault::BareLineFeed
            | GuardFault::FoldedLine
            | GuardFault::SpaceBeforeColon
            | GuardFault::FieldName
            | GuardFault::FieldValue(_) => (400, "bad-field-line", "Bad field line"),
            GuardFault::HostMissing
            | GuardFault::HostRepeated
            | GuardFault::HostInvalid
            | GuardFault::HostDiffers => (400, "bad-host", "Bad host"),
            GuardFault::ContentLength
            | GuardFault::ContentLengthRepeated
            | GuardFault::LengthAndEncoding
            | GuardFault::TransferEncoding
            | GuardFault::TransferEncodingInHttp10 => (400, "bad-framing", "Bad framing"),
            GuardFault::Expectation => (417, "bad-expectation", "Expectation failed"),
            GuardFault::UpgradeWithBody => (400, "unexpected-body", "Unexpected body"),
            GuardFault::ChunkSize | GuardFault::ChunkLineTooLong | GuardFault::ChunkEnd => {
                (400, "bad-chunk", "Bad chunk")
            }
            GuardFault::TrailersTooLarge(_) | GuardFault::Trailer(_) => {
                (400, "bad-trailer", "Bad trailer")
            }
        };
        Self::new(status, slug, title, fault.to_string()).in_field(fault.field())
    }
}
