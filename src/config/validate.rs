//! Rules that a value alone cannot show: ranges and what keys demand of each other. Owns every such
//! rule, one line each; whether a value parses at all is `units.rs`. Called by `load` in `mod.rs`
//! for a start, a reload and `tidegate check` alike.

use std::fmt::{Display, Formatter};
use std::time::Duration;

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use super::schema::{Config, History, Log, Mailbox, Publish, Server, Store};
use super::units::{Bytes, Fsync, Interval};
use crate::topic::Filter;

/// Most shard threads: far above any machine's cores, below what a typo could start.
const SHARDS_MAX: usize = 1024;
/// Most topics that one stream or one event may name.
const TOPICS_MAX: usize = 1024;
/// Most frames in one ring; a ring's slots are allocated as a whole.
const RING_FRAMES_MAX: usize = 65_536;
/// Room in a ring beyond the largest event: its control frames (`gap`, heartbeat, `end`).
const RING_SLACK: Bytes = Bytes::kib(1);
/// Most entries of a list of routes, groups or servers: far above any real configuration.
const ENTRIES_MAX: usize = 1000;
/// Longest name of a control event, in bytes.
const EVENT_NAME_BYTES_MAX: usize = 64;
/// Linux keeps TCP_KEEPIDLE in 15 bits of seconds.
const TCP_KEEPALIVE_MAX: Interval = Interval(Duration::from_secs(32_767));
/// Well inside the signed 32 bits of milliseconds that TCP_USER_TIMEOUT has.
const TCP_USER_TIMEOUT_MAX: Interval = Interval(Duration::from_secs(24 * 3600));
/// The kernel's sizes are signed 32-bit, and it doubles what it is told.
const SEND_BUFFER_MAX: Bytes = Bytes::mib(512);

/// Room for a request of any browser, and hyper's smallest buffer.
const HEADER_BYTES_MIN: Bytes = Bytes::kib(8);
/// A connection can hold this much without having asked for anything.
const HEADER_BYTES_MAX: Bytes = Bytes::mib(1);
/// Of a head that is still quick to look through.
const HEADER_FIELDS_MAX: usize = 1000;
/// A path of 200 bytes and its method.
const REQUEST_LINE_BYTES_MIN: Bytes = Bytes(256);

/// Longest time that something acknowledged may be in the operating system only.
const FSYNC_MAX: Interval = Interval(Duration::from_secs(60));
/// One write of the log has at most as much as a file.
const LOG_SEGMENT_MIN: Bytes = Bytes::mib(1);
const LOG_SEGMENT_MAX: Bytes = Bytes::mib(1024);

/// A client that opens a connection, and closes a page with a few dozen streams, sends as many.
const HTTP2_CONTROL_FRAMES_MIN: u32 = 100;

const MILLISECOND: Interval = Interval(Duration::from_millis(1));
const SECOND: Interval = Interval(Duration::from_secs(1));

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The keys involved, dotted; the one to change first comes first.
    pub keys: Vec<&'static str>,
    /// The rule, the values that break it and, where it is not obvious, the way out.
    pub message: String,
}

