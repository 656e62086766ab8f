//! A system as it is deployed: the gateway with a file of `config/`, of which only addresses and times are
//! changed, by flags and the environment; and its app behind it.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::Value;

use crate::page::Page;
use crate::process::{node, project, python};
use crate::support::lines::Lines;
use crate::support::{Builder, Deadline, Gateway, Response, Subscribe, http};

/// Lines of an app's log that a failing test prints.
const LOG_TAIL: usize = 30;

/// What a system is started with.
pub(crate) struct Setup {
    name: &'static str,
    gateway: Builder,
    edited: Option<String>,
    app_env: Vec<(&'static str, String)>,
}

impl Setup {
    /// Changes one key of the shipped configuration.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.gateway = self.gateway.arg("--set").arg(&format!("{key}={value}"));
        self
    }

    /// Changes the shipped configuration as somebody would who edits it: `from` stands there once.
    #[track_caller]
    pub(crate) fn edit(mut self, from: &str, to: &str) -> Self {
        let text =
            self.edited.unwrap_or_else(|| fs::read_to_string(shipped(self.name)).expect("a file"));
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
        self.edited = Some(text.replace(from, to));
        self
    }

    /// Sets a variable of the gateway's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.gateway = self.gateway.env(name, value);
        self
    }

    /// Sets a variable of the app's environment.
    pub(crate) fn app_env(mut self, name: &'static str, value: &str) -> Self {
        self.app_env.push((name, value.into()));
        self
    }

    /// Starts the gateway, then the app, which has to know where the gateway is.
    #[track_caller]
    pub(crate) fn start(self) -> System {
        let address = own_address();
        let gateway = match self.edited {
            Some(text) => self.gateway.config(&text),
            None => self.gateway.arg("--config").arg(&shipped(self.name)),
        };
        let gateway = gateway.arg("--upstream").arg(&format!("http://{address}")).start();
        let mut command = app_command(self.name, address);
        command.env("TIDEGATE_URL", format!("http://{}", gateway.internal)).envs(self.app_env);
        System { gateway, app: App::start(self.name, command) }
    }
}

/// A running system.
pub(crate) struct System {
    /// What stands before the app.
    pub(crate) gateway: Gateway,
    /// What is behind it.
    pub(crate) app: App,
}

impl System {
    /// With the configuration as it is shipped.
    #[track_caller]
    pub(crate) fn start(name: &'static str) -> Self {
        Self::setup(name).start()
    }

    /// With some of it changed.
    pub(crate) fn setup(name: &'static str) -> Setup {
        Setup { name, gateway: Gateway::builder(), edited: None, app_env: Vec::new() }
    }

    /// Asks the app, through the gateway.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Response {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("content-type", "application/json")];
        http(method, self.gateway.public, path, &headers, text.as_bytes())
    }

    /// A stream of the gateway's.
    pub(crate) fn stream(&self, target: &str) -> Subscribe {
        self.gateway.subscriber("").target(target)
    }

    /// The app's page in Chromium.
    #[track_caller]
    pub(crate) fn page(&self, path: &str) -> Page {
        Page::open(self.gateway.public, path)
    }
}

/// A program of a system, as a process of its own.
pub(crate) struct App {
    name: &'static str,
    /// Where it listens.
    pub(crate) url: String,
    child: Child,
    log: Lines,
}

impl App {
    /// Starts it, and waits until it says that it listens.
    #[track_caller]
    pub(crate) fn start(name: &'static str, mut command: Command) -> Self {
        let (log, both_outputs) = io::pipe().expect("a pipe can be made");
        command.stdin(Stdio::null());
        command.stdout(both_outputs.try_clone().expect("a pipe has many ends"));
        command.stderr(both_outputs);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // It holds the pipe's other end.
        drop(command);
        let mut app = Self { name, url: String::new(), child, log: Lines::of(log) };
        let listening = |line: &str| {
            let at = line.find("http://127.")?;
            line[at..].split_whitespace().next().map(str::to_owned)
        };
        let url = app.log.wait_from(0, Deadline::after(2 * crate::support::PATIENCE), listening);
        app.url = url.unwrap_or_else(|why| panic!("{name} did not say that it listens: {why}"));
        app
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.url.trim_start_matches("http://").parse().expect("an address")
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let lines = self.log.all();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- end of what {} said\n{}\n---", self.name, tail.join("\n"));
        }
    }
}

/// A system's file of `config/`.
fn shipped(name: &str) -> String {
    let file = project().join(format!("config/{}.toml", name.replace('_', "-")));
    file.to_str().expect("paths are text here").to_owned()
}

/// A file of the apps.
pub(crate) fn app_file(path: &str) -> PathBuf {
    project().join("tests/apps").join(path)
}

fn app_command(name: &str, address: SocketAddr) -> Command {
    let (host, port) = (address.ip().to_string(), address.port().to_string());
    if name == "task_events" {
        let mut python = python();
        python.args(["-m", "uvicorn", "--host", &host, "--port", &port, "--app-dir"]);
        python.arg(app_file(name)).arg("app:app");
        return python;
    }
    let mut node = node();
    node.arg(app_file(name).join("app.mjs")).env("HOST", host).env("PORT", port);
    node
}

/// An address of 127.0.0.0/8 that nobody else is given, with a free port: the gateway has to know it before the
/// app listens.
fn own_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 1, low, NEXT.fetch_add(1, Ordering::Relaxed));
    let listener = TcpListener::bind((ip, 0)).expect("all of 127.0.0.0/8 is this machine");
    listener.local_addr().expect("a listener has an address")
}
