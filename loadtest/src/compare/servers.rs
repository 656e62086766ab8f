//! Who is measured: how each server is started on its core, when it is up, and how it is
//! stopped. Only processes started here are ever stopped.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use crate::clock::{nanos, now_ns, wait};
use crate::compare::{peers, proxy};
use crate::probe;

/// A server that is not up by then has failed.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Between looks: a start is timed to this.
const LOOK: Duration = Duration::from_micros(100);
/// A server that is asked to stop may take so long.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Server {
    Floor,
    Tidegate,
    Naive,
    Nchan,
    Pushpin,
    Hello,
    Nginx,
    Haproxy,
}

impl Server {
    /// For file names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Tidegate => "tidegate",
            Self::Naive => "naive",
            Self::Nchan => "nchan",
            Self::Pushpin => "pushpin",
            Self::Hello => "hello",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// For people.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Nchan => "nginx + nchan",
            Self::Hello => "hyper hello",
            _ => self.name(),
        }
    }

    /// With what sets its figures apart from those of the others.
    pub(super) fn label_with_streams(self) -> String {
        match self.streams_max() {
            u32::MAX => self.label().to_owned(),
            streams => format!("{}, {streams} streams", self.label()),
        }
    }

    /// How to install what is missing; `None` when it is there.
    pub(super) fn missing(self) -> Option<&'static str> {
        match self {
            Self::Nchan => peers::nchan_missing(),
            Self::Pushpin => peers::pushpin_missing(),
            Self::Nginx => proxy::nginx_missing(),
            Self::Haproxy => proxy::haproxy_missing(),
            Self::Floor | Self::Tidegate | Self::Naive | Self::Hello => None,
        }
    }

    /// How the witness speaks to it.
    pub(super) fn witness_flags(self) -> &'static [&'static str] {
        match self {
            Self::Nchan => &["--dialect", "plain"],
            // When several streams open at once, its processes lose a few while they hand them
            // over ("received message out of sequence, canceling"): those get no events.
            Self::Pushpin => &["--dialect", "plain", "--connects-in-flight", "1"],
            _ => &[],
        }
    }

    /// One after the other, more would take too long to open.
    pub(super) fn streams_max(self) -> u32 {
        match self {
            Self::Pushpin => 1000,
            _ => u32::MAX,
        }
    }

    pub(super) fn publish_flags(self) -> &'static [&'static str] {
        match self {
            // In place of pipelined requests, which it does not take.
            Self::Pushpin => &["--publish-api", "pushpin", "--batch", "16"],
            _ => &[],
        }
    }
}

/// Where everything runs.
pub(super) struct Site {
    /// This program: the load and the control servers.
    pub(super) own: PathBuf,
    pub(super) gateway: PathBuf,
    pub(super) public: SocketAddr,
    pub(super) internal: SocketAddr,
    /// What servers ask that do not answer by themselves.
    pub(super) origin: SocketAddr,
    /// pushpin's sockets for other programs, which nobody uses.
    pub(super) further: [SocketAddr; 3],
    /// Whether the gateway is measured as a proxy.
    pub(super) is_proxy: bool,
    pub(super) server_core: usize,
    pub(super) client_core: usize,
}

/// A server that is up; stopped when dropped.
pub(super) struct Running {
    server: Child,
    /// On the load's core: its work is the load's.
    origin: Option<Child>,
    /// The server's processes; all that it started run on its core.
    pub(super) pids: Vec<u32>,
    scratch: TempDir,
}

/// Pins the calling thread; what it starts from then on inherits that.
pub(super) fn pin_this_thread(core: usize) -> Result<(), String> {
    let mut cores = CpuSet::new();
    if core < CpuSet::MAX_CPU {
        cores.set(core);
    }
    sched_setaffinity(None, &cores).map_err(|error| {
        format!("pinning to core {core}: {error}; choose others with --server-core, --client-core")
    })
}

/// Starts a process on `core`, as `taskset` would, without the time that takes.
pub(super) fn spawn_on(core: usize, command: &mut Command) -> Result<Child, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let spawn = || {
        pin_this_thread(core)?;
        command.spawn().map_err(|error| format!("starting {program}: {error}"))
    };
    thread::scope(|scope| scope.spawn(spawn).join())
        .unwrap_or_else(|_| Err(format!("starting {program}: the thread panicked")))
}

