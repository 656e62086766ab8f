//! `config/tidegate.toml` says what the code does.

use tidegate::config::{self, Config, Origin};

use crate::EXAMPLE;

/// The key of a commented-out `# key = value`, with its value.
fn commented(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.strip_prefix("# ")?.split_once(" = ")?;
    let is_key = key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    is_key.then_some((key, value))
}

#[test]
fn as_it_is_it_changes_nothing() {
    let loaded = config::from_text("tidegate.toml", EXAMPLE).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.origins.iter().all(|(_, origin)| *origin == Origin::Default));
}

#[test]
fn uncommented_it_sets_every_key_to_its_default() {
    let uncomment = |line: &str| match commented(line) {
        Some((key, value)) => format!("{key} = {value}\n"),
        None => format!("{line}\n"),
    };
    let text: String = EXAMPLE.lines().map(uncomment).collect();
    let loaded = config::from_text("tidegate.toml", &text).unwrap();
    assert_eq!(loaded.config, Config::default());
    for (key, origin) in loaded.origins {
        assert_ne!(origin, Origin::Default, "`{key}` is missing in config/tidegate.toml");
    }
}

#[test]
fn each_comment_states_the_default_above_its_key() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        if let Some((key, value)) = commented(line) {
            assert_eq!(lines[index - 1], format!("# Default: {value}."), "{key}");
            assert!(lines[index - 2].starts_with("# "), "{key} is not explained");
        }
    }
}
