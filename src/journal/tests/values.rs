//! Retained values outlive the segments with their records: by example, and with a trim that is cut
//! off after each of its steps.

use std::time::Duration;

use super::super::sim::{Faults, Machine, SimDisk};
use super::super::{Fault, Journal, OpenError, Options, SyncMode, TrimError};
use super::{Kept, Opened, assert_consecutive, session, trim, try_open, value, write};

/// Small segments, of which one is kept.
const OPTIONS: Options = Options { segment_bytes: 1024, bytes_max: 0, age_max: Duration::MAX };

fn reopen(machine: &Machine, boot: u64) -> Opened {
    let opened = try_open(machine, OPTIONS, session(SyncMode::Interval, boot)).unwrap();
    assert_consecutive(&opened.1, &opened.2);
    opened
}

fn keep(journal: &mut Journal<SimDisk>, name: &str, frame: &[u8]) -> u64 {
    let seq = journal.next_seq();
    journal.append(&value(seq, name, frame)).unwrap();
    journal.write().unwrap();
    seq
}

/// Writes until there is another segment.
fn fill(journal: &mut Journal<SimDisk>) {
    let segments = journal.segments();
    while journal.segments() == segments {
        write(journal, &[7; 200]);
    }
}

fn shown(kept: &[Kept]) -> Vec<Kept> {
    kept.iter().filter(|item| matches!(item, Kept::Value(..))).cloned().collect()
}

/// A log in whose only file of values are 1 and 2.
fn sample() -> (Machine, Journal<SimDisk>) {
    let machine = Machine::new(1);
    let (mut journal, _, _) = reopen(&machine, 1);
    keep(&mut journal, "a", b"one");
    keep(&mut journal, "b", b"two");
    fill(&mut journal);
    let values = [value(1, "a", b"one"), value(2, "b", b"two")];
    assert_eq!(trim(&mut journal, 0, &values).unwrap().segments, 1);
    (machine, journal)
}

fn both() -> Vec<Kept> {
    vec![Kept::Value(1, b"one".to_vec()), Kept::Value(2, b"two".to_vec())]
}

#[test]
fn values_outlive_their_records_and_the_values_that_are_gone_do_not() {
    let (machine, mut journal) = sample();
    let first_seq = journal.next_seq() - 1;
    drop(journal);
    let (next, recovered, kept) = reopen(&machine, 1);
    journal = next;
    assert_eq!((shown(&kept), recovered.values), (both(), 2));
    assert_eq!(recovered.first_seq, first_seq);
    assert!(recovered.findings.is_empty() && recovered.holes.is_empty());
    // `b` is removed, and the record that says so is trimmed too.
    fill(&mut journal);
    trim(&mut journal, 0, &[value(1, "a", b"one")]).unwrap();
    drop(journal);
    let (mut journal, _, kept) = reopen(&machine, 1);
    assert_eq!(shown(&kept), [Kept::Value(1, b"one".to_vec())]);
    fill(&mut journal);
    trim(&mut journal, 0, &[]).unwrap();
    assert!(!machine.names().contains(&"values".to_owned()));
    drop(journal);
    let (_, recovered, kept) = reopen(&machine, 1);
    assert_eq!((shown(&kept), recovered.findings), (vec![], vec![]));
}

#[test]
fn f66_either_copy_of_meta_says_what_was_trimmed() {
    for at in [40, 4096 + 40] {
        let (machine, journal) = sample();
        drop(journal);
        let mut bytes = machine.read("meta");
        bytes[at] ^= 1;
        machine.tamper("meta", Some(bytes));
        let (_, recovered, kept) = reopen(&machine, 1);
        assert_eq!(recovered.findings.len(), 1, "{:?}", recovered.findings);
        assert_eq!(recovered.findings[0].fault, Fault::MetaCopy);
        assert_eq!((shown(&kept), recovered.holes), (both(), vec![]));
    }
}

#[test]
fn f63_without_room_for_the_values_nothing_is_trimmed_until_there_is() {
    let (machine, mut journal) = sample();
    fill(&mut journal);
    let values = [value(1, "a", b"one"), value(2, "b", b"two")];
    let bytes = journal.bytes();
    machine.set_faults(Faults { full: true, ..Faults::default() });
    assert!(matches!(trim(&mut journal, 0, &values), Err(TrimError::Full(_))));
    assert_eq!(journal.bytes(), bytes);
    machine.set_faults(Faults::default());
    write(&mut journal, b"goes on");
    assert_eq!(trim(&mut journal, 0, &values).unwrap().segments, 1);
    drop(journal);
    assert_eq!(shown(&reopen(&machine, 1).2), both());
}

