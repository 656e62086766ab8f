//! Framing: the records of one write stand between a head and an end mark, each with a checksum of
//! its own. Pure; the writer seals groups, the scan reads them.
//!
//! Three things follow from the shape. A group that was cut while it was being written has no end
//! mark, so an end mark after a broken place proves that the place was whole once: damage, not a
//! torn tail. Every checksum starts from the segment's random salt and the group's place in the
//! file, so bytes inside an event, which strangers choose, never pass for a head or a mark. And a
//! mark says how much of the segment was on the disk when the group was made, which tells damage
//! from a torn tail even after a power loss, when later groups may survive without earlier ones.

use memchr::memmem;

/// Bytes in front of a group's records.
pub(super) const HEAD: usize = 40;
/// Bytes after them.
pub(super) const MARK: usize = 24;

/// What a group takes beside its records.
pub const GROUP_BYTES: usize = HEAD + MARK;

const HEAD_MAGIC: [u8; 4] = *b"TGgr";
/// Last in a mark, and not zero: until the last byte is written the mark is not whole.
const MARK_MAGIC: [u8; 4] = *b"tgEN";

const EVENTS: u32 = 1;
const CLOSE: u32 = 2;

/// What a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Records.
    Events,
    /// The log was closed here on purpose: everything before is complete.
    Close,
}

/// A group that was read and checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group<'a> {
    pub(super) kind: Kind,
    pub(super) first_seq: u64,
    pub(super) count: u32,
    pub(super) payload: &'a [u8],
    /// Bytes of all of it.
    pub(super) length: usize,
}

/// What is wrong with a group. How it came to be so is for [`marks`] and the scan to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Its head.
    Head,
    /// Its records.
    Payload,
    /// Only its end mark, and not by having been cut.
    Mark,
    /// Only its end mark: its first bytes are there and the rest are zeros.
    MarkCut,
}

/// What a seal needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    pub(super) kind: Kind,
    pub(super) salt: u64,
    /// Where in the file the group goes.
    pub(super) at: u64,
    /// Up to where the file is known to be on the disk.
    pub(super) synced: u64,
    pub(super) first_seq: u64,
    pub(super) count: u32,
}

/// Finishes a group: `group` is [`HEAD`] bytes of room and the records.
pub(super) fn seal(group: &mut Vec<u8>, seal: &Seal) {
    let payload = group.len() - HEAD;
    let kind = match seal.kind {
        Kind::Events => EVENTS,
        Kind::Close => CLOSE,
    };
    let payload_sum = checksum(seal.salt, seal.at, Part::Payload, &group[HEAD..]);
    let head = &mut group[..HEAD];
    head[..4].copy_from_slice(&HEAD_MAGIC);
    head[4..8].copy_from_slice(&kind.to_le_bytes());
    head[8..12].copy_from_slice(&(payload as u32).to_le_bytes());
    head[12..16].copy_from_slice(&seal.count.to_le_bytes());
    head[16..24].copy_from_slice(&seal.first_seq.to_le_bytes());
    head[24..32].copy_from_slice(&seal.synced.to_le_bytes());
    head[32..36].copy_from_slice(&payload_sum.to_le_bytes());
    let head_sum = checksum(seal.salt, seal.at, Part::Head, &head[..36]);
    head[36..].copy_from_slice(&head_sum.to_le_bytes());
    let length = (group.len() + MARK) as u32;
    group.extend_from_slice(&mark(seal.salt, seal.at, length, seal.synced, seal.first_seq));
}

fn mark(salt: u64, at: u64, length: u32, synced: u64, first_seq: u64) -> [u8; MARK] {
    let mut mark = [0; MARK];
    mark[..4].copy_from_slice(&length.to_le_bytes());
    // A segment is shorter than 4 GiB.
    mark[4..8].copy_from_slice(&(synced as u32).to_le_bytes());
    mark[8..16].copy_from_slice(&first_seq.to_le_bytes());
    let sum = checksum(salt, at, Part::Mark, &mark[..16]);
    mark[16..20].copy_from_slice(&sum.to_le_bytes());
    mark[20..].copy_from_slice(&MARK_MAGIC);
    mark
}

/// Bytes of the group with which `bytes` begin, if they hold its head. `at` is their place in the
/// segment.
pub(super) fn length(bytes: &[u8], at: u64, salt: u64) -> Result<usize, Broken> {
    let (head, _) = read_head(bytes, at, salt)?;
    Ok(HEAD + word(head, 8) as usize + MARK)
}

fn read_head(bytes: &[u8], at: u64, salt: u64) -> Result<(&[u8; HEAD], Kind), Broken> {
    let head = bytes.first_chunk::<HEAD>().ok_or(Broken::Head)?;
    let kind = match word(head, 4) {
        EVENTS => Kind::Events,
        CLOSE => Kind::Close,
        _ => return Err(Broken::Head),
    };
    if head[..4] != HEAD_MAGIC || word(head, 36) != checksum(salt, at, Part::Head, &head[..36]) {
        return Err(Broken::Head);
    }
    Ok((head, kind))
}

