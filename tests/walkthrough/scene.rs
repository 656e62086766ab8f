//! A scene: some commands of the pages, in the order in which a reader types them, and what must come of each.

use crate::docs::{self, Command};
use crate::process::project;
use crate::terminal::Terminal;

/// Commands by their page and by how they begin, as far as it takes to tell them from the page's others.
pub(crate) type Commands = &'static [(&'static str, &'static [&'static str])];

/// What a module of a scene says of itself.
pub(crate) struct Scene {
    pub(crate) commands: Commands,
    pub(crate) play: fn(&Scene),
}

/// Commands that no scene runs.
pub(crate) struct NotRun {
    pub(crate) commands: Commands,
    pub(crate) why: &'static str,
}

impl Scene {
    /// Its commands, as they are written. Taken apart by name, so that the compiler sees one that is not run.
    #[track_caller]
    pub(crate) fn commands<const N: usize>(&self) -> [Command; N] {
        let written = docs::commands();
        let found = named(self.commands, &written).unwrap_or_else(|wrong| panic!("{wrong:?}"));
        let count = found.len();
        found.try_into().unwrap_or_else(|_| panic!("the scene has {count} commands, and takes {N}"))
    }
}

/// The commands that these are, or what is wrong with a name.
pub(crate) fn named(commands: Commands, written: &[Command]) -> Result<Vec<Command>, Vec<String>> {
    let pairs =
        commands.iter().flat_map(|(file, names)| names.iter().map(move |name| (file, name)));
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for (file, name) in pairs {
        let of_file = || written.iter().filter(|command| command.file == *file);
        let mut candidates: Vec<_> = of_file().filter(|command| command.text == *name).collect();
        if candidates.is_empty() {
            candidates = of_file().filter(|command| command.text.starts_with(name)).collect();
        }
        match candidates[..] {
            [command] => found.push(command.clone()),
            [] => wrong.push(format!("{file} has no command `{name}`: take it out of the scene")),
            _ => wrong.push(format!("{file} has several commands `{name}`: say more of it")),
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// A command that takes minutes as it is written, or whose page leaves something for the reader to fill in: each
/// change is a part of the command and what takes its place; of an empty part, what comes behind.
#[track_caller]
pub(crate) fn changed(command: &Command, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(command.text.clone(), |text, (part, instead)| {
        if part.is_empty() {
            return format!("{text} {instead}");
        }
        assert!(text.contains(part), "{command:?} has no {part:?} any more");
        text.replacen(part, instead, 1)
    })
}

/// How README.md has somebody build the programs and find them.
const TO_BUILD: Scene = Scene {
    commands: &[("README.md", &["cargo build --release --workspace", "PATH="])],
    play: |_| (),
};

/// A terminal in which the programs are found, in the way that README.md tells.
#[track_caller]
pub(crate) fn terminal() -> Terminal {
    let mut terminal = Terminal::open();
    let [build, path] = TO_BUILD.commands();
    if !project().join("target/release/tidegate").exists() {
        terminal.runs(&build.text);
    }
    terminal.runs(&path.text);
    terminal
}
