//! The rules of the source that no compiler holds: which module may import which, and what every
//! file looks like. The tables come first; edit them when the design changes, and say why there.

#[path = "tidy/source.rs"]
mod source;

use source::{Source, sources};

/// The layers, top first. A module may import the modules of the layers below its own.
const LAYERS: &[(u8, &[&str])] = &[
    (5, &["main", "cli", "gateway"]),
    (4, &["shard", "admin", "canary", "sizing"]),
    (3, &["http", "subscribe", "publish", "proxy", "source", "settings", "dialects", "brokers"]),
    (
        2,
        &[
            "access",
            "alarm",
            "auth",
            "durable",
            "event_stream",
            "fetch",
            "hook",
            "inspect",
            "interest",
            "logging",
            "net",
            "pace",
            "request_body",
            "tls",
        ],
    ),
    // `config` is plain data: everything from layer 2 up may read it, the core may not.
    (1, &["hub", "history", "journal", "config"]),
    (0, &["event", "sse", "topic", "query", "media", "sync", "error", "metrics"]),
];

/// Imports allowed within a layer.
const WITHIN_LAYER: &[(&str, &str)] = &[
    ("main", "cli"),
    ("main", "gateway"),
    ("http", "subscribe"),
    ("http", "publish"),
    ("http", "proxy"),
    ("http", "source"),
    ("http", "settings"),
    ("http", "dialects"),
    ("http", "brokers"),
    // A source publishes, by the rules of all publishers.
    ("source", "publish"),
    ("source", "settings"),
    // What a reload replaces as a whole is made of these.
    ("settings", "publish"),
    ("settings", "subscribe"),
    ("settings", "proxy"),
    ("access", "net"),
    ("logging", "access"),
    ("fetch", "net"),
    ("hook", "fetch"),
    ("hook", "tls"),
    ("pace", "alarm"),
    ("request_body", "pace"),
    ("hub", "history"),
    ("hub", "journal"),
    ("event", "sse"),
    ("event", "sync"),
    ("event", "topic"),
    ("metrics", "sse"),
];

/// Modules of the layers 0 and 1 that need not be pure.
const IMPURE: &[&str] = &["config"];

/// What the pure modules do without, and what they have instead. The crates and paths here are
/// found wherever they are named, in a `use` or not.
const BANNED_IN_PURE: &[(&str, &str)] = &[
    ("tokio", "the core knows no runtime"),
    ("mio", "the core knows no sockets"),
    ("socket2", "the core knows no sockets"),
    ("hyper", "the core knows no HTTP server"),
    ("hyper_util", "the core knows no HTTP server"),
    ("std::net", "the core knows no sockets"),
    ("std::os", "the core knows no descriptors"),
    ("Instant::now", "`now` is passed in"),
    ("SystemTime::now", "`now` is passed in"),
];

/// Lines a file may have.
const FILE_LINES_MAX: usize = 500;

/// Words that mark work left over.
const LEFTOVERS: &[&str] = &[concat!("FIX", "ME"), concat!("XX", "X:"), concat!("to", "do!(")];

/// Names that say nothing about what a file holds.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "manager", "common", "misc", "globals"];

#[test]
fn imports_point_down_the_layers() {
    report(sources("src").iter().flat_map(import_violations));
}

#[test]
fn the_core_knows_no_runtime_clock_or_socket() {
    report(sources("src").iter().flat_map(purity_violations));
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    let files = ["src", "tests", "benches", "loadtest", "fuzz"].into_iter().flat_map(sources);
    report(files.flat_map(|file| style_violations(&file)));
}

fn import_violations(file: &Source) -> Vec<String> {
    let module = file.module();
    if module == "lib" {
        return Vec::new(); // It names every module.
    }
    let Some(own) = layer(module) else {
        return vec![format!("{}: module {module} is in no layer: add it to LAYERS", file.path)];
    };
    let check = |(line, imported): (usize, String)| {
        let place = format!("{}:{line}", file.path);
        let Some(layer) = layer(&imported) else {
            return Some(format!("{place}: crate::{imported} is no module of LAYERS: name one"));
        };
        let within = WITHIN_LAYER.contains(&(module, imported.as_str()));
        (imported != module && layer >= own && !within).then(|| {
            format!(
                "{place}: {module} (layer {own}) imports {imported} (layer {layer}); imports point \
                 to lower layers, or along an arrow of WITHIN_LAYER"
            )
        })
    };
    file.imports().into_iter().filter_map(check).collect()
}

fn purity_violations(file: &Source) -> Vec<String> {
    let module = file.module();
    if IMPURE.contains(&module) || layer(module).is_none_or(|layer| layer > 1) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (banned, instead) in BANNED_IN_PURE {
        for line in file.lines_naming(banned) {
            violations.push(format!("{}:{line}: {module} uses {banned}: {instead}", file.path));
        }
    }
    violations
}