/// Reads the group with which `bytes` begin. `at` is their place in the segment.
pub(super) fn read(bytes: &[u8], at: u64, salt: u64) -> Result<Group<'_>, Broken> {
    let (head, kind) = read_head(bytes, at, salt)?;
    let payload_len = word(head, 8) as usize;
    let (payload, rest) = bytes[HEAD..].split_at_checked(payload_len).ok_or(Broken::Payload)?;
    if word(head, 32) != checksum(salt, at, Part::Payload, payload) {
        return Err(Broken::Payload);
    }
    let found = &rest[..rest.len().min(MARK)];
    let length = HEAD + payload_len + MARK;
    let first_seq = double(head, 16);
    let expected = mark(salt, at, length as u32, double(head, 24), first_seq);
    if found != expected {
        let good = found.iter().zip(&expected).take_while(|(found, good)| found == good).count();
        let cut = found[good..].iter().all(|&byte| byte == 0);
        return Err(if cut { Broken::MarkCut } else { Broken::Mark });
    }
    Ok(Group { kind, first_seq, count: word(head, 12), payload, length })
}

/// What whole end marks say that stand in `bytes`, the rest of a segment from `at` on: `None` when
/// there is none, and else the furthest place that one of them knew to be on the disk.
pub(super) fn marks(bytes: &[u8], at: u64, salt: u64) -> Option<u64> {
    let mut furthest = None;
    for magic in memmem::find_iter(bytes, &MARK_MAGIC) {
        let end = magic + MARK_MAGIC.len();
        let Some(start) = end.checked_sub(MARK) else { continue };
        let found = &bytes[start..end];
        let length = word(found, 0) as usize;
        // The group must have started at the broken place or after it.
        let Some(begin) = end.checked_sub(length) else { continue };
        let group_at = at + begin as u64;
        if word(found, 16) == checksum(salt, group_at, Part::Mark, &found[..16]) {
            furthest = furthest.max(Some(u64::from(word(found, 4))));
        }
    }
    furthest
}

#[derive(Clone, Copy)]
enum Part {
    Head = 1,
    Payload = 2,
    Mark = 3,
}

/// CRC-32C, started from what cannot be known or repeated elsewhere.
fn checksum(salt: u64, at: u64, part: Part, bytes: &[u8]) -> u32 {
    let seed = mix(salt ^ mix(at ^ ((part as u64) << 56)));
    crc32c::crc32c_append((seed >> 32) as u32, bytes)
}

/// Spreads a number over 64 bits (the finaliser of SplitMix64).
pub(super) const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The little-endian number at `at`; the caller knows that it is there.
pub(super) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has checked the length"))
}

/// Like [`word`], eight bytes.
pub(super) fn double(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has checked the length"))
}

#[cfg(test)]
mod tests {
    //! Framing: whole groups read back, cut ones are seen to be cut, and nothing passes for one.

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const SALT: u64 = 0x1234_5678_9abc_def0;
    const AT: usize = 512;

    fn segment(payload: &[u8]) -> Vec<u8> {
        let mut group = vec![0; HEAD];
        group.extend_from_slice(payload);
        let at = AT as u64;
        seal(
            &mut group,
            &Seal { kind: Kind::Events, salt: SALT, at, synced: at, first_seq: 9, count: 3 },
        );
        let mut segment = vec![0; AT];
        segment.extend_from_slice(&group);
        segment.resize(segment.len() + 100, 0);
        segment
    }

    #[test]
    fn a_group_reads_back_as_itself() {
        let segment = segment(b"records");
        let group = read(&segment[AT..], AT as u64, SALT).unwrap();
        assert_eq!((group.kind, group.first_seq, group.count), (Kind::Events, 9, 3));
        assert_eq!(group.payload, b"records");
        assert_eq!(group.length, HEAD + 7 + MARK);
        assert_eq!(length(&segment[AT..AT + HEAD], AT as u64, SALT), Ok(group.length));
        assert_eq!(marks(&segment[AT..], AT as u64, SALT), Some(AT as u64));
    }

    #[test]
    fn a_group_cut_anywhere_is_broken_and_leaves_no_mark() {
        let whole = segment(b"tgENtgEN");
        let end = whole.len() - 100;
        for cut in AT..end {
            let mut torn = whole.clone();
            torn[cut..].fill(0);
            let broken = read(&torn[AT..], AT as u64, SALT).unwrap_err();
            assert_ne!(broken, Broken::Mark, "cut at {cut}");
            assert_eq!(marks(&torn[AT..], AT as u64, SALT), None, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_seen_and_not_taken_for_a_cut() {
        let whole = segment(b"some records");
        let end = whole.len() - 100;
        for at in AT..end {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            let broken = read(&flipped[AT..], AT as u64, SALT).unwrap_err();
            let marked = marks(&flipped[AT..], AT as u64, SALT).is_some();
            assert!(marked || broken == Broken::Mark, "flipped at {at}: {broken:?}");
        }
    }

    #[test]
    fn f66_a_group_elsewhere_or_under_another_salt_is_none() {
        let whole = segment(b"x");
        assert_eq!(read(&whole[AT..], AT as u64, SALT + 1), Err(Broken::Head));
        assert_eq!(read(&whole[AT..], AT as u64 - 1, SALT), Err(Broken::Head));
        assert_eq!(marks(&whole[AT..], AT as u64, SALT + 1), None);
    }

    #[test]
    fn f66_a_group_inside_an_event_is_no_mark() {
        // A stranger who knows everything but the salt copies a whole group into an event.
        let inner = segment(b"forged");
        let whole = segment(&inner[AT..]);
        let mut torn = whole.clone();
        torn[AT + HEAD + inner.len() - AT..].fill(0);
        assert_eq!(read(&torn[AT + HEAD..], (AT + HEAD) as u64, SALT), Err(Broken::Head));
        assert_eq!(marks(&torn[AT..], AT as u64, SALT), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..200), at in 0_u64..250) {
            let _ = read(&bytes, at, SALT);
            let _ = length(&bytes, at, SALT);
            let _ = marks(&bytes, at, SALT);
        }
    }
}
