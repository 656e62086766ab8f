//! Opening a log: lock, scan, repair, and begin a new segment, since each process writes into
//! segments of its own. A log that does not exist is created. Every step may be the last before the
//! power goes; the order is such that the next opening then comes to the same conclusions.

use std::io;

use super::active::{BeginError, begin};
use super::disk::{Disk, DiskFile};
use super::meta::{Meta, MetaFile};
use super::repair;
use super::report::{OpenError, Recovered};
use super::scan::{Scan, Segment, State, scan};
use super::segment::{self, Before};
use super::trim::Oldest;
use super::values;
use super::writer::{Journal, Pending, Sealed};
use super::{Item, Options, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, SEQ_MAX, Session};

impl<D: Disk> Journal<D> {
    /// Opens the log on `disk`, or creates it, and shows `visit` everything that is kept: values,
    /// records and holes, in the order of their seqs. What is torn or damaged is repaired.
    pub fn open(
        mut disk: D,
        options: Options,
        session: Session,
        mut visit: impl FnMut(Item<'_>),
    ) -> Result<(Self, Recovered), OpenError> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&options.segment_bytes) {
            return Err(OpenError::Options("a segment has 1 KiB to 1 GiB"));
        }
        let path = disk.path();
        let failed = |doing| {
            let path = path.clone();
            move |error| OpenError::Io { path, doing, error }
        };
        if !disk.lock().map_err(failed("lock the folder"))? {
            return Err(OpenError::Locked { path });
        }
        let mut scan = scan(&disk, session.boot, &mut visit)?;
        let epoch = scan.epoch.unwrap_or(session.fresh_epoch);
        if scan.next_seq > SEQ_MAX {
            return Err(OpenError::Exhausted);
        }
        for name in &scan.unfinished {
            disk.remove(name).map_err(failed("remove an unfinished file"))?;
        }
        settle(&disk, &scan).map_err(failed("sync what was found"))?;
        repair::segments(&disk, &mut scan.segments, epoch, &session)
            .map_err(failed("set a damaged segment aside"))?;
        if scan.values_file == values::State::Damaged {
            repair::set_aside(&disk, values::NAME).map_err(failed("set damaged values aside"))?;
        }
        let (number, before) = place_for_new(&mut scan)?;
        let active = begin(&disk, &options, &session, epoch, number, scan.next_seq, before)
            .map_err(|refused| {
                let (BeginError::Full(error) | BeginError::Failed(error)) = refused;
                failed("begin a segment")(error)
            })?;
        let oldest = Oldest {
            number: scan.segments.first().map_or(number, |oldest| oldest.number),
            seq: scan.first_seq,
        };
        let has_values = scan.values_file == values::State::Sound;
        let meta = Meta {
            epoch,
            first: oldest.number,
            first_seq: oldest.seq,
            last: number,
            last_seq: scan.next_seq,
            has_values,
        };
        let meta = write_meta(&disk, &scan, &meta).map_err(failed("write meta"))?;
        give_back(&disk, &scan).map_err(failed("remove what is not needed"))?;
        let recovered = Recovered {
            epoch,
            next_seq: scan.next_seq,
            first_seq: scan.first_seq,
            ended: scan.ended,
            records: scan.segments.iter().map(|segment| segment.records).sum(),
            values: scan.values,
            bytes: scan.segments.iter().map(|segment| segment.end).sum(),
            findings: scan.findings,
            holes: scan.holes,
        };
        let journal = Self {
            disk,
            options,
            session,
            epoch,
            meta,
            meta_is_behind: false,
            active,
            sealed: scan.segments.iter().map(seal).collect(),
            oldest,
            has_values,
            pending: Pending::new(),
            next_seq: scan.next_seq,
            failed: false,
        };
        Ok((journal, recovered))
    }
}

/// What a killed process wrote is relied on from here on, so it must not be lost any more: records
/// that will be served, and the copy of `meta` that was read while the other one is written.
fn settle(disk: &impl Disk, scan: &Scan) -> io::Result<()> {
    if scan.found.exists {
        disk.open(super::meta::NAME)?.sync()?;
    }
    match scan.segments.last() {
        Some(last) if last.header.is_some() => disk.open(&segment::name(last.number))?.sync(),
        _ => Ok(()),
    }
}

/// The number of the new segment and what it says of the one before. A newest segment without
/// records gives its place away, or a process that starts and dies again and again would leave
/// files without end.
fn place_for_new(scan: &mut Scan) -> Result<(u64, Before), OpenError> {
    let newest = scan.found.newest.map_or(0, |slot| slot.meta.last);
    if let Some(last) = scan.segments.last().copied()
        && let Some(header) = last.header
        && last.records == 0
        && last.state != State::Damaged
        && header.repaired_end == 0
        && last.number >= newest
    {
        scan.segments.pop();
        return Ok((last.number, header.before));
    }
    let last = scan.segments.last();
    let before = last.map_or(Before::default(), |last| Before {
        number: last.number,
        end: last.end,
        next_seq: last.next_seq,
    });
    let number = newest.max(before.number).checked_add(1).ok_or(OpenError::Exhausted)?;
    Ok((number, before))
}

fn write_meta<D: Disk>(disk: &D, scan: &Scan, meta: &Meta) -> io::Result<MetaFile<D::File>> {
    match &scan.found.newest {
        Some(newest) if scan.found.faults.is_empty() => {
            let mut file = MetaFile::open(disk, newest)?;
            file.update(meta)?;
            Ok(file)
        }
        _ => {
            if scan.found.exists {
                repair::set_aside(disk, super::meta::NAME)?;
            }
            MetaFile::create(disk, meta)
        }
    }
}

/// Removes what was trimmed before, and what segments have beyond their ends.
fn give_back(disk: &impl Disk, scan: &Scan) -> io::Result<()> {
    for name in &scan.stale {
        disk.remove(name)?;
    }
    for segment in &scan.segments {
        if segment.state != State::Damaged && segment.size > segment.end {
            disk.open(&segment::name(segment.number))?.truncate(segment.end)?;
        }
    }
    Ok(())
}

fn seal(segment: &Segment) -> Sealed {
    Sealed {
        number: segment.number,
        bytes: segment.end,
        base_seq: segment.base_seq,
        newest_ms: segment.newest_ms,
    }
}
