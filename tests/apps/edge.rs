//! An app as a process of its own, the gateway before it, and curl to use it with.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{node, project, python};
use crate::support::lines::Lines;
use crate::support::{Authority, Deadline, Folder, Gateway};

/// Lines of an app's log that a failing test prints.
const LOG_TAIL: usize = 30;

/// Every app, one after the other, each behind a gateway of its own.
pub(crate) fn edges() -> impl Iterator<Item = Edge> {
    let ways = [Edge::in_the_clear, Edge::over_tls];
    ways.into_iter().flat_map(|way| ["python", "node"].map(way))
}

/// A gateway with an app behind it.
pub(crate) struct Edge {
    /// What the users connect to.
    pub(crate) gateway: Gateway,
    /// Where the users find the app, without a slash at the end.
    pub(crate) base: String,
    /// The authority that has signed the gateway's certificate, where there is one.
    pub(crate) ca: Option<PathBuf>,
    /// The users' files.
    pub(crate) files: Folder,
    _app: App,
}

impl Edge {
    #[track_caller]
    fn in_the_clear(app: &'static str) -> Self {
        let app = App::start(app);
        let gateway = Gateway::builder().arg("--upstream").arg(&app.url).start();
        let base = format!("http://{}", gateway.public);
        Self { gateway, base, ca: None, files: Folder::new(), _app: app }
    }

    #[track_caller]
    fn over_tls(app: &'static str) -> Self {
        let (app, files, authority) = (App::start(app), Folder::new(), Authority::new());
        let (chain, key) = authority.issue(&files, "127.0.0.1");
        let config = format!(
            "[tls]\nlisten = '127.0.0.1:0'\n\
             [[tls.certificates]]\nchain = {chain:?}\nkey = {key:?}\n"
        );
        let gateway = Gateway::builder().config(&config).arg("--upstream").arg(&app.url).start();
        let base = format!("https://{}", gateway.tls.expect("the gateway listens over TLS"));
        let ca = Some(files.write("ca.pem", &authority.pem()).into());
        Self { gateway, base, ca, files, _app: app }
    }

    /// What a browser speaks with it.
    pub(crate) fn protocol(&self) -> &str {
        if self.ca.is_some() { "h2" } else { "http/1.1" }
    }

    /// What `host` says, and what absolute links begin with: the address in `base`.
    pub(crate) fn host(&self) -> &str {
        self.base.split_once("://").expect("a scheme").1
    }

    /// The scheme of `base`.
    pub(crate) fn scheme(&self) -> &str {
        self.base.split_once("://").expect("a scheme").0
    }

    /// What a client that is a script needs to find the app.
    pub(crate) fn order(&self) -> Value {
        json!({"url": self.base, "ca": self.ca})
    }

    /// curl, about to ask for this path.
    pub(crate) fn curl(&self, path: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--noproxy", "*", "--globoff", "--max-time", "30"]);
        if let Some(ca) = &self.ca {
            command.arg("--cacert").arg(ca);
        }
        command.arg(format!("{}{path}", self.base)).stdin(Stdio::null());
        command
    }

    /// Asks for this path with these arguments of curl.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str, args: &[&str]) -> Answer {
        let mut command = self.curl(path);
        command.args(args).args(["--write-out", ANSWER_FORMAT]);
        let output = command.output().expect("curl is installed: run `make deps`");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {} {said}", output.status);
        let mut answer: Answer = serde_json::from_str(&said)
            .unwrap_or_else(|error| panic!("{command:?}: {error} in {said:?}"));
        answer.body = output.stdout;
        answer
    }

    /// Sends this JSON to this path.
    #[track_caller]
    pub(crate) fn send_json(&self, method: &str, path: &str, value: &Value) -> Answer {
        let header = "content-type: application/json";
        self.ask(path, &["--request", method, "--header", header, "--data", &value.to_string()])
    }
}

/// What curl says about an answer, apart from its body.
const ANSWER_FORMAT: &str = r#"%{stderr}{"status":%{http_code},"headers":%{header_json}}"#;

/// What the app answered.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, Vec<String>>,
    #[serde(skip)]
    pub(crate) body: Vec<u8>,
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, self.text());
        self
    }

    /// Every value of the header fields with this name, in the order sent.
    pub(crate) fn headers(&self, name: &str) -> &[String] {
        self.headers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of the one header field with this name.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(values.len() <= 1, "{name} was sent more than once: {values:?}");
        values.first().map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }
}

/// The SHA-256 of a file, in hexadecimal, as coreutils has it.
#[track_caller]
pub(crate) fn sha256(file: File) -> String {
    let output = Command::new("sha256sum").stdin(file).output().expect("coreutils are installed");
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace().next().expect("a sum").to_owned()
}

/// A folder that goes with the value.
fn folder() -> TempDir {
    tempfile::tempdir().expect("there is a place for temporary files")
}

/// A running app.
pub(crate) struct App {
    name: &'static str,
    pub(crate) url: String,
    child: Child,
    /// What it says of its requests, line by line.
    pub(crate) log: Lines,
    _uploads: TempDir,
}

impl App {
    /// Starts an app on a port of the kernel's choice, and waits until it listens.
    #[track_caller]
    pub(crate) fn start(name: &'static str) -> Self {
        let uploads = folder();
        let mut command = command(name, &project().join("tests/apps").join(name));
        let (log, both_outputs) = io::pipe().expect("a pipe can be made");
        command.env("UPLOADS", uploads.path()).stdin(Stdio::null());
        command.stdout(both_outputs.try_clone().expect("a pipe has many ends"));
        command.stderr(both_outputs);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let log = Lines::of(log);
        let listening = |line: &str| {
            let at = line.find("http://127.0.0.1:")?;
            line[at..].split_whitespace().next().map(str::to_owned)
        };
        let mut app = Self { name, url: String::new(), child, log, _uploads: uploads };
        let url = app.log.wait_from(0, Deadline::patient(), listening);
        app.url = url.unwrap_or_else(|why| panic!("{name} did not say that it listens: {why}"));
        app
    }
}

fn command(name: &str, folder: &Path) -> Command {
    match name {
        "python" => {
            let mut python = python();
            python.args(["-m", "uvicorn", "--port", "0", "--app-dir"]).arg(folder).arg("app:app");
            python
        }
        "node" => {
            let mut node = node();
            node.arg(folder.join("app.js")).env("PORT", "0");
            node
        }
        _ => panic!("no app named {name}"),
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.log.all();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- end of what the {} app said\n{}\n---", self.name, tail.join("\n"));
        }
    }
}
