//! The segment that is written to, and how one begins: under another name, until it has its header
//! and its room. Called by the writer, and by `open` for the first one of a process.

use std::io;

use super::disk::{Disk, DiskFile, is_full, write_all};
use super::group;
use super::segment::{self, Before, HEADER, Header};
use super::{Options, Session};
use crate::sse::Epoch;

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active<F> {
    pub(super) file: F,
    pub(super) number: u64,
    pub(super) salt: u64,
    pub(super) base_seq: u64,
    pub(super) length: u64,
    /// Where the next group goes.
    pub(super) at: u64,
    /// Up to here the file is on the disk.
    pub(super) synced: u64,
    /// Up to here there may be remains of a group that failed; not above `at` means none.
    pub(super) dirty_to: u64,
    pub(super) newest_ms: u64,
}

/// Why a segment was not begun.
pub(super) enum BeginError {
    /// There is no room, and nothing has changed.
    Full(io::Error),
    /// The disk failed.
    Failed(io::Error),
}

/// Begins a segment: it has its name only once it has its header and its room.
pub(super) fn begin<D: Disk>(
    disk: &D,
    options: &Options,
    session: &Session,
    epoch: Epoch,
    number: u64,
    base_seq: u64,
    before: Before,
) -> Result<Active<D::File>, BeginError> {
    let header = Header {
        number,
        epoch,
        base_seq,
        length: options.segment_bytes,
        boot: session.boot,
        mode: session.mode,
        salt: group::mix(session.salt ^ group::mix(number)),
        before,
        repaired_end: 0,
        created_ms: session.now_ms,
    };
    let name = segment::name(number);
    let new = format!("{name}.new");
    let file = match fill(disk, &new, &header) {
        Ok(file) => file,
        Err(error) => {
            // Whatever was reserved is given back; what cannot be removed goes at the next start.
            let _ = disk.remove(&new);
            let full = is_full(&error);
            return Err(if full { BeginError::Full(error) } else { BeginError::Failed(error) });
        }
    };
    match disk.rename(&new, &name) {
        Err(error) if is_full(&error) => {
            let _ = disk.remove(&new);
            return Err(BeginError::Full(error));
        }
        renamed => renamed.map_err(BeginError::Failed)?,
    }
    disk.sync_names().map_err(BeginError::Failed)?;
    let start = HEADER as u64;
    Ok(Active {
        file,
        number,
        salt: header.salt,
        base_seq,
        length: header.length,
        at: start,
        synced: start,
        dirty_to: start,
        newest_ms: 0,
    })
}

fn fill<D: Disk>(disk: &D, name: &str, header: &Header) -> io::Result<D::File> {
    let file = disk.create(name)?;
    file.allocate(header.length)?;
    write_all(&file, &header.encode(), 0).map_err(|partial| partial.error)?;
    file.sync()?;
    Ok(file)
}
