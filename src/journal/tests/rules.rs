//! The rest of what must hold, by example: what an error leaves behind, what is kept and for how
//! long, and who may open what.

use std::time::Duration;

use super::super::sim::{Faults, Machine};
use super::super::{
    AppendError, Ended, Fault, Journal, OpenError, Options, RECORD_BYTES_MAX, SEQ_JUMP, SyncError,
    SyncMode, TrimError, WriteError,
};
use super::{Kept, assert_consecutive, open, options, record, session, trim, try_open, write};
use crate::sse::Epoch;

fn full() -> Faults {
    Faults { full: true, ..Faults::default() }
}

#[test]
fn j1_what_was_written_survives_a_kill_in_order() {
    let machine = Machine::new(1);
    let (mut journal, recovered, _) = open(&machine);
    assert_eq!((recovered.ended, recovered.next_seq), (Ended::New, 1));
    for frame in [b"a", b"b", b"c"] {
        write(&mut journal, frame);
    }
    drop(journal);
    let (_, recovered, kept) = open(&machine);
    let frames = [b"a", b"b", b"c"].map(|frame| frame.to_vec());
    let expected: Vec<_> = (1..).zip(frames).map(|(seq, frame)| Kept::Record(seq, frame)).collect();
    assert_eq!(kept, expected);
    assert_eq!((recovered.ended, recovered.next_seq), (Ended::Killed, 4));
    assert!(recovered.findings.is_empty() && recovered.holes.is_empty());
}

#[test]
fn f65_j1_a_group_cut_at_any_byte_is_cut_off_and_its_seqs_are_used_again() {
    let sample = Machine::new(1);
    let (mut journal, _, _) = open(&sample);
    write(&mut journal, b"kept");
    let start = 512 + 40 + 13 + 4 + 24;
    write(&mut journal, b"torn, tgEN, and cut off");
    drop(journal);
    let bytes = sample.read("0000000001.log");
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    for cut in start..end {
        let machine = sample.copy();
        let mut torn = bytes.clone();
        torn[cut..].fill(0);
        machine.tamper("0000000001.log", Some(torn));
        let (mut journal, recovered, kept) = open(&machine);
        assert_eq!(kept, [Kept::Record(1, b"kept".to_vec())], "cut at {cut}");
        assert_eq!(recovered.next_seq, 2);
        let faults: Vec<_> = recovered.findings.iter().map(|finding| finding.fault).collect();
        let expected: &[Fault] = if cut > start { &[Fault::TornTail] } else { &[] };
        assert_eq!(faults, expected, "cut at {cut}");
        write(&mut journal, b"again");
        journal.close().unwrap();
        let (_, recovered, kept) = open(&machine);
        assert_eq!(kept.len(), 2);
        assert_eq!(recovered.findings, []);
    }
}

#[test]
fn j2_after_a_power_loss_ids_that_may_be_known_are_never_given_again() {
    for (mode, next_seq) in [(SyncMode::Always, 2), (SyncMode::Interval, 2 + SEQ_JUMP)] {
        let machine = Machine::new(1);
        let (mut journal, _, _) = try_open(&machine, options(2048), session(mode, 1)).unwrap();
        write(&mut journal, b"synced");
        journal.sync().unwrap();
        drop(journal);
        machine.power_cut();
        let (_, recovered, kept) = try_open(&machine, options(2048), session(mode, 2)).unwrap();
        assert_eq!(kept[0], Kept::Record(1, b"synced".to_vec()));
        assert_eq!((recovered.ended, recovered.next_seq), (Ended::PowerLoss, next_seq));
        assert_eq!(recovered.holes.len(), usize::from(mode == SyncMode::Interval));
    }
}

#[test]
fn j2_an_unreadable_boot_id_counts_as_another_and_a_clean_end_as_none() {
    let unknown = |mode| super::Session { boot: None, ..session(mode, 1) };
    for close in [true, false] {
        let machine = Machine::new(1);
        let opened = try_open(&machine, options(2048), unknown(SyncMode::Interval));
        let mut journal = opened.unwrap().0;
        write(&mut journal, b"x");
        if close {
            journal.close().unwrap();
        } else {
            drop(journal);
        }
        let opened = try_open(&machine, options(2048), unknown(SyncMode::Interval));
        let recovered = opened.unwrap().1;
        let expected = if close { Ended::Clean } else { Ended::PowerLoss };
        assert_eq!(recovered.ended, expected);
        assert_eq!(recovered.next_seq, if close { 2 } else { 2 + SEQ_JUMP });
    }
}

