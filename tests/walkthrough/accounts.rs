//! Every command of the pages is accounted for, and what the text calls by name is there.

use std::collections::BTreeSet;
use std::process::Command as Process;

use crate::docs::{self, Command};
use crate::scene::{NotRun, named};
use crate::support::{Folder, loadtest, run_cli};
use crate::{NOT_RUN, SCENES};

/// What is wrong with the account of these commands: each is in one scene, or excused once.
fn mistakes(written: &[Command], claims: &[(&str, Vec<Command>)]) -> Vec<String> {
    let mut mistakes = Vec::new();
    for command in written {
        let is_it = |other: &&Command| (&other.file, &other.text) == (&command.file, &command.text);
        let who: Vec<&str> = claims
            .iter()
            .filter(|(_, commands)| commands.iter().any(|other| is_it(&other)))
            .map(|(who, _)| *who)
            .collect();
        let Command { file, line, text } = command;
        match who[..] {
            [_] => {}
            [] => mistakes.push(format!(
                "{file}:{line}: no scene runs `{text}`: add it to one in tests/walkthrough/scenes, \
                 or to NOT_RUN of tests/walkthrough.rs with the reason"
            )),
            _ => mistakes.push(format!("{file}:{line}: `{text}` is in {who:?}: one is enough")),
        }
    }
    mistakes
}

#[test]
fn every_command_is_run_or_excused() {
    let written = docs::commands();
    let scenes = SCENES.iter().map(|(name, scene)| (*name, scene.commands));
    let excuses = NOT_RUN.iter().map(|NotRun { commands, .. }| ("NOT_RUN", *commands));
    let (mut wrong, mut claims) = (Vec::new(), Vec::new());
    for (who, commands) in scenes.chain(excuses) {
        match named(commands, &written) {
            Ok(commands) => claims.push((who, commands)),
            Err(mistakes) => {
                wrong.extend(mistakes.into_iter().map(|said| format!("{who}: {said}")));
            }
        }
    }
    if wrong.is_empty() {
        wrong = mistakes(&written, &claims);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for NotRun { commands, why } in NOT_RUN {
        for command in named(commands, &written).expect("checked above") {
            println!("not run: {}:{}: `{}`: {why}", command.file, command.line, command.text);
        }
    }
}

/// `make help` has the targets; a variable is one that the Makefile looks at.
fn make_knows(word: &str, makefile: &str) -> bool {
    match word.split_once('=') {
        Some((variable, _)) => makefile.contains(&format!("$({variable})")),
        None => makefile.lines().any(|line| line.starts_with(&format!("{word}:"))),
    }
}

/// Whether a program has these commands and flags. Its help is asked for each command, and has to name the flags.
fn program_knows(program: &dyn Fn() -> Process, words: &[&str]) -> bool {
    let is_flag = |word: &&str| word.starts_with("--");
    let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let commands: Vec<&str> = words.iter().copied().take_while(is_command).collect();
    let help = program().args(&commands).arg("--help").output().expect("it runs");
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    let known: BTreeSet<&str> = text.split([' ', '\n', ',', '=']).collect();
    help.status.success()
        && words.iter().copied().filter(|word| is_flag(word)).all(|flag| known.contains(flag))
}

#[test]
fn commands_in_the_text_name_what_is_there() {
    let makefile = docs::read("Makefile");
    let gateway = || Process::new(env!("CARGO_BIN_EXE_tidegate"));
    let (mut count, mut unknown) = (0, Vec::new());
    for page in docs::pages() {
        let text = docs::read(&page);
        for (line, command) in docs::inline(&text, &["make", "tidegate", "tidegate-loadtest"]) {
            let words: Vec<&str> = command.split(' ').collect();
            let is_known = match words[0] {
                "make" => words[1..].iter().all(|word| make_knows(word, &makefile)),
                "tidegate" => program_knows(&gateway, &words[1..]),
                _ => program_knows(&loadtest::program, &words[1..]),
            };
            count += 1;
            if !is_known {
                unknown.push(format!("{page}:{line}: `{command}` is not there (any more)"));
            }
        }
    }
    assert!(unknown.is_empty(), "{}", unknown.join("\n"));
    assert!(count > 20, "{count}");
}

#[test]
fn every_configuration_that_is_shown_is_one() {
    let files = Folder::new();
    let mut count = 0;
    for page in docs::pages() {
        for (line, text) in docs::marked(&page, "toml") {
            let output = run_cli(&["check", &files.write("shown.toml", &text)]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{page}:{line}: {said}");
            count += 1;
        }
    }
    assert!(count > 4, "{count}");
}

mod the_accounts {
    use super::{Process, make_knows, mistakes, program_knows};
    use crate::docs::commands_of;
    use crate::scene::named;

    const PAGE: &str = "```sh\none a\none b\none\ntwo\n```\n";

    #[test]
    fn find_a_command_that_nobody_runs_and_one_that_two_run() {
        let written = commands_of("page.md", PAGE);
        let claims = |names| named(names, &written).expect("they are there");
        let scene = claims(&[("page.md", &["one", "one a", "two"])]);
        let excuse = claims(&[("page.md", &["two"])]);
        let found = mistakes(&written, &[("a", scene), ("b", excuse)]);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("page.md:3: no scene runs `one b`"), "{found:?}");
        assert!(found[1].starts_with("page.md:5: `two` is in [\"a\", \"b\"]"), "{found:?}");
    }

    #[test]
    fn find_a_name_that_is_stale_or_says_too_little() {
        let written = commands_of("page.md", PAGE);
        let found =
            named(&[("page.md", &["three", "one ", "tw"])], &written).expect_err("two are wrong");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("no command `three`"), "{found:?}");
        assert!(found[1].contains("several commands `one `"), "{found:?}");
        assert!(named(&[("other.md", &["two"])], &written).is_err(), "it is on another page");
    }

    #[test]
    fn find_what_is_not_there() {
        let makefile = "a b: c\nd: ## Says $(E)\n";
        assert!(make_knows("d", makefile) && make_knows("E=1", makefile));
        assert!(!make_knows("c", makefile) && !make_knows("F=1", makefile));
        let gateway = || Process::new(env!("CARGO_BIN_EXE_tidegate"));
        assert!(program_knows(&gateway, &["log", "verify", "FOLDER"]));
        assert!(program_knows(&gateway, &["config", "--effective"]));
        assert!(!program_knows(&gateway, &["log", "verfy", "FOLDER"]));
        assert!(!program_knows(&gateway, &["config", "--effectiv"]));
    }
}
