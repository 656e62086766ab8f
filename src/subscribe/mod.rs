//! What a subscriber asks for and what the gateway tells it. Parses the request of a stream route;
//! encodes the control events. Refuses what the contract does not allow, with an error that names
//! the parameter. Called by `http` before a stream opens, and by shards while it is open.

pub mod control;
mod request;

pub use request::{PATH, SubscribeError, Subscription, parse};
