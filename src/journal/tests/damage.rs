//! J3: a log that was written cleanly and then damaged at rest. Every byte of every file is changed
//! in several ways, every file is cut at every byte, and every segment is removed. No wrong record
//! is ever shown, the damage is always reported, and whatever is missing lies in a declared hole.

use std::collections::BTreeMap;

use super::super::sim::Machine;
use super::super::{Ended, Fault, Options, SyncMode};
use super::{
    Kept, assert_consecutive, open, options, record, session, trim, try_open, value, write,
};

/// Two values whose records have been trimmed, and three segments with records that look like groups.
struct Sample {
    machine: Machine,
    values: Vec<Kept>,
    first_seq: u64,
    frames: BTreeMap<u64, Vec<u8>>,
}

impl Sample {
    fn new(close: bool) -> Self {
        let machine = Machine::new(1);
        let trimming = Options { bytes_max: 0, ..options(1024) };
        let (mut journal, _, _) =
            try_open(&machine, trimming, session(SyncMode::Interval, 1)).unwrap();
        let values = [value(1, "a", &[1; 150]), value(2, "b", &[2; 150])];
        for value in &values {
            journal.append(value).unwrap();
        }
        journal.write().unwrap();
        let mut frames = BTreeMap::from([(3, vec![7; 20])]);
        write(&mut journal, &frames[&3]);
        let first_seq = trim(&mut journal, 0, &values).unwrap().first_seq;
        assert_eq!(first_seq, 3);
        let mut seq = 4;
        while journal.segments() < 3 || seq < 12 {
            let mut frame = format!("event {seq} tgEN TGgr ").into_bytes();
            frame.resize(40 + (seq as usize * 37) % 90, seq as u8);
            for half in [0, 1] {
                let one = [&frame[..], &[half]].concat();
                journal.append(&record(seq, &one)).unwrap();
                frames.insert(seq, one);
                seq += 1;
            }
            journal.write().unwrap();
        }
        journal.sync().unwrap();
        if close {
            journal.close().unwrap();
        }
        let values = values.map(|value| Kept::Value(value.seq, value.frame.to_vec()));
        Self { machine, values: values.into(), first_seq, frames }
    }

    fn last_seq(&self) -> u64 {
        *self.frames.last_key_value().unwrap().0
    }

    fn files(&self) -> Vec<String> {
        self.machine.names().into_iter().filter(|name| name != "lock").collect()
    }

    /// Opens the log with one file changed, twice: the second time what was repaired is at rest.
    #[track_caller]
    fn check(&self, what: &str, file: &str, bytes: Option<Vec<u8>>) {
        let machine = self.machine.copy();
        machine.tamper(file, bytes);
        let mut next_seq = 0;
        for round in 0..2 {
            let opened = try_open(&machine, options(1024), session(SyncMode::Interval, 1));
            let (journal, recovered, kept) = opened.unwrap();
            assert_consecutive(&recovered, &kept);
            assert_eq!(recovered.first_seq, self.first_seq, "{what}");
            assert!(round > 0 || !recovered.findings.is_empty(), "{what} is not reported");
            let values = kept.iter().filter(|item| matches!(item, Kept::Value(..)));
            let are_lost = values.clone().count() == 0 && file == "values";
            assert!(are_lost || values.eq(&self.values), "{what}: {kept:?}");
            if are_lost && round == 0 {
                assert_eq!(kept[0], Kept::Hole(0, self.first_seq - 1), "{what}");
            }
            let mut shown = 0;
            for item in &kept {
                if let Kept::Record(seq, frame) = item {
                    assert_eq!(self.frames.get(seq), Some(frame), "{what}: a wrong record");
                    shown += 1;
                }
            }
            assert!(recovered.next_seq > self.last_seq(), "{what}: {}", recovered.next_seq);
            assert!(recovered.next_seq >= next_seq, "{what}");
            next_seq = recovered.next_seq;
            if shown < self.frames.len() {
                assert!(!recovered.holes.is_empty(), "{what}");
            }
            drop(journal);
        }
        // What was set aside is what was found, and everything goes on.
        let (mut journal, recovered, _) = open(&machine);
        assert!(recovered.findings.iter().all(|f| matches!(f.fault, Fault::Missing { .. })));
        write(&mut journal, b"after");
        journal.close().unwrap();
        let (_, recovered, kept) = open(&machine);
        assert_eq!(recovered.ended, Ended::Clean, "{what}");
        assert_eq!(kept.last(), Some(&Kept::Record(next_seq, b"after".to_vec())), "{what}");
    }
}

