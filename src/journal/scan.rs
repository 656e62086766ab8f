//! Reads a whole log and judges it, without changing a byte: which records are good, which seqs are
//! missing, what is torn and what is damaged. Called by `open`, which then repairs, and by
//! `inspect`. Holds one group in memory at a time, and what is behind a broken one; bytes that no
//! log of ours would have are damage, never a panic.

use std::io;

use super::disk::{Disk, DiskFile, read_full};
use super::group::{self, Broken, Group, Kind};
use super::meta::{self, Meta};
use super::segment::{self, BadHeader, HEADER, Header};
use super::values::{self, Bad};
use super::window::Window;
use super::{
    BootId, Ended, Fault, Finding, Hole, Item, OpenError, RecordPlace, SEQ_JUMP, SEQ_MAX, SyncMode,
    record,
};
use crate::sse::Epoch;

/// All that a log says.
#[derive(Debug)]
pub(super) struct Scan {
    pub(super) found: meta::Found,
    /// `None` when nothing says.
    pub(super) epoch: Option<Epoch>,
    pub(super) segments: Vec<Segment>,
    pub(super) values_file: values::State,
    /// Retained values in that file.
    pub(super) values: u64,
    /// Files to remove that were never finished,
    pub(super) unfinished: Vec<String>,
    /// and, once `meta` does not want them, those from before the last trim, and damaged values.
    pub(super) stale: Vec<String>,
    pub(super) findings: Vec<Finding>,
    pub(super) holes: Vec<Hole>,
    pub(super) ended: Ended,
    pub(super) first_seq: u64,
    pub(super) next_seq: u64,
}

/// One segment, read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    /// The file's length.
    pub(super) size: u64,
    pub(super) header: Option<Header>,
    /// Where the good part ends.
    pub(super) end: u64,
    /// No record in it has a smaller seq.
    pub(super) base_seq: u64,
    /// The seq after its last record.
    pub(super) next_seq: u64,
    pub(super) records: u64,
    /// When its first record was accepted.
    pub(super) first_ms: u64,
    /// The latest time that one of its records was accepted.
    pub(super) newest_ms: u64,
    pub(super) closed: bool,
    pub(super) state: State,
}

/// What a segment is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Sound,
    /// Its last group was never whole.
    Torn,
    /// It is not as it was written.
    Damaged,
}

