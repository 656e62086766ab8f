//! The language of the black-box tests: a gateway is the real binary, started as a process; a
//! subscriber says what must come next; every wait ends and says what it waited for.
//!
//! ```ignore
//! let gateway = Gateway::start();
//! let mut subscriber = gateway.topic("a").subscribe();
//! subscriber.expect_hello();
//! let id = gateway.topic("a").publish("one");
//! assert_eq!(subscriber.expect_data("one").id, id);
//! ```
//!
//! Blocking calls and threads only: nothing here shares a runtime, or code, with the gateway.
#![allow(dead_code, unused_imports, reason = "every test binary uses another part of this")]
#![allow(unreachable_pub, reason = "`pub` is what the test binaries may use")]

pub mod app;
pub mod authority;
pub mod chunks;
pub mod deadline;
pub mod gateway;
pub mod http;
pub mod lines;
pub mod loadtest;
pub mod metrics;
pub mod origin;
pub mod ports;
pub mod sse;
pub mod subscriber;

pub use app::App;
pub use authority::{Authority, Folder};
pub use deadline::{Deadline, PATIENCE, eventually, eventually_within, pause};
pub use gateway::{Builder, Gateway, Topic, run_cli};
pub use http::{Connection, Received, Response, http, percent_encode};
pub use origin::{Origin, OriginConnection, Request};
pub use ports::free_address;
pub use sse::{Decoder, Event};
pub use subscriber::{Asked, End, Gap, Hello, Stop, Subscribe, Subscriber};