impl Site {
    /// Starts `server` and waits until it answers.
    pub(super) fn start(&self, server: Server) -> Result<Running, String> {
        let scratch = tempfile::Builder::new().prefix("tidegate-compare-").tempdir();
        let scratch = scratch.map_err(|error| format!("making a folder for a server: {error}"))?;
        let origin = self.asked_by(server).map(|name| self.start_origin(name)).transpose()?;
        let mut command = match server {
            Server::Tidegate => {
                let mut command = Command::new(&self.gateway);
                command.args(["--shards", "1", "--listen", &self.public.to_string()]);
                command.args(["--internal", &self.internal.to_string()]);
                if self.is_proxy {
                    command.args(["--upstream", &format!("http://{}", self.origin)]);
                }
                command
            }
            Server::Floor | Server::Naive | Server::Hello => {
                self.control(server.name(), self.public)
            }
            Server::Nchan => peers::nchan(self, scratch.path())?,
            Server::Pushpin => peers::pushpin(self, scratch.path())?,
            Server::Nginx => proxy::nginx(self, scratch.path())?,
            Server::Haproxy => proxy::haproxy(self, scratch.path())?,
        };
        let log = File::create(scratch.path().join("log"))
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|error| format!("making a server's log: {error}"))?;
        command.stdin(Stdio::null()).stdout(log.0).stderr(log.1);
        let child = spawn_on(self.server_core, &mut command)?;
        let pids = vec![child.id()];
        let mut running = Running { server: child, origin, pids, scratch };
        running.wait_until_up(self, server)?;
        running.pids = probe::descendants(running.server.id());
        Ok(running)
    }

    /// The control server that `server` asks.
    fn asked_by(&self, server: Server) -> Option<&'static str> {
        match server {
            Server::Pushpin => Some("grip-origin"),
            Server::Nginx | Server::Haproxy => Some("upstream"),
            Server::Tidegate => self.is_proxy.then_some("upstream"),
            _ => None,
        }
    }

    /// Up when it is asked: a proxy may leave out a server that was not there once.
    fn start_origin(&self, name: &str) -> Result<Child, String> {
        let mut command = self.control(name, self.origin);
        let mut origin = spawn_on(self.client_core, command.stdout(Stdio::null()))?;
        let deadline = now_ns() + nanos(START_PATIENCE);
        while TcpStream::connect(self.origin).is_err() {
            if matches!(origin.try_wait(), Ok(Some(_))) || now_ns() > deadline {
                return Err(format!("{name} does not listen on {}", self.origin));
            }
            wait(LOOK);
        }
        Ok(origin)
    }

    fn control(&self, name: &str, public: SocketAddr) -> Command {
        let mut command = Command::new(&self.own);
        command.args(["serve", name, "--public", &public.to_string()]);
        command.args(["--internal", &self.internal.to_string()]);
        command
    }
}

impl Running {
    pub(super) fn origin_pid(&self) -> Option<u32> {
        self.origin.as_ref().map(Child::id)
    }

    fn wait_until_up(&mut self, site: &Site, server: Server) -> Result<(), String> {
        let (address, path) = match server {
            Server::Nchan => (site.public, "/healthz"),
            Server::Pushpin => (site.public, "/events?topic=up"),
            Server::Nginx | Server::Haproxy => (site.public, "/1/0"),
            Server::Tidegate if site.is_proxy => (site.public, "/1/0"),
            _ => (site.internal, "/healthz"),
        };
        let deadline = now_ns() + nanos(START_PATIENCE);
        while !answers(address, path) {
            let ended = self.server.try_wait().ok().flatten();
            if ended.is_some() || now_ns() > deadline {
                let log = fs::read_to_string(self.scratch.path().join("log")).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it said nothing");
                return Err(format!("{} does not answer at {address}: {last}", server.label()));
            }
            wait(LOOK);
        }
        Ok(())
    }
}

/// Whether a GET is answered with success.
fn answers(address: SocketAddr, path: &str) -> bool {
    let exchange = || -> io::Result<bool> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(START_PATIENCE))?;
        write!(socket, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut status = [0; b"HTTP/1.1 2".len()];
        socket.read_exact(&mut status)?;
        Ok(status == *b"HTTP/1.1 2")
    };
    exchange().unwrap_or(false)
}

impl Drop for Running {
    fn drop(&mut self) {
        // The main process stops its own children; whoever is left then is killed.
        signal(self.server.id(), Signal::TERM);
        let deadline = now_ns() + nanos(STOP_PATIENCE);
        while matches!(self.server.try_wait(), Ok(None)) && now_ns() < deadline {
            wait(Duration::from_millis(1));
        }
        if matches!(self.server.try_wait(), Ok(None)) {
            for pid in probe::descendants(self.server.id()) {
                signal(pid, Signal::KILL);
            }
            let _ = self.server.wait();
        }
        if let Some(origin) = &mut self.origin {
            let _ = origin.kill();
            let _ = origin.wait();
        }
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be gone already, which is what is wanted.
        let _ = kill_process(pid, signal);
    }
}
