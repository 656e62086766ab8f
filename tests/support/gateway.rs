//! The real binary as a child process, listening on ports of the kernel's choice. It dies with
//! the value that holds it; when a test fails, its log is printed.

use std::ffi::OsStr;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::deadline::{Deadline, PATIENCE, eventually};
use super::http::{Connection, Header, Response, http, percent_encode};
use super::lines::Lines;
use super::metrics;
use super::subscriber::{Subscribe, Subscriber};

/// Set to test another build of the binary, such as the packaged one.
const BINARY_VARIABLE: &str = "TIDEGATE_TEST_BINARY";
/// Lines of the log that a failing test prints.
const LOG_TAIL: usize = 60;
/// Clock ticks a second in `/proc/<pid>/stat`: fixed in the kernel's interface.
const USER_HZ: u64 = 100;

/// What a gateway is started with.
#[derive(Debug, Default)]
pub struct Builder {
    args: Vec<String>,
    env: Vec<(String, String)>,
    config: Option<String>,
    open_files: Option<u32>,
    binary: Option<PathBuf>,
}

impl Builder {
    /// Starts this binary and not the one under test.
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Adds a command-line argument after the listeners.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Starts with this text as the configuration file.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// Starts the gateway; panics unless it listens within [`PATIENCE`].
    #[track_caller]
    pub fn start(self) -> Gateway {
        let process = self.spawn(&["--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0"]);
        let listening = process.log.wait_from(0, Deadline::patient(), |line| {
            let entry: Value = serde_json::from_str(line).ok()?;
            // Fields lie beside the message, or under `fields`, as the log's layout has it.
            let fields = if entry["fields"].is_object() { &entry["fields"] } else { &entry };
            (fields["message"] == "listening").then(|| {
                (address(fields, "public"), address(fields, "internal"), fields["tls"].clone())
            })
        });
        match listening {
            Ok((public, internal, tls)) => {
                let tls = tls.as_str().map(|tls| tls.parse().expect("an address"));
                Gateway { process, public, internal, tls }
            }
            Err(why) => panic!("the gateway did not log that it listens: {why}"),
        }
    }

    /// Starts the gateway under a limit of open files, which it cannot raise.
    #[track_caller]
    pub fn start_with_open_files(mut self, limit: u32) -> Gateway {
        self.open_files = Some(limit);
        self.start()
    }

    /// Starts a gateway that must refuse to run: gives its exit status and what it said. Only the
    /// arguments given are passed.
    #[track_caller]
    pub fn expect_refusal(self) -> (ExitStatus, String) {
        let mut process = self.spawn(&[]);
        let status = process.wait();
        assert!(!status.success(), "the gateway ran and ended in order: {status}");
        let end = process.log.wait_from(0, Deadline::patient(), |_| None::<()>);
        assert_eq!(end, Err("the output ended"));
        (status, process.log.all().join("\n"))
    }

    #[track_caller]
    fn spawn(self, listeners: &[&str]) -> Process {
        let config = self.config.map(|text| write_config(&text));
        let binary = self.binary.map_or_else(tidegate, |path| unconfigured(path.as_os_str()));
        let mut command = match self.open_files {
            None => binary,
            Some(limit) => under_file_limit(&binary, limit),
        };
        command.arg("run").args(listeners).args(["--log-format", "json"]);
        if let Some(path) = &config {
            command.arg("--config").arg(path);
        }
        command.args(self.args).envs(self.env);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{command:?} failed: {error}"));
        let log = Lines::of(child.stderr.take().expect("stderr is piped"));
        Process { child, log, config }
    }
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    /// Where subscribers connect.
    pub public: SocketAddr,
    /// Where publishers connect.
    pub internal: SocketAddr,
    /// Where subscribers connect over TLS, if they can.
    pub tls: Option<SocketAddr>,
}

impl Gateway {
    /// Starts one with every default.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Starts one differently.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A topic to publish to and subscribe to.
    pub fn topic<'a>(&'a self, name: &'a str) -> Topic<'a> {
        Topic { gateway: self, name }
    }

