//! Completions and manual pages, used by the programs they are for.

use std::fs;
use std::process::Command;

use crate::support::{Folder, run_cli};

#[track_caller]
fn printed(args: &[&str]) -> String {
    let output = run_cli(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn bash_completes_commands_and_flags() {
    let files = Folder::new();
    let script = files.write("tidegate.bash", &printed(&["completions", "bash"]));
    let complete = |words: &str| {
        // What readline does: the words, the one that is being typed, and then what is offered.
        let ask = format!(
            "source {script} && COMP_WORDS=({words}) && COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)) && \
             _tidegate tidegate \"${{COMP_WORDS[-1]}}\" && echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["--norc", "-c", &ask]).output();
        let output = output.expect("bash is there");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(complete("tidegate can"), "canary");
    assert_eq!(complete("tidegate log ver"), "verify");
    assert_eq!(complete("tidegate canary --pub"), "--public");
}

#[test]
fn every_shell_has_completions_of_its_own() {
    let shells = ["bash", "elvish", "fish", "powershell", "zsh"];
    let scripts = shells.map(|shell| printed(&["completions", shell]));
    for (number, script) in scripts.iter().enumerate() {
        assert!(script.contains("canary"), "{}", shells[number]);
        assert!(!scripts[..number].contains(script), "{} is as another", shells[number]);
    }
    assert_eq!(run_cli(&["completions", "tcsh"]).status.code(), Some(2));
}

/// As `man` shows it, by its own formatter; words only.
#[track_caller]
fn formatted(page: &str) -> String {
    let files = Folder::new();
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Tascii", "-P-cbou", "-ww", &files.write("page", page)]);
    let output = groff.output().expect("groff is installed: run `make deps`");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_manual_page_says_what_help_says() {
    let page = formatted(&printed(&["man"]));
    for text in ["tidegate - An SSE gateway", "--listen <ADDRESS>", "tidegate-canary(1)"] {
        assert!(page.contains(text), "{text:?} is not in {page}");
    }
}

#[test]
fn every_command_has_a_page() {
    let files = Folder::new();
    let folder = files.path().to_str().expect("UTF-8");
    assert_eq!(printed(&["man", "--to", folder]), "");
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    let commands = [
        "",
        "-canary",
        "-check",
        "-completions",
        "-config",
        "-log",
        "-log-inspect",
        "-log-verify",
        "-man",
        "-metrics",
        "-run",
        "-size",
    ];
    let mut expected = commands.map(|command| format!("tidegate{command}.1"));
    expected.sort();
    assert_eq!(names, expected);
    for name in names {
        formatted(&fs::read_to_string(files.path().join(name)).expect("just written"));
    }
    let nowhere = run_cli(&["man", "--to", "/nonexistent"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/nonexistent: "));
}
