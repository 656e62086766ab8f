//! A log for people and for scripts: what `tidegate log inspect` and `tidegate log verify` print.
//! Reads what `scan` reads, takes no lock and changes nothing, so it can look at a log that a
//! running gateway writes to.

use std::fmt::{self, Write as _};
use std::io::ErrorKind;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

use super::meta::FORMAT_VERSION;
use super::scan::{Scan, Segment, State, scan};
use super::segment;
use super::{BootId, Disk, Ended, Finding, OpenError, SyncMode};

/// How often a log is read again because its files changed meanwhile.
const ATTEMPTS_MAX: usize = 10;

/// A log as it was found.
#[derive(Debug, Serialize)]
pub struct Inspection {
    path: String,
    format: u32,
    /// `None` when no file says.
    epoch: Option<String>,
    /// When events are acknowledged: of the newest segment.
    mode: Option<&'static str>,
    state: String,
    first_seq: u64,
    next_seq: u64,
    records: u64,
    /// Retained values whose records have been trimmed.
    values: u64,
    bytes: u64,
    segments: Vec<SegmentView>,
    holes: Vec<HoleView>,
    faults: Vec<FaultView>,
    /// What is no fault and yet worth a line.
    notes: Vec<FaultView>,
    quarantined: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SegmentView {
    file: String,
    base_seq: u64,
    next_seq: u64,
    records: u64,
    /// Bytes of the file.
    size: u64,
    /// Where its last good group ends.
    end: u64,
    first_accepted: Option<String>,
    last_accepted: Option<String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct HoleView {
    first: u64,
    last: u64,
}

#[derive(Debug, Serialize)]
struct FaultView {
    file: String,
    offset: u64,
    what: String,
}

/// Reads the whole log on `disk`. `boot` is which start of the machine this is.
pub fn inspect(disk: &impl Disk, boot: Option<BootId>) -> Result<Inspection, OpenError> {
    let failed = |error| OpenError::Io { path: disk.path(), doing: "list the files", error };
    let mut attempts = 0;
    loop {
        attempts += 1;
        let before = disk.list(false).map_err(failed)?;
        let scan = scan(disk, boot, &mut |_| {});
        // A gateway that writes to the log may have begun a segment, or deleted some.
        let changed = disk.list(false).map_err(failed)? != before;
        let vanished = matches!(&scan,
            Err(OpenError::Io { error, .. }) if error.kind() == ErrorKind::NotFound);
        let damaged = scan.as_ref().is_ok_and(|scan| scan.findings.iter().any(Finding::is_damage));
        if attempts < ATTEMPTS_MAX && (vanished || (changed && damaged)) {
            continue;
        }
        let scan = scan?;
        if scan.ended == Ended::New {
            let error = ErrorKind::NotFound.into();
            return Err(OpenError::Io { path: disk.path(), doing: "find a log", error });
        }
        return Ok(Inspection::new(disk.path(), &scan, disk.list(true).map_err(failed)?));
    }
}

impl Inspection {
    fn new(path: String, scan: &Scan, quarantined: Vec<String>) -> Self {
        let newest = scan.segments.last().and_then(|last| last.header);
        let (faults, notes): (Vec<_>, Vec<_>) =
            scan.findings.iter().partition(|finding| finding.is_damage());
        let view = |findings: Vec<&Finding>| {
            let views = findings.into_iter().map(|finding| FaultView {
                file: finding.file.clone(),
                offset: finding.offset,
                what: finding.fault.to_string(),
            });
            views.collect()
        };
        let last = scan.segments.len().saturating_sub(1);
        Self {
            path,
            format: FORMAT_VERSION,
            epoch: scan.epoch.map(|epoch| epoch.to_string()),
            mode: newest.map(|header| match header.mode {
                SyncMode::Always => "always",
                SyncMode::Interval => "interval",
            }),
            state: scan.ended.to_string(),
            first_seq: scan.first_seq,
            next_seq: scan.next_seq,
            records: scan.segments.iter().map(|segment| segment.records).sum(),
            values: scan.values,
            bytes: scan.segments.iter().map(|segment| segment.size).sum(),
            segments: (0..)
                .zip(&scan.segments)
                .map(|(i, s)| SegmentView::new(s, i == last))
                .collect(),
            holes: scan
                .holes
                .iter()
                .map(|hole| HoleView { first: hole.after + 1, last: hole.to })
                .collect(),
            faults: view(faults),
            notes: view(notes),
            quarantined,
        }
    }

    /// Whether anything is not as it was written.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// All of it as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("strings and numbers are always JSON")
    }

    /// The faults, one a line, and a summary.
    pub fn verdict(&self) -> String {
        let mut text = String::new();
        for (findings, kind) in [(&self.faults, "fault"), (&self.notes, "note")] {
            for FaultView { file, offset, what } in findings {
                line(&mut text, format_args!("{kind}: {}/{file}:{offset}: {what}", self.path));
            }
        }
        let Self { records, values, bytes, segments, faults, .. } = self;
        line(
            &mut text,
            format_args!(
                "{}: {records} records, {} segments, {values} values, {bytes} bytes, {} faults",
                self.path,
                segments.len(),
                faults.len()
            ),
        );
        text
    }
}

fn line(text: &mut String, line: fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String never fails");
}

impl SegmentView {
    fn new(segment: &Segment, last: bool) -> Self {
        let time = |ms| {
            let time = UNIX_EPOCH.checked_add(Duration::from_millis(ms))?;
            // humantime panics after the year 9999.
            (segment.records > 0 && ms < 253_402_300_800_000)
                .then(|| humantime::format_rfc3339_millis(time).to_string())
        };
        let repaired = segment.header.is_some_and(|header| header.repaired_end != 0);
        Self {
            file: segment::name(segment.number),
            base_seq: segment.base_seq,
            next_seq: segment.next_seq,
            records: segment.records,
            size: segment.size,
            end: segment.end,
            first_accepted: time(segment.first_ms),
            last_accepted: time(segment.newest_ms),
            state: match segment.state {
                State::Damaged => "damaged",
                State::Torn => "torn",
                State::Sound if repaired => "repaired",
                State::Sound if segment.closed => "closed",
                State::Sound if last => "open",
                State::Sound => "complete",
            },
        }
    }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "log          {}", self.path)?;
        writeln!(f, "format       {}", self.format)?;
        writeln!(f, "epoch        {}", self.epoch.as_deref().unwrap_or("unknown"))?;
        writeln!(f, "fsync        {}", self.mode.unwrap_or("unknown"))?;
        writeln!(f, "state        {}", self.state)?;
        writeln!(f, "seqs         from {}, next {}", self.first_seq, self.next_seq)?;
        writeln!(f, "records      {}", self.records)?;
        writeln!(f, "values       {}", self.values)?;
        writeln!(f, "bytes        {}", self.bytes)?;
        for segment in &self.segments {
            let SegmentView { file, base_seq, next_seq, records, size, end, state, .. } = segment;
            write!(f, "segment      {file} {state}: seqs {base_seq} to before {next_seq}, ")?;
            write!(f, "{records} records, {end} of {size} bytes")?;
            if let (Some(first), Some(last)) = (&segment.first_accepted, &segment.last_accepted) {
                write!(f, ", {first} to {last}")?;
            }
            writeln!(f)?;
        }
        for HoleView { first, last } in &self.holes {
            writeln!(f, "hole         {first} to {last}")?;
        }
        for (findings, kind) in [(&self.faults, "fault"), (&self.notes, "note")] {
            for FaultView { file, offset, what } in findings {
                writeln!(f, "{kind:<12} {file}:{offset}: {what}")?;
            }
        }
        self.quarantined.iter().try_for_each(|file| writeln!(f, "quarantined  quarantine/{file}"))
    }
}
