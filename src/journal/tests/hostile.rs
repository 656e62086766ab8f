//! Bytes that no journal has written: recovery reports them, sets them aside and goes on. It does
//! not panic, and takes no memory for what they announce.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::super::group::{self, HEAD, Kind, Seal};
use super::super::segment::{self, Before, Header};
use super::super::sim::Machine;
use super::super::{Finding, OpenError, SEGMENT_BYTES_MAX, SEQ_MAX, SyncMode};
use super::{assert_consecutive, boot, open, options, session, try_open, write};
use crate::sse::Epoch;

fn header(number: u64) -> Header {
    Header {
        number,
        epoch: Epoch::new(0xabc),
        base_seq: 1,
        length: 4096,
        boot: boot(1),
        mode: SyncMode::Interval,
        salt: 7,
        before: Before::default(),
        repaired_end: 0,
        created_ms: 0,
    }
}

/// A segment file with a right header and these groups' records, each framed as it should be.
fn framed(header: &Header, payloads: &[(u64, u32, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = header.encode().to_vec();
    for (first_seq, count, payload) in payloads {
        let mut group = vec![0; HEAD];
        group.extend_from_slice(payload);
        let seal = Seal {
            kind: Kind::Events,
            salt: header.salt,
            at: bytes.len() as u64,
            synced: 0,
            first_seq: *first_seq,
            count: *count,
        };
        group::seal(&mut group, &seal);
        bytes.extend_from_slice(&group);
    }
    bytes.resize(bytes.len().max(header.length.min(1 << 16) as usize), 0);
    bytes
}

/// Opens, whatever is there, and writes.
fn survive(machine: &Machine) {
    match try_open(machine, options(1024), session(SyncMode::Always, 1)) {
        Ok((mut journal, recovered, kept)) => {
            assert_consecutive(&recovered, &kept);
            write(&mut journal, b"on");
            journal.close().unwrap();
        }
        Err(error) => {
            assert!(matches!(error, OpenError::Exhausted | OpenError::Version { .. }), "{error}");
        }
    }
}

fn any_header() -> impl Strategy<Value = Header> {
    let number = prop_oneof![0_u64..5, any::<u64>(), Just(SEQ_MAX), Just(u64::MAX)];
    vec(number, 8).prop_map(|n| Header {
        base_seq: n[1],
        length: n[2],
        salt: n[3],
        before: Before { number: n[4], end: n[5], next_seq: n[6] },
        repaired_end: n[7],
        ..header(n[0])
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_as_files_never_panic(
        files in vec((0_u64..4, vec(any::<u8>(), 0..700)), 0..4),
        meta in proptest::option::of(vec(any::<u8>(), 0..9000)),
    ) {
        let machine = Machine::new(1);
        for (number, bytes) in files {
            machine.tamper(&segment::name(number), Some(bytes));
        }
        if let Some(meta) = meta {
            machine.tamper("meta", Some(meta));
        }
        survive(&machine);
    }

    #[test]
    fn right_checksums_over_nonsense_never_panic(
        headers in vec((1_u64..4, any_header()), 1..4),
        groups in vec((any::<u64>(), any::<u32>(), vec(any::<u8>(), 0..60)), 0..3),
        good_start: bool,
        own_number: bool,
    ) {
        let machine = Machine::new(1);
        for (number, mut header) in headers {
            header.number = if own_number { number } else { header.number };
            let mut groups = groups.clone();
            if let (true, Some(first)) = (good_start, groups.first_mut()) {
                (first.0, first.1) = (header.base_seq, first.1 % 3);
            }
            machine.tamper(&segment::name(number), Some(framed(&header, &groups)));
        }
        survive(&machine);
    }

    #[test]
    fn a_log_with_bytes_changed_anywhere_never_panics(
        changes in vec((0_usize..3, any::<Index>(), any::<u8>()), 1..6)
    ) {
        let machine = Machine::new(1);
        let (mut journal, _, _) = try_open(&machine, options(1024), session(SyncMode::Always, 1))
            .unwrap();
        for _ in 0..12 {
            write(&mut journal, &[7; 50]);
        }
        drop(journal);
        let names = ["0000000001.log", "0000000002.log", "meta"];
        for (file, at, byte) in changes {
            let mut bytes = machine.read(names[file]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            machine.tamper(names[file], Some(bytes));
        }
        survive(&machine);
    }
}

#[test]
fn a_header_that_announces_more_than_a_segment_is_damage() {
    let machine = Machine::new(1);
    let huge = Header { length: SEGMENT_BYTES_MAX + 1, ..header(1) };
    machine.tamper("0000000001.log", Some(framed(&huge, &[])));
    let (_, recovered, _) = open(&machine);
    assert!(recovered.findings.iter().any(Finding::is_damage));
}

#[test]
fn seqs_that_are_spent_are_an_error_and_not_a_panic() {
    let machine = Machine::new(1);
    let last = Header { base_seq: SEQ_MAX, boot: boot(2), ..header(1) };
    let group = (SEQ_MAX, 0, Vec::new());
    machine.tamper("0000000001.log", Some(framed(&last, &[group])));
    let refused = try_open(&machine, options(1024), session(SyncMode::Always, 1));
    assert!(matches!(refused, Err(OpenError::Exhausted)));
}