#[test]
fn f64_an_error_of_a_sync_while_trimming_is_the_end_of_the_log() {
    let (machine, mut journal) = sample();
    fill(&mut journal);
    journal.sync().unwrap();
    machine.set_faults(Faults { sync: true, ..Faults::default() });
    let values = [value(1, "a", b"one")];
    assert!(matches!(trim(&mut journal, 0, &values), Err(TrimError::Failed(Some(_)))));
    machine.set_faults(Faults::default());
    assert!(matches!(trim(&mut journal, 0, &values), Err(TrimError::Failed(None))));
    drop(journal);
    assert_eq!(shown(&reopen(&machine, 1).2), both());
}

/// Trims a log of two values that were trimmed before, one whose record goes now, and one that a
/// record replaces which stays and is not on the disk yet. Says whether that was cut off at `step`.
fn trim_until(machine: &Machine, step: u64) -> bool {
    let (mut journal, _, _) = reopen(machine, 1);
    let [a, b] = ["a", "b"].map(|name| keep(&mut journal, name, name.as_bytes()));
    fill(&mut journal);
    trim(&mut journal, 0, &[value(a, "a", b"a"), value(b, "b", b"b")]).unwrap();
    let c = keep(&mut journal, "c", b"c");
    fill(&mut journal);
    journal.sync().unwrap();
    let new = keep(&mut journal, "b", b"new");
    assert!(c < journal.excess(0).unwrap().first_seq());
    machine.kill_after(step);
    let values = [value(a, "a", b"a"), value(c, "c", b"c"), value(new, "b", b"new")];
    trim(&mut journal, 0, &values).is_err()
}

#[test]
fn f65_a_trim_that_is_cut_off_anywhere_loses_no_value() {
    for (seed, power) in (0..100).flat_map(|seed| [(seed, true), (seed, false)]) {
        let mut step = 0;
        loop {
            let machine = Machine::new(seed);
            let is_cut_off = trim_until(&machine, step);
            if power {
                machine.power_cut();
            }
            machine.revive();
            let (_, recovered, kept) = reopen(&machine, if power { 2 } else { 1 });
            let what = format!("seed {seed}, step {step}, power {power}: {kept:?}");
            // A copy of `meta` may be torn.
            assert!(recovered.findings.iter().all(|f| f.fault == Fault::MetaCopy), "{what}");
            let is_there = |name: &str| {
                kept.iter().any(|item| match item {
                    Kept::Value(_, frame) | Kept::Record(_, frame) => frame == name.as_bytes(),
                    Kept::Hole(..) => false,
                })
            };
            assert!(is_there("a") && is_there("c"), "{what}");
            assert!(is_there("b") || is_there("new"), "{what}");
            if !is_cut_off {
                assert!(is_there("new"), "{what}");
                break;
            }
            step += 1;
        }
        assert!(step > 9, "only {step} steps");
    }
}

#[test]
fn j6_values_of_another_format_version_are_refused_and_left_alone() {
    let (machine, journal) = sample();
    drop(journal);
    let mut bytes = machine.read("values");
    bytes[8] = 2;
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    machine.tamper("values", Some(bytes.clone()));
    let refused = try_open(&machine, OPTIONS, session(SyncMode::Always, 1));
    let error = refused.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Version { found: 2, .. }), "{error}");
    assert_eq!(machine.read("values"), bytes);
}

#[test]
fn f66_the_values_of_an_earlier_trim_are_not_taken_for_the_last() {
    let (machine, mut journal) = sample();
    let earlier = machine.read("values");
    fill(&mut journal);
    trim(&mut journal, 0, &[value(1, "a", b"one")]).unwrap();
    journal.close().unwrap();
    machine.tamper("values", Some(earlier));
    let (_, recovered, kept) = reopen(&machine, 1);
    assert_eq!(recovered.findings[0].file, "values");
    assert_eq!(kept[0], Kept::Hole(0, recovered.first_seq - 1));
    assert!(machine.names().contains(&"quarantine/values".to_owned()));
    assert!(!machine.names().contains(&"values".to_owned()));
    let (_, recovered, _) = reopen(&machine, 1);
    assert_eq!(recovered.findings, []);
}
