//! What recovery changes: a damaged file is kept in the quarantine as it is, and its good part takes
//! its place. Called by `open` with what the scan has judged. Deletes nothing.

use std::io;

use super::Session;
use super::disk::{Disk, DiskFile, QUARANTINE, read_full, write_all};
use super::group;
use super::scan::{Segment, State};
use super::segment::{self, Before, HEADER, Header};
use crate::sse::Epoch;

/// Bytes copied at once.
const STEP: usize = 1 << 20;

/// Sets every damaged segment aside and leaves its good part, which may be nothing, in its place.
/// The new header says where that ends, so the loss is found once and the hole stays.
pub(super) fn segments(
    disk: &impl Disk,
    segments: &mut [Segment],
    epoch: Epoch,
    session: &Session,
) -> io::Result<()> {
    let mut before = Before::default();
    for segment in segments {
        if segment.state == State::Damaged {
            let name = segment::name(segment.number);
            set_aside(disk, &name)?;
            let unknown = Header {
                number: segment.number,
                epoch,
                base_seq: segment.base_seq,
                length: HEADER as u64,
                boot: None,
                mode: session.mode,
                salt: group::mix(session.salt ^ group::mix(segment.number)),
                before,
                repaired_end: 0,
                created_ms: session.now_ms,
            };
            segment.end = segment.end.max(HEADER as u64);
            let known = segment.header.unwrap_or(unknown);
            replace(disk, &name, &Header { repaired_end: segment.end, ..known })?;
        }
        before = Before { number: segment.number, end: segment.end, next_seq: segment.next_seq };
    }
    Ok(())
}

/// Gives a file a second name in the quarantine, one that is free.
pub(super) fn set_aside(disk: &impl Disk, name: &str) -> io::Result<()> {
    let taken = disk.list(true)?;
    let mut free = name.to_owned();
    for count in 2.. {
        if !taken.contains(&free) {
            break;
        }
        free = format!("{name}.{count}");
    }
    disk.link(name, &format!("{QUARANTINE}{free}"))?;
    disk.sync_names()
}

/// Puts `header` and the file's own bytes up to the end that it states in the file's place.
fn replace(disk: &impl Disk, name: &str, header: &Header) -> io::Result<()> {
    let new = format!("{name}.new");
    let (old, file) = (disk.open(name)?, disk.create(&new)?);
    write_all(&file, &header.encode(), 0).map_err(|partial| partial.error)?;
    let mut at = HEADER as u64;
    let mut buffer = vec![0; STEP.min((header.repaired_end - at) as usize)];
    while at < header.repaired_end {
        let step = buffer.len().min((header.repaired_end - at) as usize);
        if read_full(&old, &mut buffer[..step], at)? < step {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        write_all(&file, &buffer[..step], at).map_err(|partial| partial.error)?;
        at += step as u64;
    }
    file.sync()?;
    disk.rename(&new, name)?;
    disk.sync_names()
}
