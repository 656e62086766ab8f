//! `docs/CONFIGURATION.md` lists every key: its words are those of `config/tidegate.toml`, and when a
//! change counts is what the code says.
//!
//! `BLESS=1 cargo test --test config` writes the list anew.

use std::fmt::Write as _;
use std::fs;

use tidegate::config::Config;
use tidegate::config::units::{Bytes, Interval};

use crate::EXAMPLE;

const PAGE: &str = "docs/CONFIGURATION.md";
/// The list is below it; what is above is written by hand.
const MARK: &str = "<!-- The list below is written by tests/config/page.rs. -->\n";

#[test]
fn the_page_lists_every_key_with_what_it_is_and_when_a_change_counts() {
    let found = fs::read_to_string(PAGE).expect("the page is there");
    let (by_hand, _) = found.split_once(MARK).expect("the page has its mark");
    let expected = format!("{by_hand}{MARK}{}", list());
    if std::env::var_os("BLESS").is_some() {
        fs::write(PAGE, &expected).expect("docs/ can be written");
    }
    assert!(found == expected, "{PAGE} is out of date: BLESS=1 cargo test --test config");
}

fn list() -> String {
    let mut page = String::new();
    let mut current = None;
    for key in Config::keys() {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", &key));
        if current != Some(section.to_owned()) {
            let title =
                if section.is_empty() { "Sources".into() } else { format!("`[{section}]`") };
            write!(page, "\n### {title}\n\n{HEAD}").expect("a String grows");
            current = Some(section.to_owned());
        }
        let (what, default) = described(section, name);
        let applies = Config::applies(&key).expect("every key has a statement").as_str();
        let kind = kind(&default);
        writeln!(page, "| `{name}` | {what} | {kind} | `{default}` | {applies} |")
            .expect("a String grows");
    }
    page
}

const HEAD: &str =
    "| key | what | value | default | a change counts for |\n|---|---|---|---|---|\n";

/// What the example file says of a key, and its default.
fn described(section: &str, name: &str) -> (String, String) {
    let header = format!("[{section}]");
    let of_section = match section {
        "" => EXAMPLE,
        _ => EXAMPLE.split_once(&format!("\n{header}\n")).expect(section).1,
    };
    let assignment = format!("\n# {name} = ");
    let (before, after) = of_section.split_once(&assignment).expect(name);
    let default = after.lines().next().expect("a value").to_owned();
    let comment = before.rsplit("\n\n").next().expect("a comment");
    let is_prose = |line: &&str| {
        // What is set in further is an example.
        let text = line.strip_prefix("# ");
        text.is_some_and(|text| !text.starts_with(' ') && !text.starts_with("Default: "))
    };
    let prose: Vec<&str> = comment.lines().filter(is_prose).map(|line| &line[2..]).collect();
    assert!(!prose.is_empty(), "{section}.{name} is not explained");
    let is_key = |name: &str| Config::applies(&format!("{section}.{name}")).is_some();
    let is_assignment = |line: &&str| line.split_once(" = ").is_some_and(|(name, _)| is_key(name));
    assert!(!prose.iter().any(is_assignment), "there is no empty line before {name}");
    (prose.join(" ").replace('|', "\\|"), default)
}

/// What a key takes, which its default shows.
fn kind(default: &str) -> &'static str {
    let text = default.trim_matches('"');
    match default {
        "true" | "false" => "true or false",
        _ if default.starts_with('[') => "list",
        _ if default.parse::<f64>().is_ok() => "number",
        _ if text.parse::<Interval>().is_ok() => "time",
        _ if text.parse::<Bytes>().is_ok() => "size",
        _ => "text",
    }
}
