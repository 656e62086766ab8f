//! One record: an event as the log keeps it, to bytes and back. Pure; called by the writer for what
//! is appended and by the scan for what was read. Refuses what is larger than its bounds when
//! encoding, and whatever it did not write itself when decoding, without a panic.
//!
//! A record has no number of its own: its group says the first, and they are consecutive.

use std::fmt;

use crate::topic::Topic;

/// Most bytes of one encoded record. Well above what a publisher may send in one event; a segment
/// may be smaller, and then a record must fit into it.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Longest idempotency key, in bytes: what a publisher may give, and one that says of what it is.
pub const KEY_BYTES_MAX: usize = 257;

/// `length u32, flags u8, accepted_ms u64`: what every record starts with.
pub(super) const FRONT: usize = 4 + 1 + 8;

const RETAIN_MASK: u8 = 0b11;
const RETAIN_KEEP: u8 = 1;
const RETAIN_DELETE: u8 = 2;
const HAS_EXPIRY: u8 = 1 << 2;
const HAS_KEY: u8 = 1 << 3;
const HAS_TOPICS: u8 = 1 << 4;
const HAS_EVENT_NAME: u8 = 1 << 5;
const KNOWN_FLAGS: u8 = (1 << 6) - 1;

/// An event as the log keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the one order of the log's epoch, from 1.
    pub seq: u64,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_ms: u64,
    /// When it stops being of interest, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Which streams want it.
    pub to: To<'a>,
    /// What it does to the retained event of its topics.
    pub retain: Retain<'a>,
    /// The publisher's idempotency key, at most [`KEY_BYTES_MAX`] bytes.
    pub key: Option<&'a [u8]>,
    /// The sealed HTTP/1.1 chunk: what [`crate::sse::Frame::chunk`] gives.
    pub frame: &'a [u8],
}

/// Which streams want an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To<'a> {
    /// All of them.
    Everyone,
    /// Those that subscribe to one of these topics.
    Topics(TopicNames<'a>),
}

/// What an event does to the retained event of its topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retain<'a> {
    /// Nothing.
    #[default]
    No,
    /// It takes its place.
    Keep {
        /// The event's name, as retained events are told apart by it.
        event_name: Option<&'a str>,
    },
    /// It removes it.
    Delete {
        /// The name of the event that is removed.
        event_name: Option<&'a str>,
    },
}

/// The names of an event's topics: a publisher's, or those of a record that was read.
#[derive(Clone, Copy)]
pub struct TopicNames<'a>(Names<'a>);

#[derive(Clone, Copy)]
enum Names<'a> {
    Given(&'a [Topic]),
    /// The lengths, two bytes each, and the text that they divide; checked when decoded.
    Read {
        lengths: &'a [u8],
        text: &'a str,
    },
}

impl<'a> TopicNames<'a> {
    /// The names of these topics.
    pub fn new(topics: &'a [Topic]) -> Self {
        Self(Names::Given(topics))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match self.0 {
            Names::Given(topics) => topics.len(),
            Names::Read { lengths, .. } => lengths.len() / 2,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Each name, in the order in which the publisher gave them. They were topics when they were
    /// written; nothing but their being UTF-8 is checked again.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let (given, lengths, mut rest) = match self.0 {
            Names::Given(topics) => (topics, &[][..], ""),
            Names::Read { lengths, text } => (&[][..], lengths, text),
        };
        let read = lengths.chunks_exact(2).map_while(move |length| {
            let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
            let (name, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(name)
        });
        given.iter().map(Topic::as_str).chain(read)
    }

    fn text_len(&self) -> usize {
        match self.0 {
            Names::Given(topics) => topics.iter().map(|topic| topic.as_str().len()).sum(),
            Names::Read { text, .. } => text.len(),
        }
    }

    /// Takes names as they were read, if the lengths divide the text.
    fn read(lengths: &'a [u8], text: &'a [u8]) -> Option<Self> {
        let names = Self(Names::Read { lengths, text: std::str::from_utf8(text).ok()? });
        (names.iter().count() == names.len()).then_some(names)
    }
}

impl PartialEq for TopicNames<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for TopicNames<'_> {}

impl fmt::Debug for TopicNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Retain<'a> {
    fn flag(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Keep { .. } => RETAIN_KEEP,
            Self::Delete { .. } => RETAIN_DELETE,
        }
    }

    fn event_name(self) -> Option<&'a str> {
        match self {
            Self::No => None,
            Self::Keep { event_name } | Self::Delete { event_name } => event_name,
        }
    }
}

