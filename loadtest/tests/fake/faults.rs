//! The ways the fake server can be wrong.

use std::rc::Rc;

use super::wire::{EPOCH, chunk, control, event};
use super::{Conn, Stream};

pub const FAULT_AT: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Frames over many small chunks: no misbehaviour.
    CutChunks,
    Drop,
    /// That event and all after it.
    DropFrom,
    Double,
    Swap,
    WrongId,
    CorruptData,
    Misroute,
    Close,
    CloseMidFrame,
    EndEarly,
    CursorAhead,
    BadChunk,
    /// One event lost, declared, count right: no misbehaviour.
    HonestGap,
    WrongGapCount,
    /// Declared only after the next event.
    LateGap,
    /// Slow streams lose events from their rings and are not told.
    SilentRing,
    /// Slow streams' gaps declare one too few.
    ShortRingGap,
    /// Every tenth publish is refused: no misbehaviour.
    Refuse,
    RefuseYetDeliver,
    DuplicateId,
    /// One event between a stream's two connections goes to neither.
    SeamLoses,
    /// The last event before the cursor comes again behind it.
    SeamDoubles,
    /// That event is declared lost, with the right count: no misbehaviour.
    SeamGap,
    SeamWrongGapCount,
    /// `resumed: false`, and all the same everything comes, without a gap.
    SeamDenied,
    /// `hello` says another cursor than was asked for.
    SeamForgetsCursor,
    /// Closed after `hello`, without an end.
    SeamCloses,
    /// Every third return is shed: no misbehaviour.
    Shed,
    CapWithoutEnd,
    CapWithoutLastChunk,
    CapWrongReason,
}

pub(super) fn take_pending(stream: &mut Stream, fault: Fault, out: &mut Vec<u8>) {
    if let Some((after, to, count)) = stream.gap.take() {
        let count = if fault == Fault::ShortRingGap { count - 1 } else { count };
        if fault != Fault::SilentRing {
            out.extend_from_slice(&control::gap(after, to, count, "slow"));
        }
    }
    for (seq, frame) in stream.ring.drain(..) {
        out.extend_from_slice(&frame);
        stream.last_out = seq;
    }
}

/// The victim's event number `FAULT_AT` and the one after it.
pub(super) fn misbehave(fault: Fault, conn: &mut Conn, seq: u64, frame: Rc<[u8]>, data: &[u8]) {
    let stream = conn.stream.as_mut().unwrap();
    let first = stream.events == FAULT_AT;
    // Everything before goes out first, so that frames put into `out` are in place.
    take_pending(stream, fault, &mut conn.out);
    let out = &mut conn.out;
    let lost = seq - 2;
    match (fault, first) {
        (Fault::DropFrom, _) => {}
        (Fault::Drop | Fault::HonestGap | Fault::WrongGapCount | Fault::LateGap, true) => {}
        (Fault::Swap, true) => stream.held = Some((seq, frame)),
        (Fault::Double, true) => [&frame, &frame].iter().for_each(|f| out.extend_from_slice(f)),
        (Fault::WrongId, true) => out.extend_from_slice(&event(seq - 1, data)),
        (Fault::CorruptData, true) => {
            let mut data = data.to_vec();
            *data.last_mut().unwrap() ^= 1;
            out.extend_from_slice(&event(seq, &data));
        }
        (Fault::Close, true) => conn.close_when_flushed = true,
        (Fault::CloseMidFrame, true) => {
            out.extend_from_slice(&frame[..frame.len() / 2]);
            conn.close_when_flushed = true;
        }
        (Fault::EndEarly, true) => {
            out.extend_from_slice(&control::end("shutdown"));
            out.extend_from_slice(b"0\r\n\r\n");
            conn.close_when_flushed = true;
        }
        (Fault::CursorAhead, true) => {
            out.extend_from_slice(&chunk(format!(": hb\nid: {EPOCH}-{seq}\n\n").as_bytes()));
            out.extend_from_slice(&frame);
        }
        (Fault::BadChunk, true) => out.extend_from_slice(&control::with_size_off_by_one(&frame)),
        (Fault::Swap, false) => {
            out.extend_from_slice(&frame);
            let (_, held) = stream.held.take().unwrap();
            out.extend_from_slice(&held);
        }
        (Fault::HonestGap | Fault::WrongGapCount, false) => {
            let count = if fault == Fault::HonestGap { 1 } else { 2 };
            out.extend_from_slice(&control::gap(lost - 2, lost, count, "slow"));
            out.extend_from_slice(&frame);
        }
        (Fault::LateGap, false) => {
            out.extend_from_slice(&frame);
            out.extend_from_slice(&control::gap(lost - 2, lost, 1, "slow"));
        }
        _ => out.extend_from_slice(&frame),
    }
    stream.last_out = seq;
}
