//! Lines for systemd's journal, where standard error leads there: the journal has a clock of its own, and takes a
//! line's priority from its beginning (sd-daemon(3)), so that `journalctl -p warning` finds what is wrong.

use std::{env, fmt, io};

use rustix::fs::fstat;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether standard error leads to the journal: systemd says which file that is, and a shell may have put
/// another in its place.
pub(super) fn is_told() -> bool {
    let Ok(told) = env::var("JOURNAL_STREAM") else { return false };
    fstat(io::stderr()).is_ok_and(|file| told == format!("{}:{}", file.st_dev, file.st_ino))
}

/// Lines with a priority before them.
pub(super) struct WithPriority<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// syslog(3)'s numbers.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
