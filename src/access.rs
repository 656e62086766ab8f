//! The access log: one line for a request that was answered, and two for a stream, when it opens and when
//! it closes. Off by default, and then nothing is kept of any request.
//!
//! The values of a query are not written: they may be tokens. Made where a request is answered (`http`), and
//! carried by a response's body, or by the stream (`shard`), until it is over.

use std::net::SocketAddr;
use std::time::Instant;

use http::request::Parts;
use http::{Method, Version};

use crate::net::Peer;

/// The log's name for these lines.
pub const TARGET: &str = "tidegate::access";

/// Longest path and query that is written, in bytes.
const PATH_BYTES_MAX: usize = 512;

/// What is written in place of a query's value.
const REDACTED: &str = "***";

/// The id of a request, which app servers are told too, unless a trusted peer has said another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestId(pub u128);

/// A request, for the line about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    id: RequestId,
    method: Method,
    path: String,
    version: Version,
    peer: SocketAddr,
    began: Instant,
}

impl Access {
    /// A request that begins now. It gets an id.
    pub fn begin(head: &mut Parts, peer: &Peer) -> Self {
        let id = RequestId(fastrand::u128(..));
        head.extensions.insert(id);
        Self {
            id,
            method: head.method.clone(),
            path: redacted(head.uri.path(), head.uri.query()),
            version: head.version,
            peer: peer.address,
            began: Instant::now(),
        }
    }

    /// The request is answered, with so many bytes of a body: all of it, or the client has left.
    pub fn answered(&self, status: u16, bytes: u64, is_complete: bool) {
        let Self { id, method, path, version, peer, began } = self;
        let (took, request) = (began.elapsed(), format!("{:032x}", id.0));
        tracing::info!(
            target: TARGET, request, %method, path, ?version, %peer, status, bytes, ?took,
            is_complete, "request"
        );
    }

    /// The request has become a stream.
    pub fn opened(&self) {
        let Self { id, method, path, version, peer, .. } = self;
        let request = format!("{:032x}", id.0);
        tracing::info!(target: TARGET, request, %method, path, ?version, %peer, "stream opened");
    }

    /// The stream is over.
    pub fn closed(&self, reason: &str) {
        let Self { id, path, peer, began, .. } = self;
        let (took, request) = (began.elapsed(), format!("{:032x}", id.0));
        tracing::info!(target: TARGET, request, path, %peer, ?took, reason, "stream closed");
    }
}

/// A path, and of its query the names.
fn redacted(path: &str, query: Option<&str>) -> String {
    let mut text = path.to_owned();
    for (index, pair) in query.unwrap_or_default().split('&').enumerate() {
        if query.is_none() || text.len() > PATH_BYTES_MAX {
            break;
        }
        text.push(if index == 0 { '?' } else { '&' });
        // What has no name may be a token itself.
        if let Some((name, _)) = pair.split_once('=') {
            text.extend([name, "="]);
        }
        text.push_str(REDACTED);
    }
    if text.len() > PATH_BYTES_MAX {
        text.truncate(text.floor_char_boundary(PATH_BYTES_MAX));
        text.push('…');
    }
    text
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! What is written of a query.

    use super::*;

    #[test]
    fn f62_values_of_a_query_are_not_written() {
        assert_eq!(redacted("/a/b", None), "/a/b");
        assert_eq!(redacted("/a", Some("token=s3cret&x=")), "/a?token=***&x=***");
        assert_eq!(redacted("/a", Some("s3cret&b=c=s3cret")), "/a?***&b=***");
        let long = redacted(&"/é".repeat(1000), Some("token=s3cret"));
        assert!(long.len() <= PATH_BYTES_MAX + '…'.len_utf8() && !long.contains("s3cret"));
        let many = redacted("/", Some(&"a=s3cret&".repeat(1000)));
        assert!(many.len() <= PATH_BYTES_MAX + '…'.len_utf8() && !many.contains("s3cret"));
    }
}
