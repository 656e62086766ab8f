//! How the fake server takes an event in and queues it to its streams.

use std::rc::Rc;

use super::faults::{FAULT_AT, Fault, misbehave};
use super::wire::{EPOCH, Request, event, event_in_pieces};
use super::{Conn, Server};

impl Server {
    pub(super) fn publish(&mut self, request: &Request) -> Vec<u8> {
        self.publishes += 1;
        let fault = self.options.fault;
        let refuse = matches!(fault, Fault::Refuse | Fault::RefuseYetDeliver)
            && self.publishes.is_multiple_of(10);
        let mut ids = Vec::new();
        let events = request.events();
        if !refuse || fault == Fault::RefuseYetDeliver {
            for (topic, data) in &events.0 {
                ids.push(format!("\"{EPOCH}-{}\"", self.fan_out(topic, data)));
            }
        }
        if fault == Fault::DuplicateId && self.publishes == FAULT_AT {
            ids[0] = format!("\"{EPOCH}-{}\"", self.seq - 2);
        }
        let (status, body) = match (refuse, events.1) {
            (true, _) => ("503 Service Unavailable", "{}".to_owned()),
            (false, true) => ("202 Accepted", format!("{{\"ids\":[{}],", ids.join(","))),
            (false, false) => ("202 Accepted", format!("{{\"id\":{},", ids[0])),
        };
        let rest = if refuse { "" } else { "\"durability\":\"memory\",\"duplicate\":false}" };
        let length = body.len() + rest.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}{rest}").into_bytes()
    }

    /// Returns the event's sequence number. They rise by two: odd ones are never given.
    fn fan_out(&mut self, topic: &str, data: &[u8]) -> u64 {
        self.seq += 2;
        let seq = self.seq;
        let frame: Rc<[u8]> = if self.options.fault == Fault::CutChunks {
            event_in_pieces(seq, data).into()
        } else {
            event(seq, data).into()
        };
        self.past.push((seq, topic.to_owned(), frame.clone()));
        if self.options.fault == Fault::Misroute {
            let stray = |(_, conn): &(usize, &mut Conn)| {
                conn.stream.as_ref().is_some_and(|s| s.victim && !s.topics.contains(&topic.into()))
            };
            if let Some((_, conn)) = self.conns.iter_mut().find(stray) {
                conn.out.extend_from_slice(&frame);
            }
        }
        let keys = self.subscribers.get(topic).cloned().unwrap_or_default();
        for key in keys {
            self.deliver(key, seq, frame.clone(), data);
            self.mark(key);
        }
        seq
    }

    fn deliver(&mut self, key: usize, seq: u64, frame: Rc<[u8]>, data: &[u8]) {
        let (fault, ring_frames) = (self.options.fault, self.options.ring_frames);
        let conn = &mut self.conns[key];
        let stream = conn.stream.as_mut().unwrap();
        stream.events += 1;
        if stream.victim && (FAULT_AT..=FAULT_AT + 1).contains(&stream.events) {
            return misbehave(fault, conn, seq, frame, data);
        }
        if stream.victim && fault == Fault::DropFrom && stream.events > FAULT_AT {
            return;
        }
        stream.ring.push_back((seq, frame));
        while stream.ring.len() > ring_frames {
            let (lost, _) = stream.ring.pop_front().unwrap();
            let (_, to, count) = stream.gap.get_or_insert((stream.last_out, 0, 0));
            (*to, *count) = (lost, *count + 1);
        }
    }
}
