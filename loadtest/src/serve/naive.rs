//! `naive`: what an experienced developer would write in an afternoon. hyper serves, a
//! tokio broadcast channel fans out, each stream is a task that pulls a body from it. A
//! stream that lags by the whole channel is cut off. Topics are not looked at.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use mio::net::TcpListener;
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use crate::serve::contract;
use crate::serve::hyper_server::{Body, BoxError, full, runtime, serve};

/// Events a stream may lag behind: the frames of a gateway's ring.
const LAG_MAX: usize = 256;

struct Naive {
    /// The last event's sequence number. Held while an event is sent or a stream joins,
    /// so that ids rise in the order of the channel and `hello` names the right place.
    seq: Mutex<u64>,
    events: broadcast::Sender<Bytes>,
}

pub(super) fn run(
    public: TcpListener,
    internal: TcpListener,
    threads: u32,
) -> io::Result<Infallible> {
    let naive = Arc::new(Naive { seq: Mutex::new(0), events: broadcast::Sender::new(LAG_MAX) });
    let streams = naive.clone();
    let subscribe = service_fn(move |_request| {
        let response = streams.subscribe();
        async { Ok::<_, Infallible>(response) }
    });
    let publish = service_fn(move |request| publish(naive.clone(), request));
    runtime(threads)?.block_on(async {
        tokio::select! {
            ended = serve(public, subscribe) => ended,
            ended = serve(internal, publish) => ended,
        }
    })
}

impl Naive {
    fn subscribe(&self) -> Response<Body> {
        let seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        let events = BroadcastStream::new(self.events.subscribe());
        let hello = tokio_stream::once(Ok(Bytes::from(contract::hello(*seq))));
        drop(seq);
        let frames =
            hello.chain(events).map(|event| Ok(Frame::data(event.map_err(BoxError::from)?)));
        let mut response = Response::new(StreamBody::new(frames).boxed_unsync());
        for (name, value) in contract::STREAM_HEADERS {
            let headers = response.headers_mut();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }

    /// Sends an event to every stream; returns its sequence number.
    fn send(&self, data: &[u8]) -> u64 {
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *seq += 1;
        // An error says that there is no stream.
        let _ = self.events.send(contract::event(*seq, data).into());
        *seq
    }
}

async fn publish(
    naive: Arc<Naive>,
    request: Request<Incoming>,
) -> Result<Response<Body>, BoxError> {
    if request.method() == Method::GET {
        return Ok(full(StatusCode::OK, "ok\n"));
    }
    let data = request.into_body().collect().await?.to_bytes();
    let seq = naive.send(&data);
    let mut response = full(StatusCode::ACCEPTED, contract::accepted(seq));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
