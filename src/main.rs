//! The `tidegate` binary: the command line in front of the library.

use std::error::Error;
use std::process::ExitCode;

use tidegate::cli::{self, Command};
use tidegate::{canary, gateway, metrics};

fn main() -> ExitCode {
    cli::main(|command| -> Result<(), Box<dyn Error>> {
        match command {
            Command::Run(launch) => gateway::run(launch.config, launch.overrides)?,
            Command::Metrics => metrics::list(),
            Command::Canary(canary) => println!("{}", canary::run(&canary)?),
        }
        Ok(())
    })
}
