//! Interim responses (1xx) on their way to the client, such as `103 Early Hints`. "A proxy MUST forward
//! 1xx responses unless the proxy itself requested the generation of the 1xx response" (RFC 9110, 15.2).
//!
//! hyper's client tells of them while it reads a server's connection; hyper's server cannot send them. So
//! they are encoded here, and written by the client's socket (`http/io.rs`) when nothing of hyper's is on
//! its way there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};
use hyper::ext::on_informational;

use super::headers;
use super::table::Route;

/// Interim responses to one request that are passed on, and their bytes. A page's hints are one or two;
/// the rest is room for a server that says now and then that it is still at it (102). What comes beyond
/// is dropped, as a proxy may with what its client cannot use: so little is held for one that does not read.
const HEADS_MAX: u32 = 32;
const BYTES_MAX: usize = 16 * 1024;

/// Those that wait to be sent to one HTTP/1.1 client.
#[derive(Clone, Debug, Default)]
pub struct Interims(Arc<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Whether there is anything, to be known without the lock.
    is_any: AtomicBool,
    encoded: Mutex<Encoded>,
}

#[derive(Debug, Default)]
struct Encoded {
    waiting: BytesMut,
    /// Of this request, sent ones included.
    heads: u32,
    bytes: usize,
}

impl Interims {
    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        !self.0.is_any.load(Ordering::Relaxed)
    }

    /// Those that wait, as the client is to get them.
    pub fn take(&self) -> Bytes {
        self.0.is_any.store(false, Ordering::Relaxed);
        std::mem::take(&mut self.encoded().waiting).freeze()
    }

    /// Passes on what the server sends before its response to this request.
    pub(super) fn expect<B>(&self, request: &mut Request<B>, route: &Arc<Route>) {
        let mut encoded = self.encoded();
        (encoded.heads, encoded.bytes) = (0, 0);
        drop(encoded);
        let (interims, route) = (self.clone(), Arc::clone(route));
        on_informational(request, move |response| {
            // Who waits for a go-ahead gets ours: the server was not asked for one.
            if response.status() != StatusCode::CONTINUE {
                let mut fields = response.headers().clone();
                headers::interim_to_client(&mut fields, response.version(), &route);
                interims.add(response.status(), &fields);
            }
        });
    }

    fn encoded(&self) -> MutexGuard<'_, Encoded> {
        self.0.encoded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, status: StatusCode, fields: &HeaderMap) {
        let head = encode(status, fields);
        let mut encoded = self.encoded();
        encoded.heads += 1;
        encoded.bytes += head.len();
        if encoded.heads <= HEADS_MAX && encoded.bytes <= BYTES_MAX {
            encoded.waiting.unsplit(head);
            self.0.is_any.store(true, Ordering::Relaxed);
        }
    }
}

/// A head as it is sent. No value can hold a line's end: they were parsed as values.
fn encode(status: StatusCode, fields: &HeaderMap) -> BytesMut {
    let mut head = BytesMut::new();
    let reason = status.canonical_reason().unwrap_or_default();
    for part in ["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"] {
        head.put_slice(part.as_bytes());
    }
    for (name, value) in fields {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.put_slice(part);
        }
    }
    head.put_slice(b"\r\n");
    head
}

/// What belongs here: what is passed on, and how much of it.
#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn fields(value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a value");
        [(http::header::LINK, value)].into_iter().collect()
    }

    #[test]
    fn heads_wait_in_their_order_until_they_are_taken() {
        let interims = Interims::default();
        assert!(interims.is_empty());
        interims.add(StatusCode::EARLY_HINTS, &fields("</a>"));
        interims.add(StatusCode::from_u16(199).expect("a status"), &HeaderMap::new());
        assert!(!interims.is_empty());
        let expected = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 199 \r\n\r\n";
        assert_eq!(interims.take(), expected);
        assert!(interims.is_empty());
    }

    #[test]
    fn what_is_passed_on_is_bounded_in_number_and_bytes_also_when_it_is_taken() {
        for (value, count) in [("a", HEADS_MAX as usize), (&*"a".repeat(4000), 4)] {
            let (interims, mut passed) = (Interims::default(), 0);
            for _ in 0..100 {
                interims.add(StatusCode::PROCESSING, &fields(value));
                passed += usize::from(!interims.take().is_empty());
            }
            assert_eq!(passed, count, "{} bytes", value.len());
        }
    }
}