#[test]
fn the_sample_is_sound() {
    for close in [true, false] {
        let sample = Sample::new(close);
        assert_eq!(sample.files().len(), 5);
        let (_, recovered, kept) = open(&sample.machine);
        assert_eq!(recovered.findings, []);
        assert_eq!(recovered.ended, if close { Ended::Clean } else { Ended::Killed });
        assert_eq!(kept.len(), sample.values.len() + sample.frames.len());
    }
}

#[test]
fn f66_any_flipped_byte_is_reported_and_its_loss_declared() {
    for close in [true, false] {
        let sample = Sample::new(close);
        for file in sample.files() {
            let bytes = sample.machine.read(&file);
            for at in 0..bytes.len() {
                for pattern in [0x01, 0x80, 0xff, 0x55] {
                    let mut flipped = bytes.clone();
                    flipped[at] ^= pattern;
                    let what = format!("{file} at {at} ^ {pattern:#x}, closed: {close}");
                    sample.check(&what, &file, Some(flipped));
                }
            }
        }
    }
}

/// A byte that was zero already cannot be zeroed. The last byte of the last group's mark in a log
/// that was not closed is left out: without it the group is one that was cut off one byte before
/// its end, and no file system can tell the two apart.
#[test]
fn f66_any_zeroed_byte_is_reported_and_its_loss_declared() {
    for close in [true, false] {
        let sample = Sample::new(close);
        for file in sample.files() {
            let bytes = sample.machine.read(&file);
            let last = bytes.iter().rposition(|&byte| byte != 0);
            for at in (0..bytes.len()).filter(|&at| bytes[at] != 0) {
                if !close && file == "0000000004.log" && Some(at) == last {
                    continue;
                }
                let mut zeroed = bytes.clone();
                zeroed[at] = 0;
                sample.check(&format!("{file} zeroed at {at}"), &file, Some(zeroed));
            }
        }
    }
}

#[test]
fn f66_a_file_cut_anywhere_is_reported_and_its_loss_declared() {
    for close in [true, false] {
        let sample = Sample::new(close);
        for file in sample.files() {
            let bytes = sample.machine.read(&file);
            for length in 0..bytes.len() {
                let what = format!("{file} cut at {length}, closed: {close}");
                sample.check(&what, &file, Some(bytes[..length].to_vec()));
            }
        }
    }
}

#[test]
fn f66_any_missing_file_is_reported_and_its_loss_declared() {
    for close in [true, false] {
        let sample = Sample::new(close);
        for file in sample.files() {
            sample.check(&format!("{file} removed, closed: {close}"), &file, None);
        }
    }
}

/// The same bytes elsewhere, and the bytes of one segment as another.
#[test]
fn f66_blocks_and_files_that_change_places_are_no_records() {
    let sample = Sample::new(true);
    let (first, second) = ("0000000002.log", "0000000003.log");
    let (one, two) = (sample.machine.read(first), sample.machine.read(second));
    sample.check("2 as 3", second, Some(one.clone()));
    sample.check("3 as 2", first, Some(two.clone()));
    let length = one.len().min(two.len());
    for at in (512..length - 64).step_by(16) {
        let mut mixed = two.clone();
        mixed[at..at + 64].copy_from_slice(&one[at..at + 64]);
        sample.check(&format!("64 bytes of 2 in 3 at {at}"), second, Some(mixed));
    }
}

/// When everything is gone but `meta`, ids still never repeat.
#[test]
fn f66_without_any_segment_the_seqs_go_on_behind_all_that_were_given() {
    let sample = Sample::new(true);
    for number in 2..=4 {
        sample.machine.tamper(&format!("{number:010}.log"), None);
    }
    let (_, recovered, kept) = open(&sample.machine);
    let hole = Kept::Hole(sample.first_seq - 1, recovered.next_seq - 1);
    assert_eq!(kept, [&sample.values[..], &[hole]].concat());
    assert!(recovered.next_seq > sample.last_seq());
    assert_eq!(recovered.ended, Ended::Unknown);
}
