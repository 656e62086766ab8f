//! What belongs here: many exchanges at a time, every answer and every body checked byte by byte by the
//! load tester and its upstream. Nothing here is about speed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::support::Gateway;
use super::support::loadtest::{number, program};

/// The load tester's upstream.
struct Upstream {
    process: Child,
    address: SocketAddr,
}

impl Upstream {
    fn start() -> Self {
        let mut process = program()
            .args(["serve", "upstream", "--public", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the load tester runs");
        let mut line = String::new();
        let said = process.stdout.take().expect("it is piped");
        BufReader::new(said).read_line(&mut line).expect("text");
        let address = line.trim_end().strip_prefix("public ").map(str::parse);
        let address = address.expect("where it listens").expect("an address");
        Self { process, address }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn every_answer_and_every_body_comes_as_it_was_sent() {
    let upstream = Upstream::start();
    let url = format!("http://{}", upstream.address);
    let gateway = Gateway::builder().arg("--upstream").arg(&url).start();
    for load in [
        "--get 128 --connections 32",
        "--get 65536 --connections 8",
        "--get 0",
        "--post 1024 --connections 8",
        "--post 300000 --connections 8",
        "--get 128 --connections 100 --rate 500",
        "--get 128 --connections 8 --reconnect",
    ] {
        let output = program()
            .args(["requests", "--target", &format!("http://{}", gateway.public)])
            .args(["--duration", "200ms", "--server-pid", &gateway.pid().to_string()])
            .args(load.split(' '))
            .stdin(Stdio::null())
            .output()
            .expect("the load tester runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{load}: {said}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
        assert!(number(&report, "/requests") > 10, "{load}: {report:#}");
        assert!(report["server_cpu_us_per_request"].as_f64() > Some(0.0), "{load}: {report:#}");
    }
}
