//! What reaches the log of a request that is refused: never a raw control byte, which could forge
//! a line or drive the terminal of whoever reads it.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::support::lines::Lines;
use super::support::{Deadline, Gateway, Subscribe, http, percent_encode};

/// Is in every attack, so that the lines it leads to can be found.
const MARK: &str = "marked-attack";
/// Is in the request after all attacks.
const LAST: &str = "that-was-all";

/// A line that an attacker would like to see in the log.
const FORGED: &str = "2026-01-01T00:00:00Z ERROR all is lost";

/// Sends control bytes wherever a request has room for them.
fn attack(public: SocketAddr, internal: SocketAddr) {
    for control in ["\u{1b}[31m", "\n", "\r\n", "\0", "\u{7f}", "\u{8}", "\u{9b}31m", "\u{202e}"] {
        let text = format!("{MARK}{control}{FORGED}");
        let escaped = percent_encode(&text);
        let post = |path: &str, body: &[u8]| http("POST", internal, path, &[], body).status;
        // A direction override is no control byte: names may hold it, topics may not.
        let name_status = if control == "\u{202e}" { 202 } else { 400 };
        assert_eq!(post(&format!("/topics/{escaped}"), b"x"), 400);
        assert_eq!(post(&format!("/topics/t?event={escaped}"), b"x"), name_status);
        assert_eq!(post(&format!("/topics/t?retry={escaped}"), b"x"), 400);
        assert_eq!(post(&format!("/topics/t?{escaped}=x"), b"x"), 400);
        assert_eq!(post(&format!("/{escaped}"), b"x"), 404);
        for body in [
            json!({"topic": text}),
            json!({"topic": "a.*", "event": text, "data": text}),
            json!({"topic": "t", &*text: 1}),
            json!([{"topic": "t", &*text: 1}]),
            json!({"topic": "t", "retry": text}),
            json!({"topic": [text]}),
            json!(text),
        ] {
            assert_eq!(post("/publish", body.to_string().as_bytes()), 400, "{body}");
        }
        assert_eq!(post("/publish", text.as_bytes()), 400);
        let get = |target: &str| Subscribe::new(public, "").target(target).response().status;
        assert_eq!(get(&format!("/events?topic={escaped}")), 400);
        assert_eq!(get(&format!("/events?topic=t&limit={escaped}")), 400);
        assert_eq!(get(&format!("/events?topic=t&max_duration={escaped}")), 400);
        assert_eq!(get(&format!("/{escaped}")), 404);
    }
    // Bytes above ASCII pass through a URL unescaped: here the C1 control character CSI.
    let raw = format!("/events?topic=a.%3E.b&{MARK}=\u{9b}31m");
    assert_eq!(Subscribe::new(public, "").target(&raw).response().status, 400);
    let last = format!("/topics/{LAST}?event=%00");
    assert_eq!(http("POST", internal, &last, &[], b"x").status, 400);
}

#[track_caller]
fn assert_clean(lines: &[String]) {
    for line in lines {
        let raw = line.chars().find(|character| character.is_control());
        assert_eq!(raw, None, "a raw control character in {line:?}");
        assert!(!line.starts_with(FORGED), "a forged line: {line:?}");
    }
    let marked = lines.iter().filter(|line| line.contains(MARK)).count();
    assert!(marked >= 8 * 5, "the log does not tell of the attacks: {marked} lines of {lines:#?}");
}

#[test]
fn f12_control_bytes_reach_the_json_log_escaped() {
    let builder = Gateway::builder().arg("--log-level").arg("debug");
    let gateway = builder.arg("--set=log.lines_per_second_max=0").start();
    attack(gateway.public, gateway.internal);
    gateway.expect_log(LAST);
    let lines = gateway.log();
    assert_clean(&lines);
    for line in lines {
        let entry: Value = serde_json::from_str(&line).expect("one JSON object a line");
        assert!(entry["level"].is_string(), "not an entry of the log: {line}");
    }
}

#[test]
fn f12_control_bytes_reach_the_text_log_escaped() {
    let gateway = TextLogged::start();
    attack(gateway.public, gateway.internal);
    let line = gateway.expect_line(LAST);
    assert!(line.contains("DEBUG"), "{line}");
    let lines = gateway.log.all();
    assert_clean(&lines);
    for line in lines {
        let level = line.split_whitespace().nth(1).unwrap_or_default();
        let known = matches!(level, "DEBUG" | "INFO" | "WARN" | "ERROR");
        assert!(known, "not an entry of the log: {line:?}");
    }
}

/// A gateway that logs for people; the usual one of the tests logs for machines.
struct TextLogged {
    child: Child,
    log: Lines,
    public: SocketAddr,
    internal: SocketAddr,
}

impl TextLogged {
    #[track_caller]
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(["run", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"]);
        command.args(["--log-format", "text", "--log-level", "debug"]).env_clear();
        command.arg("--set=log.lines_per_second_max=0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the gateway's binary runs");
        let log = Lines::of(child.stderr.take().expect("stderr is piped"));
        let listening = log.wait_from(0, Deadline::patient(), |line| {
            let address = |name: &str| {
                let (_, after) = line.split_once(&format!(" {name}="))?;
                after.split_whitespace().next()?.parse().ok()
            };
            Some((address("public")?, address("internal")?))
        });
        let (public, internal) = listening.expect("the log says where the gateway listens");
        Self { child, log, public, internal }
    }

    #[track_caller]
    fn expect_line(&self, text: &str) -> String {
        let found = self
            .log
            .wait_from(0, Deadline::patient(), |line| line.contains(text).then(|| line.to_owned()));
        found.unwrap_or_else(|why| panic!("waited for {text:?} in the log: {why}"))
    }
}

impl Drop for TextLogged {
    fn drop(&mut self) {
        // The process may have ended already: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
