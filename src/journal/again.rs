//! Reads records again that a start has come by: of a log that is much larger than what is kept of it in
//! memory, it notes only where the records are, and reads those at the end that are still wanted.

use std::io;

use super::disk::{Disk, DiskFile as _};
use super::window::Window;
use super::writer::Journal;
use super::{Record, RecordPlace, record, segment};

/// Bytes read at a time: most records that are wanted are one behind the other at the end of the log,
/// and others are anywhere.
const STEP: usize = 16 << 10;

impl<D: Disk> Journal<D> {
    /// Shows records again, by their places and `seq`s, which are in order. Before anything is
    /// trimmed.
    ///
    /// # Errors
    /// The disk cannot be read, or a record is not there any more.
    pub fn read_again(
        &self,
        wanted: &[(RecordPlace, u64)],
        mut visit: impl FnMut(Record<'_>),
    ) -> io::Result<()> {
        let mut buffer = Vec::new();
        for of_segment in wanted.chunk_by(|(one, _), (next, _)| one.segment == next.segment) {
            let (RecordPlace { segment, at: first }, _) = of_segment[0];
            let file = self.disk.open(&segment::name(self.sealed[segment as usize].number))?;
            let size = file.size()?;
            let mut window = Window::new(file, first.into(), size, STEP, &mut buffer);
            for &(RecordPlace { at, .. }, seq) in of_segment {
                let length = record::length(window.from(at.into(), record::LENGTH)?);
                let bytes = window.from(at.into(), length.unwrap_or_default())?;
                let (record, _) = record::decode(bytes, seq).ok_or(io::ErrorKind::InvalidData)?;
                visit(record);
            }
        }
        Ok(())
    }
}