/// Damage in what was synced is told from a torn tail by the groups behind it, which knew.
#[test]
fn f66_damage_before_a_power_loss_is_not_taken_for_a_torn_tail() {
    let machine = Machine::new(1);
    let (mut journal, _, _) =
        try_open(&machine, options(4096), session(SyncMode::Always, 1)).unwrap();
    for frame in [b"1", b"2", b"3"] {
        write(&mut journal, frame);
        journal.sync().unwrap();
    }
    drop(journal);
    let mut bytes = machine.read("0000000001.log");
    bytes[512 + 40 + 13] ^= 1;
    machine.tamper("0000000001.log", Some(bytes));
    let (_, recovered, kept) =
        try_open(&machine, options(4096), session(SyncMode::Always, 2)).unwrap();
    assert_eq!(recovered.findings.iter().map(|f| f.fault).collect::<Vec<_>>(), [Fault::Damaged]);
    assert_eq!(kept, [Kept::Hole(0, SEQ_JUMP)]);
    assert!(machine.names().contains(&"quarantine/0000000001.log".to_owned()));
}

#[test]
fn f67_j4_a_second_process_is_refused_by_name() {
    let machine = Machine::new(1);
    let (journal, _, _) = open(&machine);
    let second = try_open(&machine, options(2048), session(SyncMode::Interval, 1));
    let error = second.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains("simulated"), "{error}");
    drop(journal);
    open(&machine);
}

#[test]
fn j5_records_come_in_the_order_of_their_seqs_only() {
    let machine = Machine::new(1);
    let (mut journal, _, _) = open(&machine);
    for seq in [0, 2, 1 << 40] {
        let refused = journal.append(&record(seq, b"x"));
        assert_eq!(refused, Err(AppendError::OutOfOrder { expected: 1 }));
    }
    journal.append(&record(1, b"x")).unwrap();
    assert_eq!(journal.append(&record(1, b"x")), Err(AppendError::OutOfOrder { expected: 2 }));
}

#[test]
fn j6_the_epoch_of_a_log_never_changes() {
    let machine = Machine::new(1);
    let (mut journal, _, _) = open(&machine);
    write(&mut journal, b"x");
    drop(journal);
    let other = super::Session { fresh_epoch: Epoch::new(0xdef), ..session(SyncMode::Always, 3) };
    let (journal, recovered, _) = try_open(&machine, options(2048), other).unwrap();
    assert_eq!((journal.epoch(), recovered.epoch), (Epoch::new(0xabc), Epoch::new(0xabc)));
}

