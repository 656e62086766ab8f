//! HTTP: from an accepted socket to a route's answer, and the takeover of HTTP/1 streams.
//!
//! hyper parses; the routes ask `subscribe` and `publish` what a request means; problems become
//! responses in one place. Called by shards, which own the sockets before and the streams after.

pub mod browsers;
mod clock;
mod connection;
pub mod console;
mod exec;
mod floods;
pub mod guard;
mod http2;
mod in_progress;
mod io;
mod leftover;
pub mod log_route;
mod opening;
mod problem;
pub mod public;
pub mod publish_route;
pub mod reload_route;
mod response;
pub mod sessions_route;
mod small_body;
pub mod sources_route;

pub use crate::request_body::RequestBody;
pub use connection::{
    Answer, Cut, Handler, Http2Options, Options, Outcome, Takeover, close, serve,
};
pub use leftover::LeftoverBounds;
pub use response::{ResponseBody, json, method_not_allowed, not_found, problem, text};
