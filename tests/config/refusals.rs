//! What a refusal says, word for word.

use tidegate::config::{self, Overrides, Problem};

use crate::{TempFile, environment, set, with_environment};

/// What is wrong with a file's text, or nothing.
fn refusal(text: &str) -> String {
    config::from_text("tidegate.toml", text).map_or_else(|error| error.to_string(), |_| "".into())
}

/// The first line of each problem: without the quoted line.
fn messages(text: &str) -> Vec<String> {
    let error = config::from_text("tidegate.toml", text).unwrap_err();
    let message =
        |problem: &Problem| format!("{}: {}", problem.origin.as_ref().unwrap(), problem.message);
    error.problems.iter().map(message).collect()
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_key_that_was_meant() {
    assert_eq!(
        refusal("# A comment.\n[server]\nlisen = \"0.0.0.0:8080\"\n"),
        "tidegate.toml:3:1: unknown key `lisen` in [server]; did you mean `listen`?\n  |\n\
         3 | lisen = \"0.0.0.0:8080\"\n  | ^^^^^"
    );
}

#[test]
fn a_list_is_shown_as_it_was_written() {
    assert_eq!(
        messages("[proxy]\ntrusted = [ 'a b', \"\\u202e\" ]\n"),
        [
            "tidegate.toml:2:11: `proxy.trusted` is [\"a b\", \"\\u{202e}\"]; \"a b\" is not an address or \
             a network, like \"10.0.0.0/8\""
        ]
    );
}

#[test]
fn unknown_keys_are_found_in_every_way_to_write_them() {
    for (text, message) in [
        ("[sever]\n", "1:2: unknown section [sever]; did you mean [server]?"),
        (
            "[stream.contrl]\nend = ''\n",
            "1:9: unknown section [stream.contrl]; did you mean [stream.control]?",
        ),
        (
            "\n[stream.control]\nhllo = 'x'\n",
            "3:1: unknown key `hllo` in [stream.control]; did you mean `hello`?",
        ),
        ("server.lisen = 1", "1:8: unknown key `lisen` in [server]; did you mean `listen`?"),
        (
            "stream = { control = { enb = 'x' } }",
            "1:24: unknown key `enb` in [stream.control]; did you mean `end`?",
        ),
        (
            "[stream]\r\n\theartbeet = 1\r\n",
            "2:2: unknown key `heartbeet` in [stream]; did you mean `heartbeat`?",
        ),
        ("listen = 1", "1:1: unknown key `listen` at the top level; did you mean `server.listen`?"),
        ("lisen = 1", "1:1: unknown key `lisen` at the top level; did you mean `server.listen`?"),
        (
            "[publish]\nmax_lifetime = '1h'",
            "2:1: unknown key `max_lifetime` in [publish]; did you mean \
             `stream.max_lifetime`?",
        ),
        (
            "mailbox.'bytes.max' = 1",
            "1:9: unknown key `bytes.max` in [mailbox]; did you mean `bytes_max`?",
        ),
        ("'é' = 1\n'server'.zzz = 1", "1:1: unknown key `é` at the top level"),
    ] {
        assert_eq!(messages(text)[0], format!("tidegate.toml:{message}"));
    }
}

#[test]
fn a_wrong_value_names_place_key_value_and_what_is_expected() {
    for (text, message) in [
        (
            "[server]\nshards = \"four\"",
            "2:10: `server.shards` is \"four\"; expected a whole number, 0 or more",
        ),
        (
            "[server]\nshards = -1",
            "2:10: `server.shards` is -1; expected a whole number, 0 or more",
        ),
        (
            "[server]\naccept_backlog = 5000000000",
            "2:18: `server.accept_backlog` is 5000000000; expected a whole number from 0 to \
             4294967295",
        ),
        (
            "server.shards = 99999999999999999999",
            "1:17: `server.shards` is 99999999999999999999; expected a number of at most 64 \
             bits",
        ),
        (
            "[server]\nlisten = \"localhost:80\"",
            "2:10: `server.listen` is \"localhost:80\"; expected an IP address and port like \
             \"127.0.0.1:8080\" or \"[::1]:8080\"",
        ),
        ("log.format = 'xml'", "1:14: `log.format` is \"xml\"; expected `text` or `json`"),
        ("log.format = 7", "1:14: `log.format` is 7; expected `text` or `json`"),
        ("log.level = 7", "1:13: `log.level` is 7; expected a string"),
        ("server = 3", "1:1: `server` is a section of keys, not a key"),
        ("[[server]]", "1:3: `server` is a section of keys, not a key"),
        ("[log.level]", "1:1: `log.level` is a table; expected a string"),
    ] {
        assert_eq!(messages(text), [format!("tidegate.toml:{message}")]);
    }
}

#[test]
fn a_wrong_entry_of_a_list_is_told_in_its_own_words() {
    let route = |text: &str| format!("stream.routes = [{{ {text} }}]");
    for (text, message) in [
        (
            "path = 'a'",
            "\"a\" is not a path whose segments are literal or a parameter each, like \
             \"/api/boards/{boardId}/events\"",
        ),
        (
            "path = '/', topics = ['{']",
            "\"{\" is not a topic or pattern, with or without parameters, like \
             \"board.{boardId}\" or \"agents.*\"",
        ),
        (
            "path = '/', parameters = { x = '[a-' }",
            "\"[a-\" is not a regular expression: unclosed character class",
        ),
        (
            "path = '/', parameters = { x = 7 }",
            "expected parameters like \"[0-9]+\" or { pattern = \"[0-9]+\", default = \"0\" }",
        ),
        (
            "path = '/', cors = { origins = ['app.example.com'] }",
            "\"app.example.com\" is not an origin, like \"https://app.example.com\" without a \
             path, or \"*\"",
        ),
    ] {
        let messages = messages(&route(text));
        assert!(messages[0].ends_with(&format!("; {message}")), "{messages:?}");
    }
}

#[test]
fn a_wrong_unit_is_answered_with_one_that_works() {
    for (text, message) in [
        (
            "stream.heartbeat = 15",
            "1:20: `stream.heartbeat` is 15; expected a length of time with its unit, like \
             \"15s\" or \"250ms\"",
        ),
        (
            "stream.heartbeat = '-15s'",
            "1:20: `stream.heartbeat` is \"-15s\"; a length of time cannot be negative",
        ),
        (
            "stream.max_lifetime = '2y'",
            "1:23: `stream.max_lifetime` is \"2y\"; expected at most 366 days",
        ),
        (
            "stream.ring_bytes_max = '1 apple'",
            "1:25: `stream.ring_bytes_max` is \"1 apple\"; expected a number of bytes like \
             \"64KiB\", \"1MB\" or 65536",
        ),
        (
            "stream.ring_bytes_max = -1",
            "1:25: `stream.ring_bytes_max` is -1; a number of bytes cannot be negative",
        ),
        (
            "stream.ring_bytes_max = '9EiB'",
            "1:25: `stream.ring_bytes_max` is \"9EiB\"; expected fewer bytes than 8EiB",
        ),
    ] {
        assert_eq!(messages(text), [format!("tidegate.toml:{message}")]);
    }
}

#[test]
fn the_caret_lines_up_behind_tabs_and_wide_letters() {
    assert_eq!(
        refusal("[stream.control]\n\thello = 'é' # é\n\tgap = 7 # é\n"),
        "tidegate.toml:3:8: `stream.control.gap` is 7; expected a string\n  |\n\
         3 | \tgap = 7 # é\n  | \t      ^"
    );
}

#[test]
fn text_that_is_not_toml_is_refused_where_it_goes_wrong() {
    assert_eq!(
        refusal("[server]\nshards = 1\nshards = 2\n"),
        "tidegate.toml:3:1: duplicate key\n  |\n3 | shards = 2\n  | ^^^^^^"
    );
    assert!(refusal("[server\n").starts_with("tidegate.toml:1:8: unclosed table"));
    // Control characters never reach the terminal as they are.
    assert!(!refusal("a = \u{1b}[31m").contains('\u{1b}'));
    assert!(!refusal("\"\\u001b[31m\" = 1").contains('\u{1b}'));
}

#[test]
fn every_mistake_of_every_source_is_told_at_once() {
    let file = TempFile::new("mistakes.toml", "[stream]\nretry = 1\n[server]\nshard = 1\n");
    let overrides = Overrides {
        file: Some(file.0.clone()),
        environment: environment(&[
            ("TIDEGATE__SERVER__SHARDS", "four"),
            ("TIDEGATE__SERVER__LISEN", ""),
            ("TIDEGATE__SERVER_INTERNAL", ""),
            ("TIDEGATE__HEARTBEAT_KIND", ""),
            ("TIDEGATE__STREAM", ""),
            ("TIDEGATE__", ""),
        ]),
        flags: vec![set("stream.hartbeat", "1s"), set("log.format", "xml")],
    };
    let error = config::load(&overrides).unwrap_err();
    assert!(error.is_usage());
    let file = file.name();
    let told: Vec<String> = error
        .problems
        .iter()
        .map(|problem| problem.to_string().lines().next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        told,
        [
            &format!(
                "{file}:2:9: `stream.retry` is 1; expected a length of time with its unit, \
                 like \"15s\" or \"250ms\""
            ),
            &format!("{file}:4:1: unknown key `shard` in [server]; did you mean `shards`?"),
            "TIDEGATE__: unknown variable",
            "TIDEGATE__HEARTBEAT_KIND: unknown variable; did you mean \
             `TIDEGATE__STREAM__HEARTBEAT_KIND`?",
            "TIDEGATE__SERVER_INTERNAL: unknown variable; did you mean \
             `TIDEGATE__SERVER__INTERNAL`?",
            "TIDEGATE__SERVER__LISEN: unknown variable; did you mean \
             `TIDEGATE__SERVER__LISTEN`?",
            "TIDEGATE__STREAM: `stream` is a section of keys, not a key",
            "TIDEGATE__SERVER__SHARDS: `server.shards` is \"four\"; expected a whole number, \
             0 or more",
            "--set stream.hartbeat: unknown key `stream.hartbeat`; did you mean \
             `stream.heartbeat`?",
            "--set log.format: `log.format` is \"xml\"; expected `text` or `json`",
        ]
    );
}

#[test]
fn a_broken_rule_is_told_at_the_strongest_source_involved() {
    assert_eq!(
        messages("[publish]\nevent_bytes_max = '1MiB'\n"),
        ["tidegate.toml:2:19: `stream.ring_bytes_max` is 1MiB; it must be at least \
             `publish.event_bytes_max` (1MiB) plus 1KiB, so that one event always fits a ring"]
    );
    let overrides = with_environment(&[("TIDEGATE__SERVER__INTERNAL", "0.0.0.0:8081")]);
    assert_eq!(
        config::load(&overrides).unwrap_err().to_string(),
        "TIDEGATE__SERVER__INTERNAL: `server.internal` is 0.0.0.0:8081, which is not a \
         loopback address, so anyone who reaches it could publish: bind it to 127.0.0.1 and \
         reach it through an SSH tunnel or a sidecar on the same host; publish credentials \
         are not available in this version"
    );
}

#[test]
fn a_file_that_cannot_be_read_hides_no_other_mistake() {
    let overrides = Overrides {
        file: Some("/nonexistent/tidegate.toml".into()),
        flags: vec![set("server.shards", "four")],
        ..Overrides::default()
    };
    let problems = config::load(&overrides).unwrap_err().problems;
    assert_eq!(
        problems[0].to_string(),
        "/nonexistent/tidegate.toml: cannot read the file: No such file or directory (os \
         error 2)"
    );
    assert_eq!(problems.len(), 2);
}

#[test]
fn what_is_wrong_in_a_list_of_tables_is_named_and_no_secret_is_shown() {
    let text = "[[source]]\nname = 'a'\nurl = 'http://127.0.0.1:1/'\ntopics = ['a.{dat}']\n\
                headers = { authorization = 'Bearer s3cret' }\n";
    let error = config::from_text("tidegate.toml", text).unwrap_err().to_string();
    assert!(error.contains("{dat} is no field; there are {source}"), "{error}");
    assert!(!error.contains("s3cret"), "{error}");
}
