//! `values`: the retained values whose records have been trimmed. Written anew by each trim, under
//! another name until it is on the disk, and read when the log is opened. It is right for the log
//! it was written for and for what that was before the trim: whatever a record that is kept does to
//! a value, that record does again when it is read.

use std::io;

use super::disk::{Disk, DiskFile, read_full, write_all};
use super::group::{double, word};
use super::meta::{FORMAT_VERSION, check_version, epoch_at, put_epoch, put_version};
use super::record::{self, encode, encoded_len};
use super::{Fault, Record, Retain};
use crate::sse::Epoch;

pub(super) const NAME: &str = "values";
const NEW_NAME: &str = "values.new";

const MAGIC: [u8; 8] = *b"TGvalues";
const HEADER: usize = 64;
const SUM_AT: usize = HEADER - 4;

/// What a scan has made of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none, or none that counts.
    Absent,
    /// It is as it was written.
    Sound,
    /// It is not.
    Damaged,
}

/// The file, read and checked.
pub(super) struct Values {
    bytes: Vec<u8>,
}

/// Why the file is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// The format's version is not ours.
    Version(u32),
    /// It is not as it was written, from this offset on.
    Fault(u64, Fault),
}

/// Puts a file with these values in the place of any that is there, durably. `first_seq` is that of
/// the log after the trim: no value has it, or a greater one. `false` when there is no value, and
/// then the file is as it was. The file is made in memory first.
///
/// # Panics
///
/// If a value is larger than a record may be: it was one.
pub(super) fn write<'a>(
    disk: &impl Disk,
    epoch: Epoch,
    first_seq: u64,
    values: impl IntoIterator<Item = Record<'a>>,
) -> io::Result<bool> {
    let mut bytes = vec![0; HEADER];
    let mut count = 0_u64;
    for value in values {
        debug_assert!(value.seq < first_seq && matches!(value.retain, Retain::Keep { .. }));
        let length = encoded_len(&value).expect("the value's record was in the log");
        bytes.extend_from_slice(&value.seq.to_le_bytes());
        encode(&value, length, &mut bytes);
        count += 1;
    }
    if count == 0 {
        return Ok(false);
    }
    put_header(&mut bytes, epoch, first_seq, count);
    let written = replace(disk, &bytes);
    if written.is_err() {
        // What cannot be removed goes at the next start.
        let _ = disk.remove(NEW_NAME);
    }
    written.map(|()| true)
}

fn put_header(bytes: &mut [u8], epoch: Epoch, first_seq: u64, count: u64) {
    let length = bytes.len() as u64;
    let sum = crc32c::crc32c(&bytes[HEADER..]);
    put_version(bytes, MAGIC, FORMAT_VERSION);
    put_epoch(bytes, 16, epoch);
    bytes[28..32].copy_from_slice(&sum.to_le_bytes());
    for (number, place) in [first_seq, count, length].iter().zip(bytes[32..].chunks_exact_mut(8)) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let sum = crc32c::crc32c(&bytes[..SUM_AT]);
    bytes[SUM_AT..HEADER].copy_from_slice(&sum.to_le_bytes());
}

fn replace(disk: &impl Disk, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(NEW_NAME)?;
    write_all(&file, bytes, 0).map_err(|partial| partial.error)?;
    file.sync()?;
    disk.rename(NEW_NAME, NAME)?;
    disk.sync_names()
}

/// Reads the file of a log of this epoch, of which nothing before `first_seq` is kept.
pub(super) fn read(
    disk: &impl Disk,
    epoch: Option<Epoch>,
    first_seq: u64,
) -> io::Result<Result<Values, Bad>> {
    let file = match disk.open(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Err(Bad::Fault(0, Fault::FileMissing)));
        }
        file => file?,
    };
    let size = file.size()?;
    let mut header = [0; HEADER];
    let read = read_full(&file, &mut header, 0)?;
    let length = match check_header(&header[..read], epoch, first_seq) {
        Err(bad) => return Ok(Err(bad)),
        Ok(length) => length,
    };
    if size != length {
        let fault = if size < length { Fault::Length { expected: length } } else { Fault::Stray };
        return Ok(Err(Bad::Fault(size.min(length), fault)));
    }
    let mut bytes = vec![0; size as usize];
    let read = read_full(&file, &mut bytes, 0)?;
    bytes.truncate(read);
    let values = Values { bytes };
    let bad = Bad::Fault(HEADER as u64, Fault::Damaged);
    Ok(if values.is_whole() { Ok(values) } else { Err(bad) })
}

/// The file's length, as it says itself.
fn check_header(bytes: &[u8], epoch: Option<Epoch>, first_seq: u64) -> Result<u64, Bad> {
    let bad = Bad::Fault(0, Fault::Header);
    let Some(header) = bytes.first_chunk::<HEADER>() else { return Err(bad) };
    match check_version(header, MAGIC) {
        Some(FORMAT_VERSION) => {}
        Some(version) => return Err(Bad::Version(version)),
        None => return Err(bad),
    }
    let is_whole = word(header, SUM_AT) == crc32c::crc32c(&header[..SUM_AT]);
    // A file that is older than the last trim may have values that are none any more.
    let is_ours =
        epoch_at(header, 16) == epoch && epoch.is_some() && double(header, 32) >= first_seq;
    if is_whole && is_ours { Ok(double(header, 48)) } else { Err(bad) }
}

impl Values {
    /// The records, in the order of their seqs.
    pub(super) fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut rest = &self.bytes[HEADER..];
        std::iter::from_fn(move || {
            let (seq, after) = rest.split_first_chunk::<8>()?;
            let (record, after) = record::decode(after, u64::from_le_bytes(*seq))?;
            rest = after;
            Some(record)
        })
    }

    fn is_whole(&self) -> bool {
        let Some(body) = self.bytes.get(HEADER..) else { return false };
        let is_value = |record: &Record<'_>| matches!(record.retain, Retain::Keep { .. });
        word(&self.bytes, 28) == crc32c::crc32c(body)
            && self.records().count() as u64 == double(&self.bytes, 40)
            && self.records().all(|record| is_value(&record))
            && self.records().is_sorted_by(|one, next| one.seq < next.seq)
    }
}