fn style_violations(file: &Source) -> Vec<String> {
    let path = &file.path;
    let mut violations = Vec::new();
    if !file.text.starts_with("//! ") {
        violations.push(format!("{path}:1: no `//!` header that says what belongs here"));
    }
    let lines = file.text.lines().count();
    if lines > FILE_LINES_MAX {
        violations.push(format!("{path}: {lines} lines, more than {FILE_LINES_MAX}: split it"));
    }
    for (number, line) in (1..).zip(file.text.lines()) {
        for word in LEFTOVERS.iter().filter(|word| line.contains(*word)) {
            violations.push(format!("{path}:{number}: {word} left: do it, or open an issue"));
        }
    }
    let mut names = path.trim_end_matches(".rs").split('/');
    if let Some(name) = names.find(|name| EMPTY_NAMES.contains(name)) {
        violations.push(format!("{path}: {name:?} says nothing: name what the file holds"));
    }
    violations
}

fn layer(module: &str) -> Option<u8> {
    LAYERS.iter().find(|(_, modules)| modules.contains(&module)).map(|(layer, _)| *layer)
}

#[track_caller]
fn report(violations: impl IntoIterator<Item = String>) {
    let violations: Vec<String> = violations.into_iter().collect();
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// The checks themselves, on sources that break each rule: a check that finds nothing proves
/// nothing.
mod the_checks {
    use super::{Source, import_violations, purity_violations, style_violations};

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    #[track_caller]
    fn imports(path: &str, text: &str, places: &[&str]) {
        let found = import_violations(&source(path, text));
        let found_places: Vec<&str> =
            found.iter().map(|text| text.split(": ").next().expect("a place")).collect();
        assert_eq!(found_places, places, "{found:?}");
    }

    #[test]
    fn find_upward_and_sideways_imports_in_every_form() {
        imports(
            "src/hub.rs",
            "use crate::sse::Frame;\nuse crate::shard::Shard;",
            &["src/hub.rs:2"],
        );
        imports(
            "src/publish/mod.rs",
            "\nuse crate::{\n  sse::X,\n  subscribe::{A, B},\n};",
            &["src/publish/mod.rs:4"],
        );
        imports("src/subscribe/a.rs", "fn f() { crate::publish::g() }", &["src/subscribe/a.rs:1"]);
        imports("src/http/mod.rs", "use crate::publish::P; use crate::subscribe::S;", &[]);
        imports("src/sse/a/b.rs", "use super::super::super::hub::H;", &["src/sse/a/b.rs:1"]);
        imports("src/sse/mod.rs", "use super::hub::H;", &["src/sse/mod.rs:1"]);
        imports("src/shard/mod.rs", "mod sweep;\nuse super::http;\nuse sweep::S;", &[]);
        let nested =
            "mod tests {\n  use super::X;\n  use super::super::hub::H;\n}\nuse super::sse;";
        imports("src/sync.rs", nested, &["src/sync.rs:3", "src/sync.rs:5"]);
        imports("src/hub.rs", "use crate::config::C;", &["src/hub.rs:1"]);
        imports("src/net/mod.rs", "use crate::config::C;", &[]);
        imports("src/main.rs", "use tidegate::{cli, gateway::run};", &[]);
        imports("src/cli.rs", "use crate::gateway::G;", &["src/cli.rs:1"]);
        imports("src/stuff.rs", "", &["src/stuff.rs"]);
        imports("src/sse/mod.rs", "use crate::Unknown;", &["src/sse/mod.rs:1"]);
    }

    #[test]
    fn leave_comments_strings_and_visibility_alone() {
        let text = "//! See [`crate::gateway`].\n/* use crate::shard; /* nested */ crate::shard */\n\
            const A: &str = \"crate::shard::B \\\" crate::shard\";\nconst C: char = '\"';\n\
            const D: &str = r#\"crate::shard\"#;\npub(crate) fn f<'a>(x: &'a str) {}\n\
            pub(in crate::hub) const E: u8 = b'\\'';\n";
        imports("src/hub/mod.rs", text, &[]);
        imports("src/hub/mod.rs", &format!("{text}use crate::shard::X;"), &["src/hub/mod.rs:8"]);
    }

    #[test]
    fn find_the_clock_the_runtime_and_the_sockets() {
        let text = "use std::{net::TcpStream, fmt};\nuse tokio::sync::mpsc;\n\
            fn f() { std::time::Instant::now(); }\n// tokio, Instant::now\nfn g() { mio_like(); }\n\
            #[cfg(test)]\nmod tests { fn now() { Instant::now() } }\n";
        let found = purity_violations(&source("src/history/log.rs", text));
        assert_eq!(found.len(), 3, "{found:?}");
        assert_eq!(purity_violations(&source("src/shard/mod.rs", text)), Vec::<String>::new());
        assert_eq!(purity_violations(&source("src/config/mod.rs", text)), Vec::<String>::new());
    }

    #[test]
    fn find_what_a_file_lacks() {
        let found = style_violations(&source(
            "src/http/utils.rs",
            &format!("use a;\n// {}", super::LEFTOVERS[0]),
        ));
        assert_eq!(found.len(), 3, "{found:?}");
        let long = format!("//! Long.\n{}", "\n".repeat(600));
        assert_eq!(style_violations(&source("src/a.rs", &long)).len(), 1);
        assert_eq!(style_violations(&source("src/a.rs", "//! Fine.\n")), Vec::<String>::new());
    }
}
