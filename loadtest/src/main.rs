//! `tidegate-loadtest`: the gateway's independent witness.
//!
//! It shares no code with the gateway. A run: `cli` is checked (a `scenario_file` stands
//! for a command line), `scenario` writes the recipe, `session` starts the `reader`
//! threads that open the streams; `publish` sends events and books the answers in the
//! `ledger`; `wire` turns bytes into frames, `check` turns frames into deliveries and
//! `violations`; when all is quiet `check::audit` settles what was lost and `report`
//! shows the run. With `--processes`, `processes` does that several times and adds up.
//!
//! `serve` is the other side: the control servers that a gateway is measured against.
//! `compare` measures it against them and against its peers, in one go.

mod check;
mod cli;
mod clock;
mod compare;
mod dialect;
mod latency;
mod ledger;
mod memory;
mod payload;
mod plan;
mod probe;
mod processes;
mod publish;
mod reader;
mod report;
mod run;
mod scenario;
mod scenario_file;
mod serve;
mod session;
mod violations;
mod wire;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Scenario};

fn main() -> ExitCode {
    match run(std::env::args_os().collect()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(what) => {
            eprintln!("tidegate-loadtest: {what}");
            ExitCode::from(2)
        }
    }
}

fn run(command_line: Vec<OsString>) -> Result<bool, String> {
    // clap itself exits with 2 on usage errors.
    match &Cli::parse_from(&command_line).scenario {
        Scenario::Run(args) => {
            let program = command_line.into_iter().next().unwrap_or_default();
            run(scenario_file::command_line(program, args)?)
        }
        Scenario::Fanout(args) => scenario::fanout::run(args, &command_line),
        Scenario::Idle(args) => scenario::idle::run(args, &command_line),
        Scenario::Churn(args) => scenario::churn::run(args, &command_line),
        Scenario::Storm(args) => scenario::storm::run(args, &command_line),
        Scenario::Cap(args) => scenario::cap::run(args),
        Scenario::Serve(args) => serve::run(args),
        Scenario::Compare(args) => compare::run(args),
        Scenario::Requests(args) => compare::run_requests(args),
    }
}
