//! Tidegate is an SSE gateway: upstream services POST events, Tidegate holds the browsers' streams.
//!
//! Two journeys explain the crate; the files appear in the order in which they are passed.
//!
//! **A subscriber's journey.** [`cli`] and [`config`] say how to run, [`gateway`] wires everything
//! and starts one [`shard`] a core. A shard accepts (`shard/accept.rs`) a connection from its own
//! listening socket ([`net`]); [`http`] sniffs the protocol, lets through what its guard allows
//! (`http/guard/`) and has hyper parse the request; [`subscribe`] reads topics and cursor from it,
//! and an app server may be asked ([`hook`], by [`fetch`]) whether the client may have the stream and
//! what it begins with. An HTTP/1 stream is then taken over from hyper (`http/connection.rs`) and opened (`shard/streams.rs`); an HTTP/2 stream stays there as a body
//! (`shard/body.rs`). It joins the audience of its subscription set (`shard/audience.rs`), reads
//! what it has missed (`shard/replay.rs`), is kept alive and ended by timers (`shard/timers.rs`), and is told so by control events
//! (`subscribe/control.rs`).
//!
//! **An event's journey.** A publisher's request reaches the internal listener ([`admin`]),
//! [`publish`] checks it and drafts its frame ([`sse`]), and the [`hub`] gives it ([`event`]) its
//! place in the one order, has it written to the [`journal`] where there is one ([`durable`]),
//! appends it to the [`history`] and puts it into every shard's mailbox ([`sync`]). Each shard matches it
//! (`shard/index.rs`), appends it to the logs of the audiences that want it (`shard/deliver.rs`),
//! and the sweep (`shard/sweep.rs`) writes it to their sockets; where a client does not read, it
//! waits in a ring (`shard/ring.rs`) that drops its oldest and owes a gap. Every delivery is
//! counted ([`metrics`]). An event may also come from another server's [`event_stream`]: a [`source`]
//! reads one for the gateway, and the [`proxy`] one that clients share, for as long as there is
//! [`interest`].
//!
//! Events also come from a [`source`]: an upstream server whose event stream the gateway reads.
//!
//! Whether both journeys work can be seen from outside: the [`canary`] makes them. What a load takes is
//! calculated beforehand ([`sizing`]).
//!
//! **Every other request** goes through the [`proxy`] to an app server, and its answer comes back; a
//! body on its way in ([`request_body`]) has a bound and a pace.
//!
//! **Beside the journeys**: a reload makes one object of what can change ([`settings`]) and publishes it; the log
//! ([`logging`]) has bounds, and lines for requests where they are wanted ([`access`]).
//! **Who looks after the gateway** asks it by [`inspect`], through the views of `http/console/`.
//!
//! `ARCHITECTURE.md` has the thread model, the invariants and the reasons.

pub mod access;
pub mod admin;
pub mod alarm;
pub mod canary;
pub mod cli;
pub mod config;
pub mod durable;
pub mod error;
pub mod event;
pub mod event_stream;
pub mod fetch;
pub mod gateway;
pub mod history;
pub mod hook;
pub mod http;
pub mod hub;
pub mod inspect;
pub mod interest;
pub mod journal;
pub mod logging;
pub mod media;
pub mod metrics;
pub mod net;
pub mod pace;
pub mod proxy;
pub mod publish;
pub mod query;
pub mod request_body;
pub mod settings;
pub mod shard;
pub mod sizing;
pub mod source;
pub mod sse;
pub mod subscribe;
pub mod sync;
pub mod tls;
pub mod topic;
