//! A hyper server as its documentation has it, which reads each body to its end.

use std::net::{SocketAddr, TcpListener};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::log::{Log, Seen};

/// Starts it in a thread of its own; it ends with the process.
pub(crate) fn start(log: Log) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    listener.set_nonblocking(true).expect("a listener takes the flag");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let runtime = runtime.expect("a runtime starts");
    thread::spawn(move || runtime.block_on(accept(listener, log)));
    address
}

async fn accept(listener: TcpListener, log: Log) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
    while let Ok((stream, _)) = listener.accept().await {
        let log = log.clone();
        let service = service_fn(move |request| answer(request, log.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

async fn answer(
    request: Request<Incoming>,
    log: Log,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    // A character a byte, as the other servers have it.
    let target: String = head.uri.to_string().bytes().map(char::from).collect();
    let number = log.note(Seen::new(head.method.as_str(), &target, body.to_vec()));
    let mut response = Response::new(Empty::new());
    response.headers_mut().insert("x-seen", number.into());
    Ok(response)
}
