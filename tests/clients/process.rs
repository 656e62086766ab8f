//! A client as a process of its own that prints one JSON line for each thing it sees.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::support::lines::Lines;
use crate::support::{Deadline, PATIENCE};

/// Browsers start slowly on a busy machine.
const START_PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// A running client.
pub(crate) struct Client {
    /// What the test calls it.
    pub(crate) name: &'static str,
    child: Child,
    input: ChildStdin,
    output: Lines,
    errors: Lines,
    read: usize,
}

impl Client {
    /// Chromium's own EventSource, in the way of one of the `browser*.mjs` scripts.
    pub(crate) fn chromium(script: &str, order: &Value) -> Self {
        Self::node("chromium", script, order)
    }

    /// The npm package `eventsource`.
    pub(crate) fn node_eventsource(order: &Value) -> Self {
        Self::node("npm eventsource", "node_eventsource.mjs", order)
    }

    /// PyPI's `httpx-sse`.
    pub(crate) fn python_httpx_sse(order: &Value) -> Self {
        Self::python("httpx-sse", "python_httpx_sse.py", order)
    }

    /// A script in Python.
    pub(crate) fn python(name: &'static str, script: &str, order: &Value) -> Self {
        let mut command = python();
        command.arg(clients().join(script));
        Self::start(name, command, order)
    }

    /// A script in JavaScript.
    pub(crate) fn node(name: &'static str, script: &str, order: &Value) -> Self {
        let mut command = node();
        command.arg(clients().join(script));
        Self::start(name, command, order)
    }

    /// Any command, with its order as the last argument.
    pub(crate) fn start(name: &'static str, mut command: Command, order: &Value) -> Self {
        command.arg(order.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {command:?} failed ({error}): `make deps`?"));
        let input = child.stdin.take().expect("stdin is piped");
        let output = Lines::of(child.stdout.take().expect("stdout is piped"));
        let errors = Lines::of(child.stderr.take().expect("stderr is piped"));
        Self { name, child, input, output, errors, read: 0 }
    }

    /// Waits until the client says that its stream is open.
    #[track_caller]
    pub(crate) fn expect_ready(&mut self) {
        let line = self.next_line(Deadline::after(START_PATIENCE));
        assert_eq!(line["ready"], true, "{}: waited for its stream to open", self.name);
    }

    /// Gives the client an order, one line.
    #[track_caller]
    pub(crate) fn order(&mut self, order: &Value) {
        writeln!(self.input, "{order}").expect("the client reads its orders");
    }

    /// The next line the client prints.
    #[track_caller]
    pub(crate) fn expect_line(&mut self) -> Value {
        self.next_line(Deadline::after(START_PATIENCE))
    }

    /// Every line up to the one that says `done`.
    #[track_caller]
    pub(crate) fn expect_lines_until_done(&mut self) -> Vec<Value> {
        let deadline = Deadline::after(PATIENCE * 2);
        let mut lines = Vec::new();
        loop {
            let line = self.next_line(deadline);
            if line["done"] == true {
                return lines;
            }
            lines.push(line);
        }
    }

    #[track_caller]
    fn next_line(&mut self, deadline: Deadline) -> Value {
        let line = self.output.wait_from(self.read, deadline, |line| Some(line.to_owned()));
        let line = line.unwrap_or_else(|why| {
            panic!("{}: waited for line {} of its output: {why}", self.name, self.read + 1)
        });
        self.read += 1;
        serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("{}: not JSON ({error}): {line}", self.name))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A browser ends with the script that started it: its debugging pipe closes.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} printed", self.name);
            for line in self.output.all().iter().chain(&self.errors.all()) {
                eprintln!("{}", clip(line));
            }
            eprintln!("---");
        }
    }
}

/// POSTs with the real curl; gives the answer to a 202.
#[track_caller]
pub(crate) fn curl_post(url: &str, content_type: &str, body: &str) -> Value {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--noproxy", "*", "--globoff", "--max-time", "10"]);
    command.args(["--header", &format!("content-type: {content_type}")]);
    command.args(["--write-out", "\n%{http_code}", "--data-binary", "@-", url]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("curl is installed: run `make deps`");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(body.as_bytes()).expect("curl reads its body");
    drop(stdin);
    let output = child.wait_with_output().expect("curl ends");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let (answer, status) = said.rsplit_once('\n').expect("curl writes the status last");
    assert_eq!(status, "202", "POST {url}: {answer} {errors}");
    serde_json::from_str(answer).unwrap_or_else(|error| panic!("not JSON ({error}): {answer}"))
}

/// As much of a line as helps a reader.
pub(crate) fn clip(line: &str) -> String {
    line.chars().take(300).collect()
}

/// Python with the packages of `requirements.txt`.
pub(crate) fn python() -> Command {
    let python = project().join("target/venv/bin/python");
    assert!(python.exists(), "Python's packages are not installed: run `make deps`");
    Command::new(python)
}

/// Node with the packages of `package.json`, wherever the script lies.
pub(crate) fn node() -> Command {
    let packages = clients().join("node_modules");
    assert!(packages.exists(), "the JavaScript packages are not installed: run `make deps`");
    let mut command = Command::new("node");
    command.env("NODE_PATH", packages);
    command
}

pub(crate) fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn clients() -> PathBuf {
    project().join("tests/clients")
}