#[test]
fn j6_another_format_version_is_refused_and_left_alone() {
    for file in ["meta", "0000000001.log"] {
        let machine = Machine::new(1);
        let (mut journal, _, _) = open(&machine);
        write(&mut journal, b"x");
        journal.close().unwrap();
        let mut bytes = machine.read(file);
        bytes[8] = 2;
        let sum = crc32c::crc32c(&bytes[..12]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        machine.tamper(file, Some(bytes.clone()));
        let refused = try_open(&machine, options(2048), session(SyncMode::Always, 1));
        let error = refused.map(|_| ()).unwrap_err();
        assert!(matches!(error, OpenError::Version { found: 2, .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
        assert_eq!(machine.read(file), bytes);
    }
}

#[test]
fn f63_a_full_disk_refuses_a_group_without_a_trace_and_takes_a_later_one() {
    for seed in 0..200 {
        let machine = Machine::new(seed);
        let (mut journal, _, _) = open(&machine);
        write(&mut journal, b"before");
        machine.set_faults(full());
        let mut refused = 0;
        for _ in 0..20 {
            let frame = vec![b'x'; 1000];
            let seq = journal.next_seq();
            journal.append(&record(seq, &frame)).unwrap();
            match journal.write() {
                Err(WriteError::Full(_)) => refused += 1,
                written => assert_eq!(written.unwrap().first_seq, seq),
            }
        }
        assert!(refused > 0);
        machine.set_faults(Faults::default());
        let last = journal.next_seq();
        write(&mut journal, b"after");
        drop(journal);
        let (_, recovered, kept) = open(&machine);
        assert_consecutive(&recovered, &kept);
        assert_eq!(kept.last(), Some(&Kept::Record(last, b"after".to_vec())));
        assert_eq!(kept.len() as u64, last);
        assert_eq!(recovered.findings, [], "seed {seed}");
    }
}

#[test]
fn f63_the_oldest_segments_go_from_a_full_disk() {
    let machine = Machine::new(1);
    let small = Options { bytes_max: 2048, ..options(1024) };
    let (mut journal, _, _) = try_open(&machine, small, session(SyncMode::Interval, 1)).unwrap();
    for _ in 0..10 {
        write(&mut journal, &[7; 300]);
    }
    let before = journal.bytes();
    // Nothing new can be made; what `meta` needs is there.
    machine.set_faults(full());
    let trimmed = loop {
        match trim(&mut journal, 0, &[]) {
            Err(TrimError::Full(_)) => {}
            trimmed => break trimmed.unwrap(),
        }
    };
    assert!(trimmed.segments > 0);
    assert_eq!(journal.bytes(), before - trimmed.bytes);
    assert!(journal.bytes() <= 2048);
}

#[test]
fn f64_after_an_error_of_a_sync_the_log_takes_nothing_more() {
    let machine = Machine::new(1);
    let small = Options { bytes_max: 0, ..options(1024) };
    let (mut journal, _, _) = try_open(&machine, small, session(SyncMode::Interval, 1)).unwrap();
    write(&mut journal, &[7; 300]);
    write(&mut journal, &[7; 300]);
    machine.set_faults(Faults { sync: true, ..Faults::default() });
    assert!(matches!(journal.sync(), Err(SyncError(Some(_)))));
    machine.set_faults(Faults::default());
    let syncs = machine.syncs();
    assert!(matches!(journal.sync(), Err(SyncError(None))));
    assert_eq!(journal.append(&record(3, b"y")), Err(AppendError::Failed));
    assert!(matches!(journal.write(), Err(WriteError::Failed(None))));
    assert!(matches!(trim(&mut journal, 0, &[]), Err(TrimError::Failed(None))));
    assert!(journal.close().is_err());
    assert_eq!(machine.syncs(), syncs, "a sync was tried again");
}

#[test]
fn what_is_too_large_is_refused_before_anything_else() {
    let machine = Machine::new(1);
    let (mut journal, _, _) = open(&machine);
    let huge = vec![0; RECORD_BYTES_MAX];
    assert_eq!(journal.append(&record(99, &huge)), Err(AppendError::TooLarge));
    let over = vec![0; journal.room() - 12];
    assert_eq!(journal.append(&record(1, &over)), Err(AppendError::TooLarge));
    journal.append(&record(1, &over[1..])).unwrap();
    assert_eq!(journal.append(&record(2, b"")), Err(AppendError::GroupFull));
    journal.write().unwrap();
    assert_eq!(journal.segments(), 1, "a whole segment's worth fits into one");
    write(&mut journal, b"next");
    assert_eq!(journal.segments(), 2);
}

#[test]
fn the_oldest_segments_go_by_bytes_and_by_age() {
    let machine = Machine::new(1);
    let bounded = Options { bytes_max: 3500, age_max: Duration::from_secs(10), ..options(1024) };
    let opened = try_open(&machine, bounded, session(SyncMode::Interval, 1));
    let mut journal = opened.unwrap().0;
    for _ in 0..12 {
        write(&mut journal, &[7; 300]);
    }
    let trimmed = trim(&mut journal, 1_000, &[]).unwrap();
    assert!(trimmed.segments > 0 && journal.bytes() <= 3500);
    assert!(journal.excess(1_000).is_none());
    let first_seq = trimmed.first_seq;
    drop(journal);
    let by_age = Options { bytes_max: u64::MAX, ..bounded };
    let (mut journal, recovered, kept) =
        try_open(&machine, by_age, session(SyncMode::Interval, 1)).unwrap();
    assert_eq!(recovered.first_seq, first_seq);
    assert!(recovered.findings.is_empty() && recovered.holes.is_empty());
    assert!(matches!(kept[0], Kept::Record(seq, _) if seq == first_seq));
    // Records are from 1001 ms on; a clock that is far behind deletes nothing.
    assert!(journal.excess(0).is_none());
    let trimmed = trim(&mut journal, 1_000_000, &[]).unwrap();
    assert_eq!(journal.segments(), 1, "the newest segment stays");
    assert!(journal.excess(1_000_000).is_none());
    assert_eq!(trimmed.first_seq, recovered.next_seq);
}

#[test]
fn starting_again_and_again_leaves_no_files() {
    let machine = Machine::new(1);
    for _ in 0..20 {
        drop(open(&machine));
    }
    let segments = machine.names().iter().filter(|name| name.ends_with(".log")).count();
    assert_eq!(segments, 1);
}

#[test]
fn options_that_contradict_themselves_are_refused() {
    for bytes in [0, 1023, (1 << 30) + 1] {
        let disk = Machine::new(1).disk();
        let opened = Journal::open(disk, options(bytes), session(SyncMode::Always, 1), |_| {});
        assert!(matches!(opened.map(|_| ()), Err(OpenError::Options(_))));
    }
}
