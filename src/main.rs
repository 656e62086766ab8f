//! The `tidegate` binary: the command line in front of the library.

use std::process::ExitCode;

use tidegate::cli::{self, Command};
use tidegate::gateway::{self, GatewayError};
use tidegate::metrics;

fn main() -> ExitCode {
    cli::main(|command| match command {
        Command::Run(launch) => gateway::run(launch.config, launch.overrides),
        Command::Metrics => {
            metrics::list();
            Ok::<_, GatewayError>(())
        }
    })
}
