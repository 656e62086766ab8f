//! What a subscriber asks for and what the gateway tells it. Finds the stream route of a request and
//! parses that; encodes the control events. Refuses what the contract does not allow, with an error
//! that names the parameter. Called by `http` before a stream opens, and by shards while it is open.

mod accept;
pub mod control;
mod cors;
mod parameters;
pub mod poll;
mod request;
mod routes;

pub use parameters::Values;
pub use request::{Opening, SubscribeError, Subscription};
pub use routes::{Found, Route, RouteId, RouteSettings, Routes, TooManySettings, host};
