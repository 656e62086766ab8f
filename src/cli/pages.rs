//! What a package installs beside the binary, made of the command line's own grammar: completions and
//! manual pages.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

const WRITES_TO_MEMORY: &str = "memory takes all";

/// The completions of a shell, to be put where it looks for them.
pub(super) fn completions(shell: Shell, mut command: Command) -> String {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8(script).expect("names of flags are text")
}

/// The page of the program itself, in roff.
pub(super) fn manual(command: Command) -> String {
    let mut page = Vec::new();
    Man::new(command).render(&mut page).expect(WRITES_TO_MEMORY);
    String::from_utf8(page).expect("help is text")
}

/// Writes the pages of the program and of all its commands into a folder that is there.
pub(super) fn write_manuals(command: Command, folder: &Path) -> io::Result<()> {
    clap_mangen::generate_to(command, folder)
}
