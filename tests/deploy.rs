//! What ships in `deploy/` and `loadtest/` for other programs, run or checked by those programs: the files
//! themselves, with nothing replaced but addresses. `make deps` installs the programs.

mod support;

#[path = "deploy/balancer.rs"]
mod balancer;
#[path = "deploy/behind.rs"]
mod behind;
#[path = "deploy/canary.rs"]
mod canary;
#[path = "deploy/containers.rs"]
mod containers;
#[path = "apps/edge.rs"]
#[allow(dead_code, reason = "`tests/apps.rs` uses the rest")]
mod edge;
#[path = "deploy/host.rs"]
mod host;
#[path = "deploy/load_tools.rs"]
mod load_tools;
#[path = "deploy/machine.rs"]
mod machine;
#[path = "deploy/package.rs"]
mod package;
#[path = "deploy/pages.rs"]
mod pages;
#[path = "clients/process.rs"]
#[allow(dead_code, reason = "`tests/clients.rs` uses the rest")]
mod process;
#[path = "deploy/program.rs"]
mod program;
#[path = "deploy/service.rs"]
mod service;
