//! What every published event carries as its data, and what an event id looks like.
//!
//! Data: `<number:016x>.<stamp:016x>.<sum:08x>.<padding>`. `number` counts the events
//! of the run; event `n` goes to topic `n % topics`, so it is the sequence number of
//! its topic too (`n / topics`). `stamp` is CLOCK_MONOTONIC nanoseconds, readable by
//! every process of the machine. `sum` ties both to this run, so that a torn or mixed
//! up frame cannot pass for a good one. Fixed widths make it cheap to read.

/// Bytes of an event's data before its padding.
pub(crate) const PAYLOAD_BYTES_MIN: usize = 16 + 1 + 16 + 1 + 8 + 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) number: u64,
    pub(crate) stamp_ns: u64,
}

/// How this run writes its events: shared by the publisher and the readers.
#[derive(Debug)]
pub(crate) struct PayloadFormat {
    nonce: u64,
    padding: Vec<u8>,
}

impl PayloadFormat {
    pub(crate) fn new(nonce: u64, event_bytes: usize) -> Self {
        let padding = (PAYLOAD_BYTES_MIN..event_bytes).map(|at| b'a' + (at % 26) as u8).collect();
        Self { nonce, padding }
    }

    pub(crate) fn write(&self, payload: Payload, out: &mut Vec<u8>) {
        let Payload { number, stamp_ns } = payload;
        push_hex(out, number, 16);
        push_hex(out, stamp_ns, 16);
        push_hex(out, u64::from(self.sum(payload)), 8);
        out.extend_from_slice(&self.padding);
    }

    /// `None`: these bytes are not an event of this run, whole and unchanged.
    pub(crate) fn read(&self, data: &[u8]) -> Option<Payload> {
        let (fields, padding) = data.split_at_checked(PAYLOAD_BYTES_MIN)?;
        let number = read_hex(&fields[..16])?;
        let stamp_ns = read_hex(&fields[17..33])?;
        let sum = read_hex(&fields[34..42])?;
        let payload = Payload { number, stamp_ns };
        let dots = fields[16] == b'.' && fields[33] == b'.' && fields[42] == b'.';
        let whole = dots && sum == u64::from(self.sum(payload)) && padding == self.padding;
        whole.then_some(payload)
    }

    fn sum(&self, payload: Payload) -> u32 {
        let mixed = mix(payload.number ^ self.nonce) ^ mix(payload.stamp_ns);
        (mixed >> 32) as u32
    }
}

/// The finalizer of splitmix64: spreads every input bit over the output.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

fn push_hex(out: &mut Vec<u8>, value: u64, digits: u32) {
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * at) & 15) as usize]);
    }
    out.push(b'.');
}

/// The value of each lower-case hexadecimal digit; 0xff for every other byte.
const DIGITS: [u8; 256] = {
    let mut digits = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

fn read_hex(digits: &[u8]) -> Option<u64> {
    let (mut value, mut seen) = (0, 0);
    for &byte in digits {
        let digit = DIGITS[byte as usize];
        seen |= digit;
        value = value << 4 | u64::from(digit & 15);
    }
    (seen < 16).then_some(value)
}

/// `<epoch>-<seq>`, the epoch opaque, the sequence number decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EventId<'a> {
    pub(crate) epoch: &'a [u8],
    pub(crate) seq: u64,
}

impl<'a> EventId<'a> {
    /// The id of event `number` on servers whose own ids say nothing.
    pub(crate) fn of_number(number: u64) -> Self {
        Self { epoch: b"", seq: number }
    }

    pub(crate) fn parse(id: &'a [u8]) -> Option<Self> {
        let (mut at, mut seq, mut unit) = (id.len(), 0_u64, 1_u64);
        while at > 0 && id[at - 1].is_ascii_digit() {
            seq = seq.checked_add(u64::from(id[at - 1] - b'0').checked_mul(unit)?)?;
            unit = unit.saturating_mul(10);
            at -= 1;
        }
        let shaped = at > 1 && at < id.len() && id[at - 1] == b'-';
        // The two greatest numbers are kept free for the ledger's marks.
        (shaped && seq < u64::MAX - 1).then(|| Self { epoch: &id[..at - 1], seq })
    }
}

/// What belongs here: one event's bytes, there and back, and every single-byte change.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_changed_byte_is_noticed() {
        let format = PayloadFormat::new(7, 64);
        let payload = Payload { number: 0x0123_4567, stamp_ns: 99 };
        let mut data = Vec::new();
        format.write(payload, &mut data);
        assert_eq!(data.len(), 64);
        assert_eq!(format.read(&data), Some(payload));
        for (at, bit) in (0..data.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
            let mut changed = data.clone();
            changed[at] ^= 1 << bit;
            assert_eq!(format.read(&changed), None, "byte {at}, bit {bit}");
        }
        assert_eq!(format.read(&data[..63]), None);
        assert_eq!(PayloadFormat::new(8, 64).read(&data), None, "another run's event");
    }

    #[test]
    fn ids() {
        let id = EventId::parse(b"a-b3-120").unwrap();
        assert_eq!((id.epoch, id.seq), (&b"a-b3"[..], 120));
        for bad in ["", "-", "-1", "a-", "a1", "a-1x", "a-99999999999999999999"] {
            assert_eq!(EventId::parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
