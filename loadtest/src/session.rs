//! A run's reader threads, from the first connect to their outcomes, as every scenario
//! needs them: open in two steps, settle, stop.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::cli::CommonArgs;
use crate::clock::{nanos, now_ns, wait};
use crate::payload::{PayloadFormat, mix};
use crate::plan::{Plan, Shape};
use crate::probe;
use crate::processes::Gate;
use crate::reader::{Dial, Outcome, Reader};
use crate::run::{Phase, Run};

/// Below this many streams a slope would be noise.
const SLOPE_STREAMS_MIN: u32 = 1000;
/// Lets the gateway's allocator and the kernel come to rest before memory is read.
const REST: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(5);

/// What a scenario wants beyond the streams that the command line describes.
pub(crate) struct Setup {
    /// Streams opened in the whole run, when others take the place of those that leave.
    pub(crate) streams_in_all: Option<u32>,
    /// Streams beside those of the command line that stay when they go. A reader thread of
    /// their own keeps the client's work for the others out of their latency.
    pub(crate) live: u32,
    /// Periods whose latencies are kept apart.
    pub(crate) periods: u32,
    pub(crate) stuck_percent: f64,
    pub(crate) stuck_rcvbuf: usize,
    pub(crate) event_bytes: usize,
    /// Closed loop: the window.
    pub(crate) in_flight: Option<u32>,
    /// Connections that publish.
    pub(crate) publishers: u32,
    pub(crate) fairness: bool,
    pub(crate) leave_timeout: Duration,
}

