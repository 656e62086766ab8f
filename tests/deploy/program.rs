//! Programs that check what ships: where they are, and what they say.

use std::path::PathBuf;
use std::process::{Command, Output};

use crate::process::project;

/// A program of the machine, or of Python's environment or the Makefile's tools where it is there. It runs in the
/// repository's root.
pub(crate) fn program(name: &str) -> Command {
    let tools = project().join("target/tools");
    let built = std::fs::read_dir(tools).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = built.map(|entry| entry.path().join("bin")).collect();
    folders.push(project().join("target/venv/bin"));
    let ours = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.exists());
    let mut command = Command::new(ours.unwrap_or_else(|| name.into()));
    command.current_dir(project());
    command
}

/// Runs a program to its end: whether it was content, and all that it said.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> (bool, String) {
    let Output { status, stdout, stderr } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; `make deps` installs it"));
    let said = [stdout, stderr].concat();
    (status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Runs a program that must be content; gives what it said.
#[track_caller]
pub(crate) fn expect(command: &mut Command) -> String {
    let (is_content, said) = run(command);
    assert!(is_content, "{command:?}:\n{said}");
    said
}
