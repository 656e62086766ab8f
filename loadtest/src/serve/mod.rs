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

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

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

/// Serves until the process is ended.
pub(crate) fn run(args: &ServeArgs) -> Result<bool, String> {
    // As many streams as the process may have descriptors.
    probe::make_room_for(0)?;
    let ended = match args.server {
        ControlServer::Floor => floor::run(args.public, args.internal),
        ControlServer::Naive => naive::run(args.public, args.internal, args.threads),
        ControlServer::Hello => hello::run(args.internal),
        ControlServer::GripOrigin => grip_origin::run(args.public),
        ControlServer::Upstream => upstream::run(args.public),
    };
    match ended {
        Err(error) => Err(format!("serving on {} and {}: {error}", args.public, args.internal)),
    }
}
