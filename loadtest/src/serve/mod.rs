//! `serve`: the control servers that the gateway is measured against. None is a product:
//! each is the least code that answers one question.
//!
//! - `floor`: what the kernel alone takes to send an event to every stream.
//! - `naive`: what a good framework and a broadcast channel take.
//! - `hello`: what an HTTP server takes to answer a POST at all.
//! - `grip-origin`: no control, but the origin that pushpin cannot do without.
//! - `upstream`: no control either, but the app server behind the proxies.

mod contract;
mod floor;
mod grip_origin;
mod hello;
mod hyper_server;
mod naive;
mod pattern;
mod upstream;

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;

use clap::{Args, ValueEnum};
use mio::net::TcpListener;

use crate::probe;

pub(crate) use pattern::{Asked, Pattern};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ControlServer {
    /// One thread, one epoll, one send a stream, no queue.
    Floor,
    /// hyper, a tokio broadcast channel, a task a stream.
    Naive,
    /// hyper answers any request to the internal listener with 202.
    Hello,
    /// Tells pushpin to hold a stream; on the public listener.
    GripOrigin,
    /// Answers with bytes that are known, and checks what it is sent; on the public listener.
    Upstream,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Which one.
    #[arg(value_enum)]
    server: ControlServer,
    /// Where streams are opened.
    #[arg(long, default_value = "127.0.0.1:8080")]
    public: SocketAddr,
    /// Where events are published.
    #[arg(long, default_value = "127.0.0.1:8081")]
    internal: SocketAddr,
    /// Worker threads of `naive`.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
}

/// Serves until the process is ended. Standard output says where: with port 0 the kernel has chosen.
pub(crate) fn run(args: &ServeArgs) -> Result<bool, String> {
    // As many streams as the process may have descriptors.
    probe::make_room_for(0)?;
    let Err(error) = serve(args);
    Err(format!("serving on {} and {}: {error}", args.public, args.internal))
}

fn serve(args: &ServeArgs) -> io::Result<Infallible> {
    let public = || listen("public", args.public);
    let internal = || listen("internal", args.internal);
    match args.server {
        ControlServer::Floor => floor::run(public()?, internal()?),
        ControlServer::Naive => naive::run(public()?, internal()?, args.threads),
        ControlServer::Hello => hello::run(internal()?),
        ControlServer::GripOrigin => grip_origin::run(public()?),
        ControlServer::Upstream => upstream::run(public()?),
    }
}

fn listen(name: &str, address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "{name} {}", listener.local_addr()?)?;
    Ok(listener)
}
