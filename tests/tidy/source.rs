//! A Rust source file as the checks see it: its tokens without comments and literals, and the
//! modules its paths name. It knows as much of the grammar as that takes.

use std::fs;
use std::path::Path;

/// One source file.
pub(crate) struct Source {
    /// From the project's root, with `/`.
    pub(crate) path: String,
    /// Everything in it.
    pub(crate) text: String,
}

/// Every Rust file under `folder`, in the order of their paths; none when there is no such folder.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    collect(root, &root.join(folder), &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("the folder can be listed").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && name != "node_modules" {
            collect(root, &path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()));
            let path = path.strip_prefix(root).expect("below the root").to_string_lossy();
            found.push(Source { path: path.replace('\\', "/"), text });
        }
    }
}

/// A word or a mark of the code, and where it stands.
#[derive(Debug, PartialEq)]
struct Token<'a> {
    text: &'a str,
    line: usize,
    /// How many `mod name { … }` of this file it is inside.
    inline_modules: usize,
    /// Whether one of them is for tests only.
    in_tests: bool,
}

impl Source {
    /// The top-level module the file belongs to: `hub` for `src/hub.rs` and `src/hub/log.rs`.
    pub(crate) fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path);
        path.split(['/', '.']).next().unwrap_or(path)
    }

    /// Every top-level module that a path in the file names, with its line.
    pub(crate) fn imports(&self) -> Vec<(usize, String)> {
        let code = blank(&self.text);
        let tokens = tokens(&code);
        let mut found = Vec::new();
        for at in 0..tokens.len() {
            let begins_path = at == 0 || tokens[at - 1].text != "::";
            let after_root = match tokens[at].text {
                "crate" => at + 1,
                "tidegate" if begins_path && self.path == "src/main.rs" => at + 1,
                "super" if begins_path => match self.root_after_supers(&tokens[at..]) {
                    Some(length) => at + length,
                    None => continue,
                },
                _ => continue,
            };
            for token in first_segments(&tokens[after_root..]) {
                found.push((token.line, token.text.to_owned()));
            }
        }
        found
    }

    /// The lines outside tests that name `path`, a crate or a path of two segments, grouped imports
    /// included.
    pub(crate) fn lines_naming(&self, path: &str) -> Vec<usize> {
        if self.path.ends_with("/tests.rs") {
            return Vec::new();
        }
        let code = blank(&self.text);
        let tokens = tokens(&code);
        let (first, second) = path.split_once("::").map_or((path, None), |(a, b)| (a, Some(b)));
        let mut lines = Vec::new();
        let named = |token: &Token<'_>| token.text == first && !token.in_tests;
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| named(token)) {
            match second {
                None => lines.push(token.line),
                Some(second) => lines.extend(
                    first_segments(&tokens[at + 1..])
                        .iter()
                        .filter(|token| token.text == second)
                        .map(|token| token.line),
                ),
            }
        }
        lines
    }

    /// How many tokens of `super::super::…` lead to the crate's root, if they do: as many `super`
    /// as the place is modules deep.
    fn root_after_supers(&self, tokens: &[Token<'_>]) -> Option<usize> {
        let path = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let file_depth = path.trim_end_matches("/mod").split('/').count();
        let depth = file_depth + tokens[0].inline_modules;
        let supers = tokens.iter().step_by(2).take_while(|token| token.text == "super").count();
        (supers == depth).then_some(2 * supers - 1)
    }
}

/// The segments that can follow a root: one, or each of a group. `tokens` begin with `::`.
fn first_segments<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t Token<'a>> {
    let mut segments = Vec::new();
    if tokens.first().is_none_or(|token| token.text != "::") {
        return segments;
    }
    let Some(next) = tokens.get(1) else {
        return segments;
    };
    if next.text != "{" {
        if is_word(next.text) {
            segments.push(next);
        }
        return segments;
    }
    let mut depth = 0;
    let mut entry_begins = false;
    for token in &tokens[1..] {
        match token.text {
            "{" => {
                depth += 1;
                entry_begins = depth == 1;
            }
            "}" => depth -= 1,
            "," => entry_begins = depth == 1,
            text if entry_begins => {
                entry_begins = false;
                if is_word(text) && text != "self" {
                    segments.push(token);
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    segments
}

fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Words, `::`, and every other mark alone.
fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (number, line) in (1..).zip(code.lines()) {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = if is_word(rest) {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (text, after) = rest.split_at(length);
            tokens.push(Token { text, line: number, inline_modules: 0, in_tests: false });
            rest = after.trim_start();
        }
    }
    place_in_modules(&mut tokens);
    tokens
}

fn place_in_modules(tokens: &mut [Token<'_>]) {
    const TESTS: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    // One entry an open brace: whether it opens a module, and whether that one is for tests.
    let mut open: Vec<(bool, bool)> = Vec::new();
    for at in 0..tokens.len() {
        match tokens[at].text {
            "{" => {
                let is_module = at >= 2 && tokens[at - 2].text == "mod";
                let before = tokens[..at.saturating_sub(2)].iter().rev().map(|token| token.text);
                let is_tests = is_module && before.take(7).eq(TESTS.into_iter().rev());
                open.push((is_module, is_tests));
            }
            "}" => {
                open.pop();
            }
            _ => {}
        }
        tokens[at].inline_modules = open.iter().filter(|(is_module, _)| *is_module).count();
        tokens[at].in_tests = open.iter().any(|(_, is_tests)| *is_tests);
    }
}

/// The code with comments, strings and characters made blank; line ends stay.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let literal = literal_length(rest, code.chars().next_back());
        let length = literal.unwrap_or(first.len_utf8());
        let (part, after) = rest.split_at(length);
        if literal.is_some() {
            code.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(part);
        }
        rest = after;
    }
    code
}

/// How long the comment or literal is that `rest` begins with, if it does.
fn literal_length(rest: &str, before: Option<char>) -> Option<usize> {
    let after_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment_length(rest));
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"'));
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        // 'x' and '\n' are characters, 'x without a closing quote is a lifetime.
        let mut chars = quoted.chars();
        let is_char = chars.next() == Some('\\') || chars.next() == Some('\'');
        return is_char.then(|| quoted_length(rest, '\''));
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !after_word)?;
    let hashes = raw.len() - raw.trim_start_matches('#').len();
    let opened = raw[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = opened.find(&closing).map_or(opened.len(), |end| end + closing.len());
    Some(rest.len() - opened.len() + end)
}

fn block_comment_length(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}