    /// `POST /publish` with this JSON.
    #[track_caller]
    pub fn publish(&self, json: &str) -> Response {
        self.post("/publish", &[("content-type", "application/json")], json.as_bytes())
    }

    /// `POST` to the internal listener.
    #[track_caller]
    pub fn post(&self, path: &str, headers: &[Header<'_>], body: &[u8]) -> Response {
        http("POST", self.internal, path, headers, body)
    }

    /// `GET` from the internal listener.
    #[track_caller]
    pub fn get(&self, path: &str) -> Response {
        http("GET", self.internal, path, &[], b"")
    }

    /// Opens `GET /events?{query}`.
    #[track_caller]
    pub fn subscribe(&self, query: &str) -> Subscriber {
        self.subscriber(query).open()
    }

    /// Prepares `GET /events?{query}`.
    pub fn subscriber(&self, query: &str) -> Subscribe {
        Subscribe::new(self.public, query)
    }

    /// A connection to the public listener.
    #[track_caller]
    pub fn connect_public(&self) -> Connection {
        Connection::open(self.public)
    }

    /// A connection to the internal listener, kept open between requests.
    #[track_caller]
    pub fn connect_internal(&self) -> Connection {
        Connection::open(self.internal)
    }

    /// A bare socket to the public listener.
    #[track_caller]
    pub fn raw_public(&self) -> TcpStream {
        TcpStream::connect(self.public).expect("the public listener accepts")
    }

    /// A bare socket to the internal listener.
    #[track_caller]
    pub fn raw_internal(&self) -> TcpStream {
        TcpStream::connect(self.internal).expect("the internal listener accepts")
    }

    /// The sum of the samples of this name that have these labels; 0 when there is none yet.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let exposition = self.get("/metrics").expect_status(200);
        metrics::sample(exposition.text(), name, labels).unwrap_or(0.0)
    }

    /// Waits until the metric has this value.
    #[track_caller]
    pub fn expect_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut last = f64::NAN;
        let what = format!("{name}{labels:?} to be {value}");
        let deadline = Deadline::patient();
        while deadline.left().is_some() {
            last = self.metric(name, labels);
            if (last - value).abs() < 1e-9 {
                return;
            }
            super::pause(Duration::from_millis(10));
        }
        panic!("waited {PATIENCE:?} for {what}, it is {last}");
    }

    /// Every line logged so far.
    pub fn log(&self) -> Vec<String> {
        self.process.log.all()
    }

    /// The first log line that holds `text`, waited for.
    #[track_caller]
    pub fn expect_log(&self, text: &str) -> String {
        let found = self
            .process
            .log
            .wait_from(0, Deadline::patient(), |line| line.contains(text).then(|| line.to_owned()));
        found.unwrap_or_else(|why| panic!("waited for {text:?} in the log: {why}"))
    }

    /// Sends SIGTERM: the gateway drains.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP: the gateway reads its configuration again.
    pub fn reload(&self) {
        self.signal(Signal::HUP);
    }

    /// Writes the configuration file anew, which nobody reads before a reload.
    #[track_caller]
    pub fn write_config(&self, toml: &str) {
        let path = self.process.config.as_ref().expect("the gateway was started with a file");
        fs::write(path, toml).expect("the file can be written");
    }

    /// Has the configuration read again, and waits until that is done.
    #[track_caller]
    pub fn reload_by_api(&self) -> Response {
        self.post("/reload", &[], b"")
    }

    /// Sends SIGKILL: the gateway is gone at once.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Sends any signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.process.pid(), signal).expect("the gateway's process exists");
    }

    /// Waits for the process to end.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.child.try_wait(), Ok(None))
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// User and system time the process has used.
    #[track_caller]
    pub fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // The name in parentheses may hold spaces; utime and stime are the 12th and 13th after it.
        let fields = stat.rsplit_once(") ").expect("stat has a name").1;
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u64 = ticks.map(|field| field.parse::<u64>().expect("a number")).sum();
        Duration::from_millis(ticks * 1000 / USER_HZ)
    }

    /// Resident memory, in bytes.
    #[track_caller]
    pub fn rss(&self) -> u64 {
        1024 * self.proc_status("VmRSS")
    }

    /// The most memory that was ever resident, in bytes.
    #[track_caller]
    pub fn peak_rss(&self) -> u64 {
        1024 * self.proc_status("VmHWM")
    }

    /// Threads of the process.
    #[track_caller]
    pub fn threads(&self) -> u64 {
        self.proc_status("Threads")
    }

    /// Open descriptors of the process.
    #[track_caller]
    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process runs").count()
    }

    #[track_caller]
    fn proc_status(&self, field: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {field} in {status}"))
    }

    #[track_caller]
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid())).expect("the process runs")
    }
}

