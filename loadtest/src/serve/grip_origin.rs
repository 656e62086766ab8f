//! `grip-origin`: pushpin asks an origin what to do with each request; this one says:
//! hold it as a stream, on the channels of its topics.

use std::convert::Infallible;
use std::io;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use mio::net::TcpListener;

use crate::serve::hyper_server::{Body, BoxError, full, runtime, serve};

pub(super) fn run(public: TcpListener) -> io::Result<Infallible> {
    runtime(1)?.block_on(serve(public, service_fn(hold)))
}

async fn hold(request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
    let mut response = full(StatusCode::OK, "");
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert("grip-hold", HeaderValue::from_static("stream"));
    let query = request.uri().query().unwrap_or_default();
    for topic in query.split('&').filter_map(|pair| pair.strip_prefix("topic=")) {
        headers.append("grip-channel", HeaderValue::from_str(topic)?);
    }
    Ok(response)
}
