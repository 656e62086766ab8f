//! The journal on a simulated disk: what it promises after a kill, a power loss, damage, a full disk
//! and a failing one. `driver.rs` does random things and keeps a ledger, `damage.rs` flips every byte
//! of a sample, `hostile.rs` feeds it nonsense, `codec.rs` is the codec's, `interrupted.rs`
//! cuts off openings, `rules.rs` has the rest by example.

mod codec;
mod damage;
mod driver;
mod hostile;
mod interrupted;
mod rules;
mod values;

use std::time::Duration;

use super::sim::{Machine, SimDisk};
use super::{
    BootId, Item, Journal, OpenError, Options, Record, Recovered, Retain, Session, SyncMode, To,
    TrimError, Trimmed,
};
use crate::sse::Epoch;

/// A record that was read, as tests compare it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Value(u64, Vec<u8>),
    Record(u64, Vec<u8>),
    /// After, to.
    Hole(u64, u64),
}

impl Kept {
    fn new(item: Item<'_>) -> Self {
        match item {
            Item::Value(record) => Self::Value(record.seq, record.frame.to_vec()),
            Item::Record(record, _) => Self::Record(record.seq, record.frame.to_vec()),
            Item::Hole(hole) => Self::Hole(hole.after, hole.to),
        }
    }
}

fn options(segment_bytes: u64) -> Options {
    Options { segment_bytes, bytes_max: u64::MAX, age_max: Duration::MAX }
}

fn boot(number: u64) -> Option<BootId> {
    BootId::parse(&format!("{number:032x}"))
}

fn session(mode: SyncMode, boot_number: u64) -> Session {
    Session {
        mode,
        fresh_epoch: Epoch::new(0xabc),
        salt: 0x5a17 + boot_number,
        boot: boot(boot_number),
        now_ms: 1_000,
    }
}

fn record(seq: u64, frame: &[u8]) -> Record<'_> {
    Record {
        seq,
        accepted_ms: 1_000 + seq,
        expires_ms: None,
        to: To::Everyone,
        retain: Retain::No,
        key: None,
        frame,
    }
}

type Opened = (Journal<SimDisk>, Recovered, Vec<Kept>);

fn try_open(machine: &Machine, options: Options, session: Session) -> Result<Opened, OpenError> {
    let (mut kept, mut places) = (Vec::new(), Vec::new());
    let (journal, recovered) = Journal::open(machine.disk(), options, session, |item| {
        if let Item::Record(record, place) = item {
            places.push((place, record.seq));
        }
        kept.push(Kept::new(item));
    })?;
    // Whatever was found, cut and set aside: what was shown is where it was said to be.
    assert!(places.is_sorted());
    let mut again = Vec::new();
    let see = |record: Record<'_>| again.push(Kept::Record(record.seq, record.frame.to_vec()));
    journal.read_again(&places, see).unwrap();
    let is_record = |item: &&Kept| matches!(item, Kept::Record(..));
    assert!(kept.iter().filter(is_record).eq(&again));
    Ok((journal, recovered, kept))
}

/// Opens a log in the `Interval` mode, in the first run of the machine.
#[track_caller]
fn open(machine: &Machine) -> Opened {
    try_open(machine, options(2048), session(SyncMode::Interval, 1)).unwrap()
}

/// Appends one record with this frame and writes it.
#[track_caller]
fn write(journal: &mut Journal<SimDisk>, frame: &[u8]) {
    journal.append(&record(journal.next_seq(), frame)).unwrap();
    journal.write().unwrap();
}

/// A record of the value with this name.
fn value<'a>(seq: u64, name: &'a str, frame: &'a [u8]) -> Record<'a> {
    Record { retain: Retain::Keep { event_name: Some(name) }, ..record(seq, frame) }
}

/// Trims what is too much. `values` are all that there are.
fn trim(
    journal: &mut Journal<SimDisk>,
    now_ms: u64,
    values: &[Record<'_>],
) -> Result<Trimmed, TrimError> {
    let Some(excess) = journal.excess(now_ms) else { return Ok(Trimmed::default()) };
    let older = values.iter().filter(|value| value.seq < excess.first_seq());
    journal.trim(excess, older.copied())
}

/// The seqs and holes of everything kept fit together, from the first seq to the next. Before the
/// first are values, or a hole in their place.
#[track_caller]
fn assert_consecutive(recovered: &Recovered, kept: &[Kept]) {
    let mut next = recovered.first_seq;
    let is_before = |item: &&Kept| match **item {
        Kept::Value(seq, _) => seq < recovered.first_seq,
        Kept::Hole(after, to) => after == 0 && to + 1 == recovered.first_seq,
        Kept::Record(..) => false,
    };
    let before = kept.iter().take_while(is_before).count();
    assert!(kept[..before].is_sorted_by_key(|item| match item {
        Kept::Value(seq, _) | Kept::Record(seq, _) | Kept::Hole(_, seq) => *seq,
    }));
    for item in &kept[before..] {
        match *item {
            Kept::Value(seq, _) => panic!("the value {seq} is not before the first record"),
            Kept::Record(seq, _) => {
                assert_eq!(seq, next, "in {kept:?}");
                next += 1;
            }
            Kept::Hole(after, to) => {
                assert_eq!(after + 1, next, "in {kept:?}");
                assert!(to > after);
                next = to + 1;
            }
        }
    }
    assert_eq!(next, recovered.next_seq, "{recovered:?}");
}
