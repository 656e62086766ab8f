//! The servers behind the gateway, each as it comes: nginx and haproxy in front of the strict origin,
//! which records what they have understood; hyper; Python's h11 and http.server; Node.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use super::conversation::Party;
use super::hyper_server;
use super::log::{Log, Seen};
use super::origin::Origin;
use crate::support::{eventually, free_address};

const HOW_TO_INSTALL: &str = "`make deps` installs what the tests need";

/// A running server. Its process ends with the value.
pub(crate) struct Backend {
    pub(crate) name: &'static str,
    pub(crate) party: Party,
    _process: Option<Process>,
}

struct Process {
    child: Child,
    _folder: Option<TempDir>,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// All of them, started.
pub(crate) fn start_all() -> Vec<Backend> {
    vec![nginx(), haproxy(), hyper(), h11(), http_server(), node()]
}

/// As the page names them: the versions that were asked.
pub(crate) fn versions() -> Vec<String> {
    let said = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}; {HOW_TO_INSTALL}"));
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned()
    };
    let number = |text: &str| {
        let words = text.split([' ', '/', '-']).map(|word| word.trim_start_matches('v'));
        let mut numbers = words.filter(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        numbers.next().unwrap_or("?").to_owned()
    };
    let h11 = ["-c", "import h11; print(h11.__version__)"];
    vec![
        format!("nginx {}", number(&said(&debian("nginx"), &["-v"]))),
        format!("haproxy {}", number(&said(&debian("haproxy"), &["-v"]))),
        format!("hyper {}", locked("hyper")),
        format!("h11 {}", number(&said(&python().to_string_lossy(), &h11))),
        format!("http.server of Python {}", number(&said(&python().to_string_lossy(), &["-V"]))),
        format!("Node {}", number(&said("node", &["--version"]))),
    ]
}

/// The version of a crate that the tests are built with.
fn locked(name: &str) -> &'static str {
    let lock = include_str!("../../Cargo.lock");
    let package = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
    package.and_then(|(_, rest)| rest.split('"').next()).expect("Cargo.lock names every crate")
}

fn nginx() -> Backend {
    let (origin, address, folder) = (Origin::start(), free_address(), folder());
    let dir = folder.path().display();
    // A body is read whole before the origin hears of it: as nginx does, and here in memory.
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log stderr crit;
         events {{ worker_connections 512; }}
         http {{
           access_log off;
           client_body_buffer_size 1m; client_max_body_size 1m;
           client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
           fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
           server {{
             listen {address};
             location / {{ proxy_http_version 1.1; proxy_pass http://{}; }}
           }}
         }}",
        origin.address
    );
    let file = write(&folder, &config);
    let mut command = Command::new(debian("nginx"));
    command.arg("-c").arg(file).arg("-p").arg(folder.path()).args(["-e", "stderr"]);
    in_front_of("nginx", &origin, address, command, folder)
}

fn haproxy() -> Backend {
    let (origin, address, folder) = (Origin::start(), free_address(), folder());
    // Like nginx, it asks the origin once the whole request is there.
    let config = format!(
        "defaults\n  mode http\n  option http-buffer-request\n  timeout client 30s\n  \
         timeout connect 5s\n  timeout server 30s\n  timeout http-request 30s\n\
         frontend public\n  bind {address}\n  default_backend app\n\
         backend app\n  server origin {}\n",
        origin.address
    );
    let file = write(&folder, &config);
    let mut command = Command::new(debian("haproxy"));
    command.arg("-db").arg("-q").arg("-f").arg(file);
    in_front_of("haproxy", &origin, address, command, folder)
}

fn hyper() -> Backend {
    let log = Log::default();
    let address = hyper_server::start(log.clone());
    Backend { name: "hyper", party: Party { address, log, piece: None }, _process: None }
}

fn h11() -> Backend {
    let mut command = Command::new(python());
    command.arg(scripts().join("h11_server.py"));
    printing("h11", command)
}

fn http_server() -> Backend {
    let mut command = Command::new(python());
    command.arg(scripts().join("http_server.py"));
    printing("http.server", command)
}

fn node() -> Backend {
    let mut command = Command::new("node");
    command.arg(scripts().join("node_server.mjs"));
    printing("Node", command)
}

/// A proxy whose requests go on to the origin.
fn in_front_of(
    name: &'static str,
    origin: &Origin,
    address: SocketAddr,
    mut command: Command,
    folder: TempDir,
) -> Backend {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let process = Process { child: spawn(&mut command), _folder: Some(folder) };
    eventually(&format!("{name} to listen"), || TcpStream::connect(address).ok());
    let party = Party { address, log: origin.log.clone(), piece: None };
    Backend { name, party, _process: Some(process) }
}

/// A server that prints its port, and then a line for each request.
fn printing(name: &'static str, mut command: Command) -> Backend {
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = spawn(&mut command);
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
    let port = lines.next().and_then(Result::ok).and_then(|line| line.parse().ok());
    let port: u16 = port.unwrap_or_else(|| panic!("{name} printed no port; {HOW_TO_INSTALL}"));
    let log = Log::default();
    let party = Party { address: ([127, 0, 0, 1], port).into(), log: log.clone(), piece: None };
    thread::spawn(move || note_all(lines, &log));
    Backend { name, party, _process: Some(Process { child, _folder: None }) }
}

fn note_all(lines: std::io::Lines<BufReader<ChildStdout>>, log: &Log) {
    for line in lines.map_while(Result::ok) {
        log.note(Seen::from_line(&line));
    }
}

fn spawn(command: &mut Command) -> Child {
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; {HOW_TO_INSTALL}"))
}

/// Debian puts servers where a user's path does not lead.
fn debian(program: &str) -> String {
    format!("/usr/sbin/{program}")
}

fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/python");
    assert!(python.exists(), "Python's packages are not there: {HOW_TO_INSTALL}");
    python
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/differential/backends")
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target folder can be written")
}

fn write(folder: &TempDir, config: &str) -> PathBuf {
    let file = folder.path().join("config");
    fs::write(&file, config).expect("a folder of our own can be written");
    file
}