impl Default for Setup {
    /// Nobody publishes, nobody is stuck, nobody leaves.
    fn default() -> Self {
        Self {
            streams_in_all: None,
            live: 0,
            periods: 1,
            stuck_percent: 0.0,
            stuck_rcvbuf: 0,
            event_bytes: 0,
            in_flight: None,
            publishers: 0,
            fairness: false,
            leave_timeout: Duration::ZERO,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opening {
    pub(crate) streams: u32,
    pub(crate) seconds: f64,
    /// RSS with all streams less RSS with none, for each stream.
    pub(crate) server_bytes_per_stream: Option<f64>,
    /// RSS with all streams less RSS with a tenth, for each stream between: without
    /// what the gateway allocates once, when the first streams come.
    pub(crate) server_bytes_per_stream_slope: Option<f64>,
    pub(crate) server_rss_bytes: Option<u64>,
}

pub(crate) struct Session {
    pub(crate) run: Arc<Run>,
    threads: Vec<JoinHandle<io::Result<Outcome>>>,
    /// Streams held at once.
    streams: u32,
    open_timeout: Duration,
    server_pids: Vec<u32>,
    quiet: bool,
    /// In a run of several processes: keeps step with the others.
    gate: Gate,
}

impl Session {
    pub(crate) fn start(common: &CommonArgs, setup: &Setup) -> Result<Self, String> {
        let streams = common.streams + setup.live;
        let threads = common.threads + u32::from(setup.live > 0);
        probe::make_room_for(streams)?;
        for pid in &common.server_pid {
            if probe::cpu_ns(*pid).is_none() || probe::rss_bytes(*pid).is_none() {
                return Err(format!("--server-pid {pid}: there is no such process to look at"));
            }
        }
        let nonce = mix(now_ns() ^ u64::from(std::process::id()) << 40) as u32;
        let shape = Shape {
            streams: setup.streams_in_all.unwrap_or(streams),
            topics: common.topics,
            topics_per_stream: common.topics_per_stream,
            topic_sets: common.topic_sets,
            patterns_percent: common.patterns,
            threads,
            live: setup.live,
            stuck_percent: setup.stuck_percent,
        };
        let plan = Plan::new(&shape, nonce);
        let format = PayloadFormat::new(u64::from(nonce), setup.event_bytes);
        let run = Arc::new(Run::new(plan, common.dialect, format, setup));
        let dial = Arc::new(Dial {
            address: common.public.address,
            host: common.public.host.clone(),
            sources: common.sources(),
            connects_in_flight: common.connects_in_flight.div_ceil(common.threads),
            connect_rate: common.connect_rate,
            stuck_rcvbuf: setup.stuck_rcvbuf,
        });
        let spawn = |thread| {
            let reader = Reader::new(run.clone(), dial.clone(), thread)?;
            thread::Builder::new().name(format!("reader-{thread}")).spawn(move || reader.run())
        };
        let threads = (0..threads)
            .map(spawn)
            .collect::<io::Result<Vec<_>>>()
            .map_err(|error| format!("starting a reader: {error}"))?;
        Ok(Self {
            run,
            threads,
            streams,
            open_timeout: common.open_timeout,
            server_pids: common.server_pid.clone(),
            quiet: common.quiet,
            gate: Gate::new(common.child),
        })
    }

    /// Opens as many streams as are held at once, and waits until all processes have.
    pub(crate) fn open(&self) -> Result<Opening, String> {
        let streams = self.streams;
        let rss = || self.server_rss();
        let progress = self.progress("opening", u64::from(streams));
        let before = rss();
        let first = if streams < SLOPE_STREAMS_MIN { streams } else { streams / 10 };
        let mut seconds = self.open_up_to(first, &progress)?;
        let mut at_first = None;
        if first < streams {
            wait(REST);
            at_first = rss();
            seconds += self.open_up_to(streams, &progress)?;
        }
        wait(REST);
        let all = rss();
        progress.finish_and_clear();
        self.keep_step()?;
        let per_stream = |from: Option<u64>, count: u32| {
            Some((all? as f64 - from? as f64) / f64::from(count.max(1)))
        };
        Ok(Opening {
            streams,
            seconds,
            server_bytes_per_stream: per_stream(before, streams),
            server_bytes_per_stream_slope: per_stream(at_first, streams - first),
            server_rss_bytes: all,
        })
    }

    /// Waits until all processes of the run have come to this point.
    pub(crate) fn keep_step(&self) -> Result<(), String> {
        self.gate.pass()
    }

    /// Opens the streams numbered below `until`; gives the seconds it took.
    pub(crate) fn open_up_to(&self, until: u32, progress: &ProgressBar) -> Result<f64, String> {
        let begin = now_ns();
        self.run.open_below.store(until, Relaxed);
        let (mut opened, mut moved_ns) = (0, begin);
        loop {
            if let Some(error) = self.run.open_error() {
                return Err(error);
            }
            let now_opened = self.run.opened();
            progress.set_position(u64::from(now_opened));
            if now_opened >= until {
                return Ok((now_ns() - begin) as f64 / 1e9);
            }
            if now_opened > opened {
                (opened, moved_ns) = (now_opened, now_ns());
            } else if now_ns() - moved_ns > nanos(self.open_timeout) {
                return Err(format!("{opened} of {until} streams opened, then no more"));
            }
            wait(LOOK);
        }
    }

    /// Waits until no stream is behind, or `timeout`; returns how many still are.
    pub(crate) fn settle(&self, phase: Phase, timeout: Duration) -> u32 {
        self.run.set_phase(phase);
        let deadline = now_ns() + nanos(timeout);
        loop {
            wait(LOOK);
            let behind = self.run.behind(phase);
            if behind == Some(0) || now_ns() >= deadline {
                return behind.unwrap_or(self.run.plan.streams);
            }
        }
    }

    /// Closes what is open, once no process measures any more.
    pub(crate) fn stop(self) -> Result<Vec<Outcome>, String> {
        self.keep_step()?;
        self.run.set_phase(Phase::Stop);
        let join = |thread: JoinHandle<io::Result<Outcome>>| match thread.join() {
            Ok(outcome) => outcome.map_err(|error| format!("a reader failed: {error}")),
            Err(_) => Err("a reader panicked".to_owned()),
        };
        self.threads.into_iter().map(join).collect()
    }

    /// A bar on stderr, when that is a terminal.
    pub(crate) fn progress(&self, what: &'static str, until: u64) -> ProgressBar {
        let target =
            if self.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {pos}/{len} {msg}");
        let bar = ProgressBar::with_draw_target(Some(until), target).with_prefix(what);
        style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
    }

    /// The gateway's memory now, if it is known who it is.
    pub(crate) fn server_rss(&self) -> Option<u64> {
        probe::sum(&self.server_pids, probe::rss_bytes)
    }

    pub(crate) fn sample(&self) -> Sample {
        Sample {
            at_ns: now_ns(),
            deliveries: self.run.deliveries(),
            heartbeats: self.run.heartbeats(),
            requests: self.run.requests(),
            accepted: self.run.accepted(),
            server_cpu_ns: probe::sum(&self.server_pids, probe::cpu_ns),
            client_cpu_ns: probe::own_cpu_ns(),
        }
    }
}

/// Counters at one moment; rates are differences of two.
pub(crate) struct Sample {
    pub(crate) at_ns: u64,
    pub(crate) deliveries: u64,
    pub(crate) heartbeats: u64,
    pub(crate) requests: u64,
    pub(crate) accepted: u64,
    pub(crate) server_cpu_ns: Option<u64>,
    pub(crate) client_cpu_ns: u64,
}

impl Sample {
    pub(crate) fn seconds_since(&self, earlier: &Self) -> f64 {
        (self.at_ns - earlier.at_ns) as f64 / 1e9
    }

    /// CPU seconds of the gateway and of this process since `earlier`.
    pub(crate) fn cpu_since(&self, earlier: &Self) -> (Option<f64>, f64) {
        let seconds = |now: u64, then: u64| now.saturating_sub(then) as f64 / 1e9;
        let server = self.server_cpu_ns.zip(earlier.server_cpu_ns);
        let server = server.map(|(now, then)| seconds(now, then));
        (server, seconds(self.client_cpu_ns, earlier.client_cpu_ns))
    }
}
