//! `hello`: hyper reads a request with its body and answers 202 with a fixed one. What a
//! publish would cost if there were nothing to do.

use std::convert::Infallible;
use std::io;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use mio::net::TcpListener;

use crate::serve::contract;
use crate::serve::hyper_server::{Body, full, runtime, serve};

pub(super) fn run(internal: TcpListener) -> io::Result<Infallible> {
    runtime(1)?.block_on(serve(internal, service_fn(answer)))
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, hyper::Error> {
    request.into_body().collect().await?;
    Ok(full(StatusCode::ACCEPTED, contract::accepted(1)))
}