/// A topic of a gateway.
#[derive(Clone, Copy, Debug)]
pub struct Topic<'a> {
    gateway: &'a Gateway,
    name: &'a str,
}

impl Topic<'_> {
    /// Publishes this data; gives the event's id.
    #[track_caller]
    pub fn publish(&self, data: &str) -> String {
        self.post("", data)
    }

    /// Publishes this data under an event name; gives the event's id.
    #[track_caller]
    pub fn publish_named(&self, event: &str, data: &str) -> String {
        self.post(&format!("?event={}", percent_encode(event)), data)
    }

    /// Subscribes to this topic alone.
    #[track_caller]
    pub fn subscribe(&self) -> Subscriber {
        self.gateway.subscribe(&format!("topic={}", percent_encode(self.name)))
    }

    #[track_caller]
    fn post(&self, query: &str, data: &str) -> String {
        let path = format!("/topics/{}{query}", percent_encode(self.name));
        let response = self.gateway.post(&path, &[], data.as_bytes()).expect_status(202);
        let answer = response.json();
        let id = answer["id"].as_str().unwrap_or_else(|| panic!("no id in {answer}"));
        id.to_owned()
    }
}

/// Runs `tidegate ARGS` to its end: for the commands other than `run`.
#[track_caller]
pub fn run_cli(args: &[&str]) -> Output {
    let mut command = tidegate();
    command.args(args).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{command:?} failed: {error}"))
}

/// The child and what belongs to it.
#[derive(Debug)]
struct Process {
    child: Child,
    log: Lines,
    config: Option<PathBuf>,
}

impl Process {
    fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id()).expect("process ids fit");
        Pid::from_raw(id).expect("a child's id is not 0")
    }

    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        eventually("the gateway to end", || {
            self.child.try_wait().expect("a child can be waited for")
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(path) = &self.config {
            let _ = fs::remove_file(path);
        }
        if std::thread::panicking() {
            let lines = self.log.all();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            eprintln!("--- end of the gateway's log\n{}\n---", tail.join("\n"));
        }
    }
}

/// The binary under test.
fn tidegate() -> Command {
    let built = env!("CARGO_BIN_EXE_tidegate").into();
    unconfigured(&std::env::var_os(BINARY_VARIABLE).unwrap_or(built))
}

/// A binary, with nothing of the caller's environment that would configure it.
fn unconfigured(binary: &OsStr) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("TIDEGATE__") || name == "STREAM_MAX_SECONDS" || name == "RUST_LOG" {
            command.env_remove(&*name);
        }
    }
    command
}

/// The same command as the shell starts it under a limit of its own; the process id stays.
fn under_file_limit(command: &Command, limit: u32) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"ulimit -n {limit} && exec "$0" "$@""#)]);
    shell.arg(command.get_program());
    for (name, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
        shell.env_remove(name);
    }
    shell
}

fn write_config(text: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("tidegate-{}-{number}.toml", std::process::id());
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("the target directory can be written");
    path
}

#[track_caller]
fn address(fields: &Value, name: &str) -> SocketAddr {
    let text = fields[name].as_str().unwrap_or_default();
    text.parse().unwrap_or_else(|_| panic!("{name} is not an address in {fields}"))
}
