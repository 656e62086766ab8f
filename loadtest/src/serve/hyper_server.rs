//! hyper as the control servers use it: HTTP/1.1, a task a connection.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};

pub(super) type BoxError = Box<dyn Error + Send + Sync>;
pub(super) type Body = UnsyncBoxBody<Bytes, BoxError>;

pub(super) fn runtime(threads: u32) -> io::Result<Runtime> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(threads as usize).enable_io().build()
}

/// Serves each connection to `listener` by a clone of `service`.
pub(super) async fn serve<S>(listener: mio::net::TcpListener, service: S) -> io::Result<Infallible>
where
    S: HttpService<Incoming, ResBody = Body, Future: Send, Error: Into<BoxError>>
        + Clone
        + Send
        + 'static,
{
    let listener = TcpListener::from_std(net::TcpListener::from(OwnedFd::from(listener)))?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(socket), service.clone());
        tokio::spawn(async move {
            // A connection that breaks concerns its client only, who sees it.
            let _ = connection.await;
        });
    }
}

pub(super) fn full(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
