//! The commands that the documentation tells its readers to type, and the answers that it shows.

use std::fs;
use std::path::Path;

use crate::process::project;

/// What a block may be marked as. Only `sh` holds commands: no other mark for them gets by. `text` is what one
/// prints.
const MARKS: &[&str] = &["", "ini", "js", "json", "sh", "text", "toml"];

/// Folders whose files are not ours.
const NOT_OURS: &[&str] = &["target", "node_modules", ".git"];

/// One command, from a block marked `sh`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Command {
    /// From the repository's root.
    pub(crate) file: String,
    /// Of its first line.
    pub(crate) line: usize,
    /// As it is written, on one line and without its comment.
    pub(crate) text: String,
}

/// A fenced block of a page.
#[derive(Debug)]
struct Block {
    mark: String,
    /// With the number of each line, which has lost the block's indentation.
    lines: Vec<(usize, String)>,
}

/// Every page of the repository, from its root.
pub(crate) fn pages() -> Vec<String> {
    let mut found = Vec::new();
    collect(&project(), &mut found);
    found.sort();
    found
}

fn collect(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() && !NOT_OURS.contains(&name.as_ref()) {
            collect(&path, found);
        } else if name.ends_with(".md") {
            let path = path.strip_prefix(project()).expect("below the root");
            found.push(path.to_str().expect("UTF-8").to_owned());
        }
    }
}

/// The text of a file of the repository.
#[track_caller]
pub(crate) fn read(file: &str) -> String {
    fs::read_to_string(project().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Every command of every page.
#[track_caller]
pub(crate) fn commands() -> Vec<Command> {
    pages().iter().flat_map(|page| commands_of(page, &read(page))).collect()
}

/// The commands of one page. What the shell sees as one is one: lines that end in `\` go on.
#[track_caller]
pub(crate) fn commands_of(file: &str, text: &str) -> Vec<Command> {
    let mut found = Vec::new();
    for block in blocks(file, text).into_iter().filter(|block| block.mark == "sh") {
        let mut begun: Option<Command> = None;
        for (line, text) in block.lines {
            let text = without_comment(&text).trim();
            let (part, goes_on) =
                text.strip_suffix('\\').map_or((text, false), |part| (part.trim_end(), true));
            let command = match begun.take() {
                Some(first) => Command { text: first.text + " " + part, ..first },
                None if text.is_empty() => continue,
                None => Command { file: file.into(), line, text: part.into() },
            };
            if goes_on {
                begun = Some(command);
            } else {
                found.push(command);
            }
        }
        assert!(begun.is_none(), "{file}: a block ends in the middle of {begun:?}");
    }
    found
}

/// Every block of a page that is marked `mark`, with the number of its first line.
#[track_caller]
pub(crate) fn marked(page: &str, mark: &str) -> Vec<(usize, String)> {
    let blocks = blocks(page, &read(page)).into_iter().filter(|block| block.mark == mark);
    blocks.map(|block| (block.lines.first().map_or(0, |(line, _)| *line), block.text())).collect()
}

/// The first block behind a command's own that is marked `mark`: what the page says it answers.
#[track_caller]
pub(crate) fn answer(command: &Command, mark: &str) -> String {
    let blocks = blocks(&command.file, &read(&command.file));
    let behind = blocks.iter().skip_while(|block| !block.holds(command.line)).skip(1);
    let block = behind.into_iter().find(|block| block.mark == mark);
    let block = block.unwrap_or_else(|| panic!("no block {mark:?} behind {command:?}"));
    block.text()
}

/// Words in backticks that begin with one of these programs and are more than its name, with their line.
pub(crate) fn inline(text: &str, programs: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            for words in line.split('`').skip(1).step_by(2) {
                let program = words.split_once(' ').map(|(program, _)| program);
                if program.is_some_and(|program| programs.contains(&program)) {
                    found.push((number, words.to_owned()));
                }
            }
        }
    }
    found
}

impl Block {
    fn text(&self) -> String {
        self.lines.iter().map(|(_, text)| format!("{text}\n")).collect()
    }

    fn holds(&self, line: usize) -> bool {
        self.lines.iter().any(|(number, _)| *number == line)
    }
}

/// A page's blocks. One that a reader might take for commands, and these checks would not see, is refused.
#[track_caller]
fn blocks(file: &str, text: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Block)> = None;
    let mut after_blank = true;
    for (number, line) in (1..).zip(text.lines()) {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        match (trimmed.strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => found.extend(open.take().map(|(_, block)| block)),
            (Some(mark), None) => {
                assert!(MARKS.contains(&mark), "{file}:{number}: {mark:?} is none of {MARKS:?}");
                open = Some((indent, Block { mark: mark.into(), lines: Vec::new() }));
            }
            (None, Some((margin, block))) => {
                let text = line.get(*margin..).unwrap_or_default();
                block.lines.push((number, text.to_owned()));
            }
            (None, None) => {
                let is_block = after_blank && indent >= 4 || trimmed.starts_with("~~~");
                assert!(!is_block, "{file}:{number}: put this into a block of ```");
                after_blank = trimmed.is_empty();
            }
        }
    }
    assert!(open.is_none(), "{file}: a block has no end");
    found
}

/// A line without its comment, which begins with a `#` after a space and outside of quotes.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, letter) in line.char_indices() {
        match quote {
            None if letter == '#' && before.is_whitespace() => return &line[..at],
            None if matches!(letter, '\'' | '"') => quote = Some(letter),
            Some(open) if open == letter => quote = None,
            _ => {}
        }
        before = letter;
    }
    line
}

mod the_reader {
    use super::{commands_of, inline};

    fn texts(page: &str) -> Vec<(usize, String)> {
        let found = commands_of("page.md", page).into_iter();
        found.map(|command| (command.line, command.text)).collect()
    }

    #[test]
    fn finds_commands_also_in_lists_and_over_several_lines() {
        let page = "a\n```sh\n# Why.\none 'a # b' # c\n\ntwo \\\n    --flag \\\n  x\n```\n- b\n\n  ```sh\n  three\n  ```\n\
            ```toml\nno = 1\n```\n```\nnor this\n```\n";
        let expected = [(4, "one 'a # b'"), (6, "two --flag x"), (13, "three")];
        assert_eq!(texts(page), expected.map(|(line, text)| (line, text.to_owned())));
    }

    #[test]
    #[should_panic(expected = "page.md:2: \"bash\" is none of")]
    fn takes_no_other_mark_for_commands() {
        texts("a\n```bash\none\n```\n");
    }

    #[test]
    #[should_panic(expected = "page.md:3: put this into a block")]
    fn takes_no_block_that_is_only_indented() {
        texts("a\n\n    one\n");
    }

    #[test]
    fn finds_commands_in_the_text() {
        let page =
            "Use `make a B=c` or `make`,\nnot `maker b`.\n```sh\nsay `make d`\n```\n`make e`\n";
        let expected = [(1, "make a B=c"), (6, "make e")];
        assert_eq!(inline(page, &["make"]), expected.map(|(line, text)| (line, text.to_owned())));
    }
}
