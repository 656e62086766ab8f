//! How the fake server takes a stream up again, and how it can be wrong there: once, with
//! the first stream that returns and has missed something.

use super::faults::Fault;
use super::wire::control;
use super::{Server, Stream};

impl Server {
    pub(super) fn resume(&mut self, key: usize, topics: Vec<String>, cursor: u64) {
        let fault = self.options.fault;
        let out = &mut self.conns[key].out;
        self.returned += 1;
        if fault == Fault::Shed && self.returned.is_multiple_of(3) {
            out.extend_from_slice(&control::hello(cursor, true));
            out.extend_from_slice(b"b\r\nretry: 50\n\n\r\n0\r\n\r\n");
            self.conns[key].close_when_flushed = true;
            return self.mark(key);
        }
        let own = self.past.iter().filter(|(_, topic, _)| topics.contains(topic));
        let mut before = Vec::new();
        let mut missed = Vec::new();
        for (seq, _, frame) in own {
            let side = if *seq > cursor { &mut missed } else { &mut before };
            side.push((*seq, frame.clone()));
        }
        let fault = if self.wronged || missed.len() < 2 { Fault::None } else { fault };
        self.wronged |= fault != Fault::None;
        let (first, _) = missed.first().cloned().unwrap_or_default();
        let has_gap = matches!(fault, Fault::SeamGap | Fault::SeamWrongGapCount);
        let resumed = !has_gap && fault != Fault::SeamDenied;
        let said = if fault == Fault::SeamForgetsCursor { cursor - 2 } else { cursor };
        out.extend_from_slice(&control::hello(said, resumed));
        match fault {
            Fault::SeamLoses => drop(missed.remove(0)),
            Fault::SeamDoubles => missed.splice(..0, before.pop()).for_each(drop),
            Fault::SeamGap | Fault::SeamWrongGapCount => {
                let count = if fault == Fault::SeamGap { 1 } else { 2 };
                out.extend_from_slice(&control::gap(cursor, first, count, "expired"));
                missed.remove(0);
            }
            Fault::SeamCloses => {
                self.conns[key].close_when_flushed = true;
                return self.mark(key);
            }
            _ => {}
        }
        missed.iter().for_each(|(_, frame)| out.extend_from_slice(frame));
        let topics = self.join(key, topics);
        self.conns[key].stream = Some(Stream { topics, last_out: self.seq, ..Stream::default() });
        self.mark(key);
    }
}