/// Bytes that `record` takes in the log, or `None` when a part of it is longer than its length
/// field can say or than its bound.
pub fn encoded_len(record: &Record<'_>) -> Option<usize> {
    let mut length = FRONT + record.expires_ms.map_or(0, |_| 8);
    if let Some(key) = record.key {
        length += 2 + key.len();
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
    }
    if let Some(name) = record.retain.event_name() {
        length += 2 + name.len();
        u16::try_from(name.len()).ok()?;
    }
    if let To::Topics(names) = record.to {
        u16::try_from(names.len()).ok()?;
        if names.iter().any(|name| name.len() > usize::from(u16::MAX)) {
            return None;
        }
        length += 2 + 2 * names.len() + names.text_len();
    }
    length += record.frame.len();
    (length <= RECORD_BYTES_MAX).then_some(length)
}

/// Appends `record`, whose [`encoded_len`] is `length`, to `out`.
pub(super) fn encode(record: &Record<'_>, length: usize, out: &mut Vec<u8>) {
    out.reserve(length);
    let event_name = record.retain.event_name();
    let flags = record.retain.flag()
        | record.expires_ms.map_or(0, |_| HAS_EXPIRY)
        | record.key.map_or(0, |_| HAS_KEY)
        | event_name.map_or(0, |_| HAS_EVENT_NAME)
        | if matches!(record.to, To::Topics(_)) { HAS_TOPICS } else { 0 };
    let mut front = [0; FRONT];
    front[..4].copy_from_slice(&((length - 4) as u32).to_le_bytes());
    front[4] = flags;
    front[5..].copy_from_slice(&record.accepted_ms.to_le_bytes());
    out.extend_from_slice(&front);
    if let Some(expires_ms) = record.expires_ms {
        out.extend_from_slice(&expires_ms.to_le_bytes());
    }
    if let Some(key) = record.key {
        put_short(key, out);
    }
    if let Some(name) = event_name {
        put_short(name.as_bytes(), out);
    }
    if let To::Topics(names) = record.to {
        out.extend_from_slice(&(names.len() as u16).to_le_bytes());
        for name in names.iter() {
            out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        }
        for name in names.iter() {
            out.extend_from_slice(name.as_bytes());
        }
    }
    out.extend_from_slice(record.frame);
}

fn put_short(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Bytes that say how long a record is.
pub(super) const LENGTH: usize = 4;

/// Bytes of the record at the start of `bytes`, which has at least [`LENGTH`]; `None` where no record
/// of ours is so long.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk::<LENGTH>()?)).ok()?;
    (length <= RECORD_BYTES_MAX - LENGTH).then_some(LENGTH + length)
}

/// Reads the record at the start of `bytes` and says what is after it. `None` where no record of
/// ours starts.
pub(super) fn decode(bytes: &[u8], seq: u64) -> Option<(Record<'_>, &[u8])> {
    let (record, after) = bytes.split_at_checked(length(bytes)?)?;
    Some((decode_body(&record[LENGTH..], seq)?, after))
}

fn decode_body(body: &[u8], seq: u64) -> Option<Record<'_>> {
    let mut left = Left(body);
    let [flags] = left.array()?;
    let accepted_ms = u64::from_le_bytes(left.array()?);
    if flags & !KNOWN_FLAGS != 0 {
        return None;
    }
    let expires_ms = match flags & HAS_EXPIRY {
        0 => None,
        _ => Some(u64::from_le_bytes(left.array()?)),
    };
    let key = match flags & HAS_KEY {
        0 => None,
        _ => Some(left.short()?),
    };
    let event_name = match flags & HAS_EVENT_NAME {
        0 => None,
        _ => Some(std::str::from_utf8(left.short()?).ok()?),
    };
    let retain = match flags & RETAIN_MASK {
        0 if event_name.is_none() => Retain::No,
        RETAIN_KEEP => Retain::Keep { event_name },
        RETAIN_DELETE => Retain::Delete { event_name },
        _ => return None,
    };
    let to = match flags & HAS_TOPICS {
        0 => To::Everyone,
        _ => To::Topics(left.topics()?),
    };
    if key.is_some_and(|key| key.len() > KEY_BYTES_MAX) {
        return None;
    }
    Some(Record { seq, accepted_ms, expires_ms, to, retain, key, frame: left.0 })
}

/// What of a record has not been read yet.
struct Left<'a>(&'a [u8]);

impl<'a> Left<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_le_bytes(self.array()?));
        self.take(length)
    }

    fn topics(&mut self) -> Option<TopicNames<'a>> {
        let count = usize::from(u16::from_le_bytes(self.array()?));
        let lengths = self.take(2 * count)?;
        let length = |pair: &[u8]| usize::from(u16::from_le_bytes([pair[0], pair[1]]));
        let text = self.take(lengths.chunks_exact(2).map(length).sum())?;
        TopicNames::read(lengths, text)
    }
}
