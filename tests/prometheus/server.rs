//! Prometheus as a process, with the configuration of `deploy/`, and its `promtool`.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::lines::Lines;
use crate::support::{Gateway, eventually, http, percent_encode};

/// A file of the project.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A file's text.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs `promtool` with this on its standard input; panics unless it is content and has nothing to say
/// on standard error.
#[track_caller]
pub(crate) fn promtool(args: &[&str], input: &str) {
    let mut child = Command::new("promtool")
        .args(args)
        .current_dir(file("deploy/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is installed: run `make deps`");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("promtool reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("promtool ends");
    let said =
        [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success() && said[1].is_empty(), "promtool {args:?}: {}", said.concat());
}

/// A Prometheus that scrapes one gateway. It dies with this value.
pub(crate) struct Prometheus {
    child: Child,
    log: Lines,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with the configuration of `deploy/`, at a faster pace, and waits for its first scrape.
    #[track_caller]
    pub(crate) fn scraping(gateway: &Gateway) -> Self {
        let folder = tempfile::tempdir().expect("a folder for Prometheus");
        let mut config = read("deploy/prometheus/prometheus.yml");
        let rules = file("deploy/prometheus/tidegate.rules.yml");
        for (ours, tests) in [
            ("scrape_interval: 15s", "scrape_interval: 200ms"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
            ("127.0.0.1:8081", &gateway.internal.to_string()),
            ("tidegate.rules.yml", rules.to_str().expect("UTF-8")),
        ] {
            assert!(config.contains(ours), "prometheus.yml has no {ours}");
            config = config.replacen(ours, tests, 1);
        }
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, config).expect("the folder can be written");
        let address = free_address();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus is installed: run `make deps`");
        let log = Lines::of(child.stderr.take().expect("stderr is piped"));
        let prometheus = Self { child, log, address, _folder: folder };
        prometheus.await_first_scrape();
        prometheus
    }

    #[track_caller]
    fn await_first_scrape(&self) {
        eventually("Prometheus to listen", || std::net::TcpStream::connect(self.address).ok());
        eventually("Prometheus to be ready", || {
            (http("GET", self.address, "/-/ready", &[], b"").status == 200).then_some(())
        });
        eventually("the first scrape", || (self.query("up") == [1.0]).then_some(()));
    }

    /// The values of an instant query.
    #[track_caller]
    pub(crate) fn query(&self, expr: &str) -> Vec<f64> {
        let answer = self.get(&format!("/api/v1/query?query={}", percent_encode(expr)));
        let samples = answer["result"].as_array().expect("a vector").iter();
        let value = |sample: &Value| sample["value"][1].as_str()?.parse().ok();
        samples.map(|sample| value(sample).expect("a value")).collect()
    }

    /// The alerting rules, as Prometheus has read them.
    #[track_caller]
    pub(crate) fn alerting_rules(&self) -> Vec<Value> {
        let answer = self.get("/api/v1/rules?type=alert");
        let groups = answer["groups"].as_array().expect("groups").iter();
        groups.flat_map(|group| group["rules"].as_array().expect("rules").clone()).collect()
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let mut answer = http("GET", self.address, path, &[], b"").expect_status(200).json();
        answer["data"].take()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // It may have ended already: then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- Prometheus's log\n{}\n---", self.log.all().join("\n"));
        }
    }
}

/// Prometheus does not say which port it was given, so it is told one that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound socket has an address")
}
