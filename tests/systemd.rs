//! What a service manager hears, on a socket such as systemd's (sd_notify(3)).

mod support;

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Builder, Deadline, Folder, Gateway, PATIENCE, pause};

/// The other end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _folder: Folder,
}

impl Manager {
    fn new() -> Self {
        let folder = Folder::new();
        let path = folder.path().join("notify").display().to_string();
        let socket = UnixDatagram::bind(&path).expect("a socket in a folder of ours");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time above zero");
        Self { socket, path, _folder: folder }
    }

    fn starts(&self, builder: Builder) -> Gateway {
        builder.env("NOTIFY_SOCKET", &self.path).start()
    }

    /// The next message, as its assignments.
    #[track_caller]
    fn hears(&self) -> Vec<(String, String)> {
        let mut message = [0; 1024];
        let length = self.socket.recv(&mut message).expect("a message in time");
        let text = std::str::from_utf8(&message[..length]).expect("UTF-8");
        let assignment = |line: &str| {
            let (name, value) = line.split_once('=').expect("NAME=VALUE");
            (name.to_owned(), value.to_owned())
        };
        text.lines().map(assignment).collect()
    }

    /// The next message is this, with a status that says so.
    #[track_caller]
    fn hears_state(&self, state: &str, status: &str) -> Vec<(String, String)> {
        let heard = self.hears();
        assert_eq!(heard[0], (state.into(), "1".into()), "{heard:?}");
        let (name, value) = heard.last().expect("more than the state");
        assert!(name == "STATUS" && value.contains(status), "no {status:?} in {heard:?}");
        heard
    }
}

/// The clock that `MONOTONIC_USEC` is of, to a hundredth of a second: this machine has not slept.
fn monotonic_usec() -> u64 {
    let uptime = std::fs::read_to_string("/proc/uptime").expect("Linux says how long it is up");
    let seconds = uptime.split(' ').next().expect("the first field");
    (seconds.parse::<f64>().expect("seconds") * 1e6) as u64
}

#[test]
fn the_manager_hears_of_the_start_each_reload_and_the_stop() {
    let manager = Manager::new();
    let mut gateway = manager.starts(Gateway::builder().config(""));
    manager.hears_state("READY", &gateway.public.to_string());
    for (config, how) in [("", "; reloaded"), ("nonsense", "; not reloaded")] {
        gateway.write_config(config);
        let before = monotonic_usec();
        gateway.reload();
        let reloading = manager.hears_state("RELOADING", "reloading");
        let (name, at) = &reloading[1];
        let range = before - 20_000..=monotonic_usec() + 20_000;
        let at: u64 = at.parse().expect("a number");
        assert!(name == "MONOTONIC_USEC" && range.contains(&at), "{at} is not in {range:?}");
        manager.hears_state("READY", how);
    }
    gateway.terminate();
    manager.hears_state("STOPPING", "30 s");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn a_watchdog_is_fed_until_the_gateway_stops_turning() {
    let manager = Manager::new();
    let watched = Gateway::builder().env("WATCHDOG_USEC", "200000");
    let gateway = manager.starts(watched);
    manager.hears_state("READY", "");
    let began = Instant::now();
    for _ in 0..10 {
        assert_eq!(manager.hears(), [("WATCHDOG".into(), "1".into())]);
    }
    // At half of the time: the first at once, and nine intervals.
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(800), "ten signs of life in {took:?}");
    gateway.signal(Signal::STOP);
    manager.socket.set_nonblocking(true).expect("a socket");
    let deadline = Deadline::patient();
    let quiet = Duration::from_millis(600);
    let mut last = Instant::now();
    while last.elapsed() < quiet && deadline.left().is_some() {
        if manager.socket.recv(&mut [0; 64]).is_ok() {
            last = Instant::now();
        }
        pause(Duration::from_millis(10));
    }
    assert!(last.elapsed() >= quiet, "a gateway that stands still gives signs of life");
    gateway.signal(Signal::CONT);
}

#[test]
fn a_watchdog_of_another_process_is_not_ours() {
    let manager = Manager::new();
    let watched = Gateway::builder().env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let _gateway = manager.starts(watched);
    manager.hears_state("READY", "");
    manager.socket.set_read_timeout(Some(Duration::from_millis(300))).expect("above zero");
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "a sign of life that nobody wants");
}
