//! `meta`: the epoch, and which segments there must be, so that one that is missing is missed. Two
//! copies, written in turn in place: one is whole whatever happens to the other, and no room is
//! needed, so that the oldest segments can go even from a full disk. Owns also what every file's
//! first bytes have in common in all versions of the format.

use std::io;

use super::disk::{Disk, DiskFile, read_full, write_all};
use super::group::{double, word};
use crate::sse::Epoch;

/// What is written, and the only version that is read.
pub(super) const FORMAT_VERSION: u32 = 1;

pub(super) const NAME: &str = "meta";
pub(super) const NEW_NAME: &str = "meta.new";

const MAGIC: [u8; 8] = *b"TGjournl";
/// A page: larger than any sector, so the two copies never share one.
const COPY: usize = 4096;
const SUM_AT: usize = COPY - 4;
const EPOCH_DIGITS: usize = 12;

/// What `meta` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) epoch: Epoch,
    /// The oldest segment that is kept.
    pub(super) first: u64,
    /// No seq below this is kept.
    pub(super) first_seq: u64,
    /// The newest segment.
    pub(super) last: u64,
    /// No record in the newest segment has a smaller seq.
    pub(super) last_seq: u64,
    /// Whether there is a file with the values from before `first_seq`.
    pub(super) has_values: bool,
}

/// What was found in the place of `meta`.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Whether there was a file at all.
    pub(super) exists: bool,
    /// The newer whole copy.
    pub(super) newest: Option<Slot>,
    /// Where a copy is not whole, or something is beside them.
    pub(super) faults: Vec<u64>,
    /// The format's version where it is not ours.
    pub(super) version: Option<u32>,
}

/// A copy that was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    pub(super) meta: Meta,
    counter: u64,
}

/// The open file.
#[derive(Debug)]
pub(super) struct MetaFile<F> {
    file: F,
    counter: u64,
}

impl Meta {
    fn encode(&self, counter: u64) -> [u8; COPY] {
        let mut bytes = [0; COPY];
        put_version(&mut bytes, MAGIC, FORMAT_VERSION);
        put_epoch(&mut bytes, 16, self.epoch);
        let has_values = u64::from(self.has_values);
        let numbers = [counter, self.first, self.first_seq, self.last, self.last_seq, has_values];
        for (number, place) in numbers.iter().zip(bytes[32..].chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; COPY]) -> Option<Slot> {
        if bytes[SUM_AT..] != crc32c::crc32c(&bytes[..SUM_AT]).to_le_bytes() {
            return None;
        }
        let number = |index: usize| double(bytes, 32 + 8 * index);
        let meta = Self {
            epoch: epoch_at(bytes, 16)?,
            first: number(1),
            first_seq: number(2),
            last: number(3),
            last_seq: number(4),
            has_values: number(5) != 0,
        };
        Some(Slot { meta, counter: number(0) })
    }
}

/// Reads `meta`.
pub(super) fn find(disk: &impl Disk) -> io::Result<Found> {
    let file = match disk.open(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        file => file?,
    };
    // One byte more than there should be, to see that there is not.
    let mut bytes = vec![0; 2 * COPY + 1];
    let length = read_full(&file, &mut bytes, 0)?;
    let mut found = Found { exists: true, ..Found::default() };
    for at in [0, COPY] {
        let copy = bytes[..length].get(at..).and_then(<[u8]>::first_chunk::<COPY>);
        let version = copy.and_then(|copy| check_version(copy, MAGIC));
        if version.is_some_and(|version| version != FORMAT_VERSION) {
            found.version = version;
            return Ok(found);
        }
        match copy.and_then(Meta::decode).filter(|_| version.is_some()) {
            None => found.faults.push(at as u64),
            Some(slot) => {
                let newer = found.newest.is_none_or(|newest| newest.counter < slot.counter);
                found.newest = if newer { Some(slot) } else { found.newest };
            }
        }
    }
    if length > 2 * COPY {
        found.faults.push(2 * COPY as u64);
    }
    Ok(found)
}

impl<F: DiskFile> MetaFile<F> {
    /// Makes the file, both copies the same, in the place of any that is there.
    pub(super) fn create<D: Disk<File = F>>(disk: &D, meta: &Meta) -> io::Result<Self> {
        let file = disk.create(NEW_NAME)?;
        for counter in [2, 1] {
            write_all(&file, &meta.encode(counter), place(counter)).map_err(|part| part.error)?;
        }
        file.sync()?;
        disk.rename(NEW_NAME, NAME)?;
        disk.sync_names()?;
        Ok(Self { file, counter: 2 })
    }

    /// Opens the file that `slot` was read from.
    pub(super) fn open<D: Disk<File = F>>(disk: &D, slot: &Slot) -> io::Result<Self> {
        Ok(Self { file: disk.open(NAME)?, counter: slot.counter })
    }

    /// Writes the older copy anew. On an error it may or may not be on the disk.
    pub(super) fn update(&mut self, meta: &Meta) -> io::Result<()> {
        let counter = self.counter + 1;
        write_all(&self.file, &meta.encode(counter), place(counter)).map_err(|part| part.error)?;
        self.file.sync()?;
        self.counter = counter;
        Ok(())
    }
}

fn place(counter: u64) -> u64 {
    (counter % 2) * COPY as u64
}

/// Writes what every version starts with: 8 bytes of magic, the version, and a checksum of the two.
pub(super) fn put_version(bytes: &mut [u8], magic: [u8; 8], version: u32) {
    bytes[..8].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
}

/// The version, if these bytes start as [`put_version`] leaves them.
pub(super) fn check_version(bytes: &[u8], magic: [u8; 8]) -> Option<u32> {
    (bytes[..8] == magic && word(bytes, 12) == crc32c::crc32c(&bytes[..12])).then(|| word(bytes, 8))
}

/// Writes an epoch as ids have it: twelve hex digits.
pub(super) fn put_epoch(bytes: &mut [u8], at: usize, epoch: Epoch) {
    bytes[at..at + EPOCH_DIGITS].copy_from_slice(epoch.to_string().as_bytes());
}

/// The epoch at a place.
pub(super) fn epoch_at(bytes: &[u8], at: usize) -> Option<Epoch> {
    let digits = std::str::from_utf8(&bytes[at..at + EPOCH_DIGITS]).ok()?;
    let bits = u64::from_str_radix(digits, 16).ok()?;
    Some(Epoch::new(bits)).filter(|epoch| epoch.to_string() == digits)
}