/// Reads the log on `disk`. `boot` is which start of the machine this is.
pub(super) fn scan<D: Disk>(
    disk: &D,
    boot: Option<BootId>,
    visit: &mut impl FnMut(Item<'_>),
) -> Result<Scan, OpenError> {
    let failed = |doing| move |error| OpenError::Io { path: disk.path(), doing, error };
    let found = meta::find(disk).map_err(failed("read meta"))?;
    if let Some(version) = found.version {
        return Err(wrong_version(disk, meta::NAME, version));
    }
    let meta = found.newest.map(|slot| slot.meta);
    let names = disk.list(false).map_err(failed("list the files"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    let kept = numbers.partition_point(|&number| meta.is_some_and(|meta| number < meta.first));
    let mut stale: Vec<String> = numbers.drain(..kept).map(segment::name).collect();
    let has_values_file = names.iter().any(|name| name == values::NAME);
    let unfinished = names.into_iter().filter(|name| name.ends_with(".new")).collect();

    let mut headers = Vec::with_capacity(numbers.len());
    for number in numbers {
        let name = segment::name(number);
        let (size, header) = read_header(disk, &name).map_err(failed("read a segment"))?;
        if let Err(BadHeader::Version(version)) = header {
            return Err(wrong_version(disk, &name, version));
        }
        headers.push(Head { number, size, header: header.ok() });
    }
    let epoch = meta.map(|meta| meta.epoch);
    let epoch = epoch.or_else(|| headers.iter().find_map(|head| Some(head.header?.epoch)));
    for head in &mut headers {
        head.header = head.header.filter(|header| header.is_of(head.number, epoch));
    }
    let first_seq = meta
        .map(|meta| meta.first_seq)
        .or_else(|| headers.iter().find_map(|head| Some(head.header?.base_seq)));
    let first_seq = first_seq.filter(|&seq| (1..=SEQ_MAX).contains(&seq)).unwrap_or(1);
    let mut scanner = Scanner {
        disk,
        boot,
        visit,
        buffer: Vec::new(),
        seq: first_seq,
        findings: Vec::new(),
        holes: Vec::new(),
        segments: Vec::with_capacity(headers.len()),
    };
    for &offset in &found.faults {
        scanner.find(meta::NAME, offset, Fault::MetaCopy);
    }
    let wants_values = meta.map_or(has_values_file, |meta| meta.has_values);
    let (values_file, values) =
        if wants_values { scanner.values(epoch)? } else { (values::State::Absent, 0) };
    if has_values_file && values_file != values::State::Sound {
        stale.push(values::NAME.to_owned());
    }
    for index in 0..headers.len() {
        scanner.missing(meta, &headers, index);
        scanner.segment(&headers, index).map_err(failed("read a segment"))?;
    }
    let is_new = scanner.was_never_created(&found);
    if !found.exists && !is_new {
        scanner.find(meta::NAME, 0, Fault::FileMissing);
    }
    let ended = if is_new { Ended::New } else { scanner.end(meta) };
    let (epoch, first_seq) = if is_new { (None, 1) } else { (epoch, first_seq) };
    let Scanner { seq, findings, holes, segments, .. } = scanner;
    Ok(Scan {
        found,
        epoch,
        segments,
        values_file,
        values,
        unfinished,
        stale,
        findings,
        holes,
        ended,
        first_seq,
        next_seq: seq,
    })
}

fn wrong_version(disk: &impl Disk, name: &str, found: u32) -> OpenError {
    OpenError::Version { path: format!("{}/{name}", disk.path()), found }
}

/// A segment of which only the header has been read.
struct Head {
    number: u64,
    size: u64,
    header: Option<Header>,
}

fn read_header(disk: &impl Disk, name: &str) -> io::Result<(u64, Result<Header, BadHeader>)> {
    let file = disk.open(name)?;
    let mut bytes = [0; HEADER];
    let length = read_full(&file, &mut bytes, 0)?;
    Ok((file.size()?, Header::decode(&bytes[..length])))
}

struct Scanner<'a, D, V> {
    disk: &'a D,
    boot: Option<BootId>,
    visit: &'a mut V,
    /// Memory for what is read.
    buffer: Vec<u8>,
    /// The next seq.
    seq: u64,
    findings: Vec<Finding>,
    holes: Vec<Hole>,
    segments: Vec<Segment>,
}

/// Bytes of a segment read at a time, so that they stay in the processor's cache until they have been
/// looked at; more only where a group is larger.
const STEP: usize = 256 << 10;

/// Where reading a segment's groups stopped.
struct Stop {
    at: u64,
    closed: bool,
    /// What stopped it, if the place was not simply the end.
    broken: Option<Broken>,
}

impl<D: Disk, V: FnMut(Item<'_>)> Scanner<'_, D, V> {
    fn find(&mut self, file: &str, offset: u64, fault: Fault) {
        self.findings.push(Finding { file: file.to_owned(), offset, fault });
    }

    /// Shows the values of which the records have been trimmed; those of records that are kept come
    /// with them. Without the file nobody knows which there were.
    fn values(&mut self, epoch: Option<Epoch>) -> Result<(values::State, u64), OpenError> {
        let disk = self.disk;
        let read = values::read(disk, epoch, self.seq);
        let failed = |error| OpenError::Io { path: disk.path(), doing: "read the values", error };
        match read.map_err(failed)? {
            Ok(values) => {
                let mut count = 0;
                for value in values.records().take_while(|value| value.seq < self.seq) {
                    (self.visit)(Item::Value(value));
                    count += 1;
                }
                Ok((values::State::Sound, count))
            }
            Err(Bad::Version(version)) => Err(wrong_version(disk, values::NAME, version)),
            Err(Bad::Fault(offset, fault)) => {
                self.find(values::NAME, offset, fault);
                if self.seq > 1 {
                    self.hole(Hole { after: 0, to: self.seq - 1 });
                }
                let is_there = fault != Fault::FileMissing;
                Ok((if is_there { values::State::Damaged } else { values::State::Absent }, 0))
            }
        }
    }

    fn hole(&mut self, hole: Hole) {
        self.holes.push(hole);
        (self.visit)(Item::Hole(hole));
    }

    /// Goes on with `seq`; what it jumps over is a hole.
    fn jump_to(&mut self, seq: u64) {
        if seq > self.seq {
            self.hole(Hole { after: self.seq - 1, to: seq - 1 });
            self.seq = seq;
        }
    }

    /// Whether there is no log, or only what its creation left when it was cut off: `meta` comes
    /// last, and before it no id is given. The next creation may take another epoch.
    fn was_never_created(&mut self, found: &meta::Found) -> bool {
        let unfinished = match self.segments[..] {
            [] => true,
            [only] => only.number == 1 && only.end == HEADER as u64 && only.state == State::Sound,
            _ => false,
        };
        let is_new = !found.exists && unfinished;
        if is_new {
            self.segments.clear();
            self.seq = 1;
        }
        is_new
    }

    /// Segments that should be in front of this one.
    fn missing(&mut self, meta: Option<Meta>, headers: &[Head], index: usize) {
        let head = &headers[index];
        let expected = match index.checked_sub(1).map(|before| headers[before].number) {
            None => meta.map_or(head.number, |meta| meta.first),
            Some(before) => {
                let linked = head.header.is_some_and(|header| header.before.number == before);
                if linked { head.number } else { before + 1 }
            }
        };
        if expected < head.number {
            let to = head.number - 1;
            self.find(&segment::name(expected), 0, Fault::Missing { to });
        }
    }

    fn segment(&mut self, headers: &[Head], index: usize) -> io::Result<()> {
        let Head { number, size, header } = headers[index];
        let name = segment::name(number);
        let mut read = Segment {
            number,
            size,
            header,
            end: HEADER as u64,
            base_seq: self.seq,
            next_seq: self.seq,
            records: 0,
            first_ms: 0,
            newest_ms: 0,
            closed: false,
            state: State::Damaged,
        };
        // A base below what has been read already is no better than no header.
        read.header = header.filter(|header| header.base_seq >= self.seq);
        let Some(header) = read.header else {
            self.find(&name, 0, Fault::Header);
            self.segments.push(read);
            return Ok(());
        };
        self.jump_to(header.base_seq);
        read.base_seq = self.seq;

        let next = headers.get(index + 1).and_then(|next| next.header);
        let next = next.filter(|next| next.before.number == number).map(|next| next.before);
        // What says where the segment ends, and with which seq.
        let stated = match (header.repaired_end, next) {
            (0, None) => None,
            (0, Some(before)) => Some((before.end, Some(before.next_seq))),
            (end, _) => Some((end, None)),
        };
        let limit = stated.map_or(header.length, |(end, _)| end).min(size).min(header.length);
        let mut buffer = std::mem::take(&mut self.buffer);
        let file = self.disk.open(&name)?;
        let mut window = Window::new(file, limit.min(HEADER as u64), limit, STEP, &mut buffer);
        let stop = self.groups(header.salt, &mut window, &mut read)?;
        read.end = stop.at;
        read.next_seq = self.seq;
        read.closed = stop.closed;
        let fault = match stated {
            Some((end, seq)) => {
                let whole = read.end == end && seq.is_none_or(|seq| seq == self.seq);
                let short = Fault::Length { expected: end };
                (!whole).then_some(if size < end {
                    (size, short)
                } else {
                    (read.end, Fault::Damaged)
                })
            }
            None if index + 1 < headers.len() => {
                let rest = window.first_set(stop.at)?;
                rest.map(|_| (read.end, Fault::Damaged))
            }
            None => self.tail(&header, size, &stop, &mut window)?,
        };
        self.buffer = buffer;
        read.state = match fault {
            None => State::Sound,
            Some((_, Fault::TornTail)) => State::Torn,
            Some(_) => State::Damaged,
        };
        if let Some((offset, fault)) = fault {
            self.find(&name, offset, fault);
        }
        self.segments.push(read);
        Ok(())
    }

    /// Reads groups until one is not whole, and shows their records.
    fn groups(
        &mut self,
        salt: u64,
        window: &mut Window<'_, D::File>,
        read: &mut Segment,
    ) -> io::Result<Stop> {
        let mut at = read.end;
        loop {
            let stop = |broken| Ok(Stop { at, closed: false, broken });
            let head = window.from(at, group::HEAD)?;
            if head.is_empty() {
                return stop(None);
            }
            let length = match group::length(head, at, salt) {
                Ok(length) => length,
                Err(broken) => return stop(Some(broken)),
            };
            let group = match group::read(window.from(at, length)?, at, salt) {
                Ok(group) => group,
                Err(broken) => return stop(Some(broken)),
            };
            let Group { kind, first_seq, count, payload, length } = group;
            if first_seq != self.seq {
                return stop(Some(Broken::Payload));
            }
            let end = at + length as u64;
            if kind == Kind::Close {
                return Ok(Stop { at: end, closed: true, broken: None });
            }
            let mut rest = payload;
            for _ in 0..count {
                let record_at = at as usize + group::HEAD + payload.len() - rest.len();
                let segment = self.segments.len() as u32;
                let place = RecordPlace { segment, at: record_at as u32 };
                let Some((record, after)) = record::decode(rest, self.seq) else {
                    return stop(Some(Broken::Payload));
                };
                rest = after;
                if read.records == 0 {
                    read.first_ms = record.accepted_ms;
                }
                read.records += 1;
                read.newest_ms = read.newest_ms.max(record.accepted_ms);
                (self.visit)(Item::Record(record, place));
                self.seq += 1;
            }
            at = end;
        }
    }

    /// Judges what is after the last good group of the last segment.
    fn tail(
        &self,
        header: &Header,
        size: u64,
        stop: &Stop,
        window: &mut Window<'_, D::File>,
    ) -> io::Result<Option<(u64, Fault)>> {
        let at = stop.at;
        if size != header.length {
            return Ok(Some((size, Fault::Length { expected: header.length })));
        }
        let Some(stray) = window.first_set(at)? else { return Ok(None) };
        if stop.broken.is_none() {
            return Ok(Some((stray, Fault::Stray)));
        }
        let marks = group::marks(window.rest(at)?, at, header.salt);
        let was_whole = match self.has_lost_power(header) {
            // Any part of what was not synced may be there: only what was synced proves anything.
            true => marks.is_some_and(|synced| synced > at),
            // What was written is there, and in order: a mark means that all before it was whole.
            false => marks.is_some() || stop.broken == Some(Broken::Mark),
        };
        Ok(Some((at, if was_whole { Fault::Damaged } else { Fault::TornTail })))
    }

    fn has_lost_power(&self, header: &Header) -> bool {
        self.boot.is_none() || header.boot != self.boot
    }

    /// Says how the log ended, and jumps where ids may have been given that are not in it.
    fn end(&mut self, meta: Option<Meta>) -> Ended {
        let last = self.segments.last().copied();
        let newest = meta.map_or(0, |meta| meta.last);
        let present = last.map_or(0, |last| last.number);
        let mut lost = false;
        if present < newest {
            self.find(&segment::name(present + 1), 0, Fault::Missing { to: newest });
            lost = true;
        }
        let ended = match last.and_then(|last| Some((last, last.header?))) {
            Some((last, _)) if last.closed => Ended::Clean,
            Some((last, header)) => {
                lost |= last.state == State::Damaged || header.repaired_end != 0;
                if self.has_lost_power(&header) {
                    lost |= header.mode == SyncMode::Interval;
                    Ended::PowerLoss
                } else {
                    Ended::Killed
                }
            }
            None => {
                lost = true;
                Ended::Unknown
            }
        };
        if lost {
            let known = self.seq.max(meta.map_or(0, |meta| meta.last_seq));
            self.jump_to(known.saturating_add(SEQ_JUMP));
        }
        if present < newest { Ended::Unknown } else { ended }
    }
}
