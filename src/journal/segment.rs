//! A segment's name and header. The header says whose the segment is, under which salt its
//! checksums are, how long the file was made, and where the segment before it ended: an end that
//! its successor states needs no mark of its own, however the segment came to end. Pure.

use std::fmt;

use super::group::double;
use super::meta::{FORMAT_VERSION, check_version, epoch_at, put_epoch, put_version};
use super::{SEGMENT_BYTES_MAX, SEQ_MAX, SyncMode};
use crate::sse::Epoch;

/// Bytes of a header: one sector, since it must be whole before anything else is in the file.
pub(super) const HEADER: usize = 512;

const MAGIC: [u8; 8] = *b"TGsegmnt";
const SUM_AT: usize = HEADER - 4;
const SUFFIX: &str = ".log";

/// Which start of the machine this is: `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootId([u8; 16]);

impl BootId {
    /// This start of the machine, where the kernel says which it is.
    pub fn current() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?)
    }

    /// Reads the text form, a UUID. `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.trim().bytes().filter(|&byte| byte != b'-');
        let mut id = [0_u8; 16];
        let mut count = 0;
        for digit in digits {
            let value = char::from(digit).to_digit(16)? as u8;
            let byte = id.get_mut(count / 2)?;
            *byte = *byte << 4 | value;
            count += 1;
        }
        (count == 32).then_some(Self(id))
    }
}

/// Where a segment ends, as its successor says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Before {
    /// The segment before; 0 for none.
    pub(super) number: u64,
    /// Where its last group ends.
    pub(super) end: u64,
    /// The seq after its last record.
    pub(super) next_seq: u64,
}

/// What the first [`HEADER`] bytes of a segment say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) number: u64,
    pub(super) epoch: Epoch,
    /// No record in it has a smaller seq.
    pub(super) base_seq: u64,
    /// The file's length while it is written to.
    pub(super) length: u64,
    pub(super) boot: Option<BootId>,
    pub(super) mode: SyncMode,
    pub(super) salt: u64,
    pub(super) before: Before,
    /// Where it ends since it was repaired; 0 for never.
    pub(super) repaired_end: u64,
    pub(super) created_ms: u64,
}

/// Why a header is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadHeader {
    /// The format's version is not ours.
    Version(u32),
    /// A checksum does not fit, or the file is too short for one.
    Damaged,
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        put_version(&mut bytes, MAGIC, FORMAT_VERSION);
        put_epoch(&mut bytes, 16, self.epoch);
        bytes[28] = match self.mode {
            SyncMode::Always => 1,
            SyncMode::Interval => 2,
        };
        bytes[29] = u8::from(self.boot.is_some());
        bytes[32..48].copy_from_slice(&self.boot.map_or([0; 16], |boot| boot.0));
        let numbers = [
            self.number,
            self.base_seq,
            self.length,
            self.salt,
            self.before.number,
            self.before.end,
            self.before.next_seq,
            self.repaired_end,
            self.created_ms,
        ];
        for (number, place) in numbers.iter().zip(bytes[48..].chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32c::crc32c(&bytes[..SUM_AT]);
        bytes[SUM_AT..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes: &[u8; HEADER] = bytes.first_chunk().ok_or(BadHeader::Damaged)?;
        match check_version(bytes, MAGIC) {
            Some(FORMAT_VERSION) => {}
            Some(version) => return Err(BadHeader::Version(version)),
            None => return Err(BadHeader::Damaged),
        }
        if bytes[SUM_AT..] != crc32c::crc32c(&bytes[..SUM_AT]).to_le_bytes() {
            return Err(BadHeader::Damaged);
        }
        let mode = match bytes[28] {
            1 => SyncMode::Always,
            2 => SyncMode::Interval,
            _ => return Err(BadHeader::Damaged),
        };
        let boot = bytes[32..48].first_chunk().filter(|_| bytes[29] != 0);
        let number = |index: usize| double(bytes, 48 + 8 * index);
        Ok(Self {
            number: number(0),
            epoch: epoch_at(bytes, 16).ok_or(BadHeader::Damaged)?,
            base_seq: number(1),
            length: number(2),
            boot: boot.copied().map(BootId),
            mode,
            salt: number(3),
            before: Before { number: number(4), end: number(5), next_seq: number(6) },
            repaired_end: number(7),
            created_ms: number(8),
        })
    }

    /// Whether it can be the header of this segment of this log.
    pub(super) fn is_of(&self, number: u64, epoch: Option<Epoch>) -> bool {
        self.number == number
            && Some(self.epoch) == epoch
            && (HEADER as u64..=SEGMENT_BYTES_MAX).contains(&self.length)
            && (1..=SEQ_MAX).contains(&self.base_seq)
    }
}

/// A segment's file.
pub(super) fn name(number: u64) -> String {
    format!("{number:010}{SUFFIX}")
}

/// The number of a segment's file, if it is one.
pub(super) fn number_of(file: &str) -> Option<u64> {
    let number = file.strip_suffix(SUFFIX)?.parse().ok().filter(|&number| number > 0)?;
    (name(number) == file).then_some(number)
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    //! Headers and names, by example and by every flipped bit.

    use super::*;

    #[test]
    fn a_header_reads_back_and_a_flipped_bit_does_not() {
        let header = Header {
            number: 3,
            epoch: Epoch::new(0xabc),
            base_seq: 17,
            length: 4096,
            boot: BootId::parse("1e8ed4f1-e28e-4920-a7f9-3f7664a6f61c\n"),
            mode: SyncMode::Interval,
            salt: 5,
            before: Before { number: 2, end: 700, next_seq: 17 },
            repaired_end: 0,
            created_ms: 9,
        };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        let without = Header { boot: None, ..header };
        assert_eq!(Header::decode(&without.encode()), Ok(without));
        for bit in 0..HEADER * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&flipped), Err(BadHeader::Damaged), "bit {bit}");
        }
        assert_eq!(Header::decode(&bytes[..HEADER - 1]), Err(BadHeader::Damaged));
    }

    #[test]
    fn names_are_numbers() {
        assert_eq!(name(7), "0000000007.log");
        for number in [1, 7, 9_999_999_999, 10_000_000_000, u64::MAX] {
            assert_eq!(number_of(&name(number)), Some(number));
        }
        for other in
            ["7.log", "0000000000.log", "00000000007.log", "+000000007.log", "x.log", "meta"]
        {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_boot_id_is_a_uuid() {
        assert!(BootId::parse("1e8ed4f1-e28e-4920-a7f9-3f7664a6f61c").is_some());
        for other in ["", "1e8ed4f1", "1e8ed4f1-e28e-4920-a7f9-3f7664a6f61c0", "zz"] {
            assert_eq!(BootId::parse(other), None, "{other}");
        }
    }
}
