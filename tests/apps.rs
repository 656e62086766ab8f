//! Acceptance: real applications behind the gateway, unchanged, are used as without it: pages, JSON,
//! files, WebSocket and SSE of their own. See `tests/apps/README.md`; `make deps` installs what they need.

mod support;

#[path = "apps/browser.rs"]
mod browser;
#[path = "apps/edge.rs"]
mod edge;
#[path = "apps/events.rs"]
mod events;
#[path = "apps/files.rs"]
mod files;
#[path = "clients/process.rs"]
#[allow(dead_code, reason = "`tests/clients.rs` uses the rest")]
mod process;
#[path = "apps/requests.rs"]
mod requests;
#[path = "apps/websocket.rs"]
mod websocket;
