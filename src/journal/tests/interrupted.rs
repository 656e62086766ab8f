//! Opening a log is cut off too: after each of its steps the process is killed or the power goes,
//! and the next opening must come to the same conclusions.

use super::super::sim::Machine;
use super::super::{Options, Session, SyncMode};
use super::{Kept, assert_consecutive, open, options, session, trim, try_open, write};
use crate::sse::Epoch;

/// Steps that no opening has more of.
const STEPS_MAX: u64 = 60;

/// Four segments with 32 records, closed or not.
fn sample(close: bool) -> Machine {
    let machine = Machine::new(1);
    let opened = try_open(&machine, options(2048), session(SyncMode::Interval, 1));
    let mut journal = opened.unwrap().0;
    for number in 1..=32 {
        write(&mut journal, &[number; 100]);
    }
    assert_eq!(journal.segments(), 4);
    journal.sync().unwrap();
    if close {
        journal.close().unwrap();
    }
    machine
}

/// What is damaged, and how.
type Damage = (&'static str, fn(&mut Vec<u8>));

/// Ways to damage the sample.
fn damages() -> Vec<Damage> {
    vec![
        ("header", |bytes| bytes[60] ^= 1),
        ("records", |bytes| bytes[900] ^= 1),
        ("length", |bytes| bytes.truncate(800)),
    ]
}

/// Opens until it succeeds after a crash at `step`; with the power gone in between, or not.
fn open_after_crash(machine: &Machine, step: u64, power: bool) -> bool {
    machine.kill_after(step);
    let crashed = try_open(machine, options(2048), session(SyncMode::Interval, 1)).is_err();
    if crashed && power {
        machine.power_cut();
    }
    machine.revive();
    let boot = if crashed && power { 2 } else { 1 };
    let session = session(SyncMode::Interval, boot);
    let (mut journal, recovered, kept) = try_open(machine, options(2048), session).unwrap();
    assert_consecutive(&recovered, &kept);
    assert!(recovered.next_seq > 32, "{recovered:?}");
    for item in &kept {
        if let Kept::Record(seq, frame) = item {
            assert_eq!(frame, &[*seq as u8; 100]);
        }
    }
    let left = kept.iter().filter(|item| matches!(item, Kept::Record(..))).count();
    assert!((16..32).contains(&left), "{left} records are left");
    write(&mut journal, b"after");
    crashed
}

#[test]
fn f66_a_repair_that_is_cut_off_anywhere_is_made_again() {
    for close in [true, false] {
        let sample = sample(close);
        for (what, damage) in damages() {
            for file in 1..=4 {
                let name = format!("{file:010}.log");
                let mut bytes = sample.read(&name);
                damage(&mut bytes);
                for power in [true, false] {
                    let crashes = (0..STEPS_MAX).filter(|step| {
                        let machine = sample.copy();
                        machine.tamper(&name, Some(bytes.clone()));
                        open_after_crash(&machine, *step, power)
                    });
                    let crashes = crashes.count() as u64;
                    assert!((10..STEPS_MAX).contains(&crashes), "{what} of {file}: {crashes}");
                }
            }
        }
    }
}

/// A copy of `meta` that a killed process left unsynced must not be the only whole one when the
/// power goes while the other is written.
#[test]
fn meta_survives_two_openings_that_are_cut_off() {
    let trimmed = Machine::new(3);
    let small = Options { bytes_max: 4096, ..options(2048) };
    let mut journal = try_open(&trimmed, small, session(SyncMode::Always, 1)).unwrap().0;
    for number in 0..40 {
        write(&mut journal, &[number; 100]);
    }
    let first_seq = trim(&mut journal, 0, &[]).unwrap().first_seq;
    assert!(first_seq > 1);
    journal.close().unwrap();
    // The steps around the writing of `meta`.
    for (first, second) in (5..12).flat_map(|first| (5..12).map(move |second| (first, second))) {
        for seed in 0..200 {
            let machine = trimmed.copy();
            machine.reseed(seed);
            for step in [first, second] {
                machine.kill_after(step);
                let _ = try_open(&machine, options(2048), session(SyncMode::Always, 1));
                machine.revive();
            }
            machine.power_cut();
            let other = Session { fresh_epoch: Epoch::new(9), ..session(SyncMode::Always, 2) };
            let recovered = try_open(&machine, options(2048), other).unwrap().1;
            assert_eq!((recovered.first_seq, recovered.next_seq), (first_seq, 41));
            assert_eq!(recovered.epoch, Epoch::new(0xabc));
        }
    }
    open(&trimmed);
}
