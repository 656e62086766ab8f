//! Four systems of real teams behind the gateway, one after the other as `config/` ships it: each has an app
//! that has given up its own SSE code (`tests/apps`), and every need of such a system is a test named after it.
//! `make deps` installs what they need.

mod support;

#[path = "needs/kanban.rs"]
mod kanban;
#[path = "needs/model_instances.rs"]
mod model_instances;
#[path = "needs/page.rs"]
mod page;
#[path = "clients/process.rs"]
#[allow(dead_code, reason = "`tests/clients.rs` uses the rest")]
mod process;
#[path = "needs/relay.rs"]
mod relay;
#[path = "needs/sessions_dashboard.rs"]
mod sessions_dashboard;
#[path = "needs/system.rs"]
mod system;
#[path = "needs/task_events.rs"]
mod task_events;
