//! What the journal asks of a disk: one folder with files that are written at a place, made durable,
//! renamed and removed. The real one is in `folder.rs`; tests have one that loses power, fills up
//! and fails (`sim.rs`). Owns the loops around short and interrupted calls; decides nothing else.

use std::io::{self, ErrorKind};

/// Names of files that were found damaged start with this: a folder in the log's folder.
pub(super) const QUARANTINE: &str = "quarantine/";

/// One folder. Names are relative to it.
pub trait Disk {
    /// An open file.
    type File: DiskFile;

    /// The folder as people write it.
    fn path(&self) -> String;

    /// Takes the folder's lock for as long as this disk lives; `false` when another has it.
    fn lock(&mut self) -> io::Result<bool>;

    /// The files in the folder, or in the quarantine below it; none where there is no such folder.
    fn list(&self, quarantine: bool) -> io::Result<Vec<String>>;

    /// Opens a file to read and, unless the disk is for reading only, to write.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Makes an empty file, in the place of any that has the name.
    fn create(&self, name: &str) -> io::Result<Self::File>;

    /// Gives the file another name, in the place of any file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives the file a second name, which is in the quarantine.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes names durable: the folder's and the quarantine's.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file. Calls may do less than they were asked to and may be interrupted.
pub trait DiskFile {
    /// The file's length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Reads at a place; 0 means the end of the file.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize>;

    /// Writes at a place.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<usize>;

    /// Makes the file so long, with zeros, and reserves the room on the disk.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Cuts the file.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Makes what was written, and the length, durable (`fdatasync`).
    fn sync(&self) -> io::Result<()>;
}

/// A write that failed part of the way.
#[derive(Debug)]
pub(super) struct Partial {
    /// Bytes that may have been written.
    pub(super) written: u64,
    pub(super) error: io::Error,
}

/// Writes all of `bytes`.
pub(super) fn write_all(file: &impl DiskFile, bytes: &[u8], at: u64) -> Result<(), Partial> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write_at(&bytes[written..], at + written as u64) {
            Ok(0) => {
                let error = ErrorKind::WriteZero.into();
                return Err(Partial { written: written as u64, error });
            }
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(Partial { written: written as u64, error }),
        }
    }
    Ok(())
}

/// Writes `length` zeros.
pub(super) fn write_zeros(file: &impl DiskFile, at: u64, length: u64) -> io::Result<()> {
    const ZEROS: &[u8] = &[0; 64 << 10];
    let mut done = 0;
    while done < length {
        let step = (length - done).min(ZEROS.len() as u64);
        write_all(file, &ZEROS[..step as usize], at + done).map_err(|partial| partial.error)?;
        done += step;
    }
    Ok(())
}

/// Reads until `buffer` is full or the file ends, and says how much that was.
pub(super) fn read_full(file: &impl DiskFile, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

/// Whether an error means that there is no room, which passes when someone makes some.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}