impl Display for Violation {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Config {
    /// Checks every rule.
    ///
    /// # Errors
    /// All rules that are broken, in the order of the sections.
    pub fn validate(&self) -> Result<(), Vec<Violation>> {
        let mut broken = Broken(Vec::new());
        server(&self.server, &mut broken);
        stream::stream(self, &mut broken);
        publish(&self.publish, &self.mailbox, &mut broken);
        history(&self.history, &self.publish, &mut broken);
        mailbox(&self.mailbox, &mut broken);
        log(&self.log, &mut broken);
        tls::tls(&self.tls, &self.server, &mut broken);
        proxy::proxy(&self.proxy, &self.server, &mut broken);
        source::sources(self, &mut broken);
        hook::hooks(&self.hooks, &mut broken);
        if broken.0.is_empty() { Ok(()) } else { Err(broken.0) }
    }
}

fn server(server: &Server, broken: &mut Broken) {
    let Server { listen, internal, .. } = server;
    // An IPv4 address in IPv6 clothes is judged as the address it is.
    if !internal.ip().to_canonical().is_loopback() {
        broken.add(
            &["server.internal"],
            format!(
                "`server.internal` is {internal}, which is not a loopback address, so anyone who \
                 reaches it could publish: bind it to 127.0.0.1 and reach it through an SSH \
                 tunnel or a sidecar on the same host; publish credentials are not available in \
                 this version"
            ),
        );
    }
    let same_ip = listen.ip().to_canonical() == internal.ip().to_canonical()
        || listen.ip().is_unspecified()
        || internal.ip().is_unspecified();
    if listen.port() == internal.port() && listen.port() != 0 && same_ip {
        broken.add(
            &["server.internal", "server.listen"],
            format!(
                "`server.internal` is {internal} and `server.listen` is {listen}: they overlap; \
                 give them different ports"
            ),
        );
    }
    broken.at_most("server.shards", server.shards, SHARDS_MAX);
    broken.at_least("server.drain", server.drain, MILLISECOND);
    broken.at_least("server.header_timeout", server.header_timeout, MILLISECOND);
    let head = server.header_bytes_max;
    broken.within("server.header_bytes_max", head, HEADER_BYTES_MIN, HEADER_BYTES_MAX);
    broken.within("server.header_fields_max", server.header_fields_max, 1, HEADER_FIELDS_MAX);
    let line = server.request_line_bytes_max;
    broken.at_least("server.request_line_bytes_max", line, REQUEST_LINE_BYTES_MIN);
    broken.at_least("server.keepalive_timeout", server.keepalive_timeout, MILLISECOND);
    broken.at_least("server.body_timeout", server.body_timeout, MILLISECOND);
    broken.at_least("server.send_timeout", server.send_timeout, MILLISECOND);
    // listen(2) takes an int.
    broken.within("server.accept_backlog", server.accept_backlog, 1, i32::MAX.unsigned_abs());
    broken.within("server.send_buffer", server.send_buffer, Bytes::kib(4), SEND_BUFFER_MAX);
    let user_timeout = server.tcp_user_timeout;
    broken.within("server.tcp_user_timeout", user_timeout, MILLISECOND, TCP_USER_TIMEOUT_MAX);
    broken.within("server.tcp_keepalive", server.tcp_keepalive, SECOND, TCP_KEEPALIVE_MAX);
    broken.at_least("server.http2_streams_max", server.http2_streams_max, 1);
    let frames = server.http2_control_frames_max;
    broken.at_least("server.http2_control_frames_max", frames, HTTP2_CONTROL_FRAMES_MIN);
    broken.at_least("server.http2_window_timeout", server.http2_window_timeout, MILLISECOND);
    broken.at_least("server.http2_ping_interval", server.http2_ping_interval, MILLISECOND);
}

fn publish(publish: &Publish, mailbox: &Mailbox, broken: &mut Broken) {
    broken.at_least("publish.body_bytes_max", publish.body_bytes_max, Bytes(1));
    broken.at_least("publish.event_bytes_max", publish.event_bytes_max, Bytes(1));
    broken.at_least("publish.batch_events_max", publish.batch_events_max, 1);
    broken.within("publish.topics_max", publish.topics_max, 1, TOPICS_MAX);
    broken.at_least("publish.idempotency_window", publish.idempotency_window, SECOND);
    let Mailbox { events_max, bytes_max } = mailbox;
    // A newline of the body can become seven bytes of a frame.
    if publish.body_bytes_max.0 > bytes_max.0 / 8 {
        broken.add(
            &["publish.body_bytes_max", "mailbox.bytes_max"],
            format!(
                "`publish.body_bytes_max` is {}; it must be at most an eighth of \
                 `mailbox.bytes_max` ({bytes_max}), so that one request always fits a mailbox",
                publish.body_bytes_max
            ),
        );
    }
    if publish.event_bytes_max.0 > bytes_max.0 / 2 {
        broken.add(
            &["publish.event_bytes_max", "mailbox.bytes_max"],
            format!(
                "`publish.event_bytes_max` is {}; it must be at most half of `mailbox.bytes_max` \
                 ({bytes_max}), so that one event never fills a mailbox",
                publish.event_bytes_max
            ),
        );
    }
    if publish.batch_events_max > *events_max {
        broken.add(
            &["publish.batch_events_max", "mailbox.events_max"],
            format!(
                "`publish.batch_events_max` is {}; it must be at most `mailbox.events_max` \
                 ({events_max}), so that one request always fits a mailbox",
                publish.batch_events_max
            ),
        );
    }
}

fn history(history: &History, publish: &Publish, broken: &mut Broken) {
    broken.at_least("history.topics_max", history.topics_max, 1);
    if history.store == Store::Disk && history.path.is_empty() {
        let message = "`history.path` is empty; with `history.store = \"disk\"` it is the folder of \
                       the event log, such as \"/var/lib/tidegate\"";
        broken.add(&["history.path", "history.store"], message.to_owned());
    }
    if let Fsync::Every(interval) = history.fsync {
        broken.within("history.fsync", interval, MILLISECOND, FSYNC_MAX);
    }
    let (segment, log) = (history.log_segment_bytes, history.log_bytes_max);
    broken.within("history.log_segment_bytes", segment, LOG_SEGMENT_MIN, LOG_SEGMENT_MAX);
    if log.0 < segment.0.saturating_mul(2) {
        broken.add(
            &["history.log_bytes_max", "history.log_segment_bytes"],
            format!(
                "`history.log_bytes_max` is {log}; it must be at least twice \
                 `history.log_segment_bytes` ({segment}), since whole files are deleted"
            ),
        );
    }
    // A line end of the body can become seven bytes of a frame, and a request is one write.
    if history.store == Store::Disk && publish.body_bytes_max.0 > segment.0 / 8 {
        broken.add(
            &["publish.body_bytes_max", "history.log_segment_bytes"],
            format!(
                "`publish.body_bytes_max` is {}; with a log it must be at most an eighth of \
                 `history.log_segment_bytes` ({segment}), so that one request always fits one write",
                publish.body_bytes_max
            ),
        );
    }
    for (index, limits) in history.overrides.iter().enumerate() {
        if let Err(error) = Filter::parse(&limits.topics) {
            let message = format!("`history.overrides[{index}].topics`: {error}");
            broken.add(&["history.overrides"], message);
        }
    }
}

fn mailbox(mailbox: &Mailbox, broken: &mut Broken) {
    broken.at_least("mailbox.events_max", mailbox.events_max, 1);
}

fn log(log: &Log, broken: &mut Broken) {
    let level = &log.level;
    if !is_log_filter(level) {
        let message = format!(
            "`log.level` is {level:?}; expected off, error, warn, info, debug or trace, or a \
             filter like \"info,tidegate=debug\""
        );
        broken.add(&["log.level"], message);
    }
}

/// Whether a text is a level of the log, or a filter.
pub fn is_log_filter(text: &str) -> bool {
    // The filter's own parser takes any bare word for the name of a module, so that a misspelt
    // level would silence the log.
    let has_spans = text.contains('[');
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok() && !word.is_empty();
    let words_are_levels = text.split(',').all(|part| part.contains('=') || is_level(part.trim()));
    (has_spans || words_are_levels) && EnvFilter::builder().parse(text).is_ok()
}

/// Collects broken rules.
struct Broken(Vec<Violation>);

impl Broken {
    fn add(&mut self, keys: &[&'static str], message: String) {
        self.0.push(Violation { keys: keys.to_vec(), message });
    }

    fn at_least<T: Copy + PartialOrd + Display>(&mut self, key: &'static str, value: T, min: T) {
        if value < min {
            self.add(&[key], format!("`{key}` is {value}; it must be at least {min}"));
        }
    }

    fn at_most<T: Copy + PartialOrd + Display>(&mut self, key: &'static str, value: T, max: T) {
        if value > max {
            self.add(&[key], format!("`{key}` is {value}; it must be at most {max}"));
        }
    }

    fn within<T: Copy + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        value: T,
        min: T,
        max: T,
    ) {
        if value < min {
            self.at_least(key, value, min);
        } else {
            self.at_most(key, value, max);
        }
    }
}

mod hook;
mod proxy;
mod source;
mod stream;
#[cfg(test)]
mod tests;
mod tls;
