//! HTTP: from an accepted socket to a route's answer, and the takeover of HTTP/1 streams.
//!
//! hyper parses; the routes ask `subscribe` and `publish` what a request means; problems become
//! responses in one place. Called by shards, which own the sockets before and the streams after.

mod connection;
pub mod guard;
mod io;
mod leftover;
mod problem;
pub mod public;
pub mod publish_route;
mod request_body;
mod response;

pub use connection::{Answer, Handler, Options, Outcome, Takeover, close, serve};
pub use leftover::LeftoverBounds;
pub use request_body::RequestBody;
pub use response::{ResponseBody, json, method_not_allowed, not_found, problem, text};
