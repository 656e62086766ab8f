//! `tidegate-loadtest`: the gateway's independent witness.
//!
//! It shares no code with the gateway. A run: `cli` is checked, `scenario` writes the
//! recipe, `session` starts the `reader` threads that open the streams; `publish` sends
//! events and books the answers in the `ledger`; `wire` turns bytes into frames, `check`
//! turns frames into deliveries and `violations`; when all is quiet `check::audit`
//! settles what was lost and `report` shows the run.
//!
//! `serve` is the other side: the control servers that a gateway is measured against.
//! `compare` measures it against them and against its peers, in one go.

mod check;
mod cli;
mod clock;
mod compare;
mod dialect;
mod ledger;
mod payload;
mod plan;
mod probe;
mod publish;
mod reader;
mod report;
mod run;
mod scenario;
mod serve;
mod session;
mod violations;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Scenario};

fn main() -> ExitCode {
    // clap itself exits with 2 on usage errors.
    let cli = Cli::parse();
    let result = match &cli.scenario {
        Scenario::Fanout(args) => scenario::fanout::run(args),
        Scenario::Idle(args) => scenario::idle::run(args),
        Scenario::Cap(args) => scenario::cap::run(args),
        Scenario::Serve(args) => serve::run(args),
        Scenario::Compare(args) => compare::run(args),
        Scenario::Post(args) => compare::run_post(args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(what) => {
            eprintln!("tidegate-loadtest: {what}");
            ExitCode::from(2)
        }
    }
}
