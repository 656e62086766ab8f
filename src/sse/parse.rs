//! An event stream as others send it: bytes in, events out, by WHATWG HTML 9.2.6. Incremental, so
//! that the bytes may come in any pieces, and bounded, so that a stream without an end of line or of
//! event takes no more memory than it may.
//!
//! Lines end in ASCII, which is no part of a longer UTF-8 sequence. So each field can be decoded by
//! itself, and the bytes are looked through once, for ends of lines. A line that is complete in what was
//! pushed is read in place; only what came without its end is copied. Called by
//! `event_stream`, `hook` and `subscribe`.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::mem;

use memchr::memchr2;

/// "UTF-8 decode" takes one byte order mark off the beginning of a stream.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The longest name of a field, the colon, the space and a byte order mark: what a line may have beside
/// its value.
const LINE_SLACK: usize = 16;

/// Buffers above this are given back when the event is over, so that one large event does not make
/// every idle stream large.
const KEEP_BYTES: usize = 4 * 1024;

/// Where an event stream is. Holds at most one line and one event, each of at most
/// `event_bytes_max`, and two ids.
#[derive(Debug)]
pub struct Parser {
    event_bytes_max: usize,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// That line is longer than it may be; its rest is not held.
    line_is_too_long: bool,
    is_first_line: bool,
    /// The last line ended with CR: an LF that comes next belongs to it.
    after_cr: bool,
    event: Buffers,
    /// The event has been given out, and what comes next begins another one.
    event_is_over: bool,
    /// "The last event ID buffer": what the stream has said, perhaps in an event that is not over.
    id: String,
    /// "The last event ID string": what to resume from.
    last_event_id: String,
}

/// What an event has so far.
#[derive(Debug, Default)]
struct Buffers {
    name: String,
    data: String,
    /// An empty line of data is data.
    has_data: bool,
    has_id: bool,
    is_too_large: bool,
}

/// What a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An event.
    Event(Message<'a>),
    /// The delay before a reconnect, in milliseconds.
    Retry(u64),
    /// There was an event larger than it may be. It is gone; its id counts.
    TooLarge,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its name; `None` means `message`.
    pub event: Option<&'a str>,
    /// Its data, with LF between lines.
    pub data: &'a str,
    /// The id that the stream has given last, in this event or before; empty for none.
    pub last_event_id: &'a str,
    /// Whether it was this event that gave it.
    pub has_id: bool,
}

/// What a line does beyond changing the buffers.
enum Step {
    Nothing,
    Retry(u64),
    EndOfEvent,
}

impl Parser {
    /// A parser at the beginning of a stream. Name, data and id of one event have at most
    /// `event_bytes_max` bytes. `last_event_id` is what the stream was asked to resume from: browsers
    /// keep it until the stream gives another.
    pub fn new(event_bytes_max: usize, last_event_id: &str) -> Self {
        Self {
            event_bytes_max,
            line: Vec::new(),
            line_is_too_long: false,
            is_first_line: true,
            after_cr: false,
            event: Buffers::default(),
            event_is_over: false,
            id: last_event_id.to_owned(),
            last_event_id: last_event_id.to_owned(),
        }
    }

    /// The id to resume from: that of the last event that was complete, or of a block without data.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Whether the stream would break off within a line or an event if it ended here.
    pub fn is_within_event(&self) -> bool {
        let Buffers { name, has_data, is_too_large, .. } = &self.event;
        let has_begun = *has_data || *is_too_large || !name.is_empty();
        (has_begun && !self.event_is_over) || !self.line.is_empty() || self.id != self.last_event_id
    }

    /// Reads up to the next item and takes what it has read off the front of `input`; `None` when all
    /// of it is read. What the stream said before its end but did not complete is discarded with the
    /// parser: "if the file ends in the middle of an event, before the final empty line, the incomplete
    /// event is not dispatched".
    pub fn pull(&mut self, input: &mut &[u8]) -> Option<Item<'_>> {
        if mem::take(&mut self.event_is_over) {
            self.event.clear();
        }
        loop {
            if let Some((&first, rest)) = input.split_first()
                && mem::take(&mut self.after_cr)
                && first == b'\n'
            {
                *input = rest;
            }
            let Some(end) = memchr2(b'\r', b'\n', input) else {
                self.hold(mem::take(input));
                return None;
            };
            let (piece, rest) = (&input[..end], &input[end + 1..]);
            self.after_cr = input[end] == b'\r';
            *input = rest;
            match self.end_line(piece) {
                Step::Nothing => {}
                Step::Retry(ms) => return Some(Item::Retry(ms)),
                Step::EndOfEvent => {
                    if let Some(is_too_large) = self.end_event() {
                        return Some(if is_too_large { Item::TooLarge } else { self.message() });
                    }
                }
            }
        }
    }

    /// Keeps the beginning of a line, as far as a line may go.
    fn hold(&mut self, piece: &[u8]) {
        let room = self.event_bytes_max.saturating_add(LINE_SLACK) - self.line.len();
        self.line_is_too_long |= piece.len() > room;
        self.line.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// Reads a line whose last piece this is.
    fn end_line(&mut self, piece: &[u8]) -> Step {
        if self.line.is_empty() {
            let is_too_long = piece.len() > self.event_bytes_max.saturating_add(LINE_SLACK);
            return self.read_line(piece, is_too_long);
        }
        self.hold(piece);
        let mut line = mem::take(&mut self.line);
        let is_too_long = mem::take(&mut self.line_is_too_long);
        let step = self.read_line(&line, is_too_long);
        line.clear();
        line.shrink_to(KEEP_BYTES);
        self.line = line;
        step
    }

    fn read_line(&mut self, line: &[u8], is_too_long: bool) -> Step {
        let line = match mem::take(&mut self.is_first_line) {
            true => line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line),
            false => line,
        };
        let (name, value) = match memchr::memchr(b':', line) {
            // "If the line is empty (a blank line): Dispatch the event."
            None if line.is_empty() => return Step::EndOfEvent,
            // "If the line starts with a U+003A COLON character (:): Ignore the line."
            Some(0) => return Step::Nothing,
            _ if is_too_long => {
                self.event.give_up();
                return Step::Nothing;
            }
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        // "If value starts with a U+0020 SPACE character, remove it from value."
        let value = value.strip_prefix(b" ").unwrap_or(value);
        self.read_field(name, value)
    }

    fn read_field(&mut self, name: &[u8], value: &[u8]) -> Step {
        match name {
            b"event" => self.event.set_name(&decode(value), self.event_bytes_max),
            b"data" => self.event.add_data(&decode(value), self.event_bytes_max),
            // "If the field value does not contain U+0000 NULL, then set the last event ID buffer to
            // the field value. Otherwise, ignore the field."
            b"id" if memchr::memchr(0, value).is_none() => self.set_id(&decode(value)),
            // "If the field value consists of only ASCII digits, then interpret the field value as an
            // integer in base ten, and set the event stream's reconnection time to that integer."
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let add = |ms: u64, digit: &u8| {
                    ms.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
                };
                return Step::Retry(value.iter().fold(0, add));
            }
            _ => {}
        }
        Step::Nothing
    }

    fn set_id(&mut self, id: &str) {
        self.event.has_id = true;
        if id.len() > self.event_bytes_max {
            self.event.give_up();
        } else if id != self.id {
            id.clone_into(&mut self.id);
        }
    }

    /// A blank line. Says whether there was an event, and whether that was too large.
    fn end_event(&mut self) -> Option<bool> {
        // "Set the last event ID string of the event source to the value of the last event ID buffer.
        // The buffer does not get reset."
        if self.last_event_id != self.id {
            self.last_event_id.clone_from(&self.id);
        }
        let Buffers { has_data, is_too_large, .. } = self.event;
        if has_data || is_too_large {
            self.event_is_over = true;
            return Some(is_too_large);
        }
        // "If the data buffer is an empty string, set the data buffer and the event type buffer to the
        // empty string and return."
        self.event.clear();
        None
    }

    fn message(&self) -> Item<'_> {
        let Buffers { name, data, has_id, .. } = &self.event;
        let event = Some(name.as_str()).filter(|name| !name.is_empty());
        Item::Event(Message { event, data, last_event_id: &self.last_event_id, has_id: *has_id })
    }
}

impl Buffers {
    /// "Set the event type buffer to the field value."
    fn set_name(&mut self, name: &str, bytes_max: usize) {
        if self.data.len() + name.len() > bytes_max {
            self.give_up();
        } else if !self.is_too_large {
            name.clone_into(&mut self.name);
        }
    }

    /// "Append the field value to the data buffer, then append a single U+000A LINE FEED (LF) character
    /// to the data buffer." The last of these LFs is removed when the event is dispatched; here it is
    /// written before the next line instead.
    fn add_data(&mut self, line: &str, bytes_max: usize) {
        if self.name.len() + self.data.len() + line.len() + usize::from(self.has_data) > bytes_max {
            self.give_up();
        }
        if self.is_too_large {
            return;
        }
        if mem::replace(&mut self.has_data, true) {
            self.data.push('\n');
        }
        self.data.push_str(line);
    }

    /// What is held of a too large event is of no use.
    fn give_up(&mut self) {
        self.clear();
        self.is_too_large = true;
    }

    fn clear(&mut self) {
        for buffer in [&mut self.name, &mut self.data] {
            buffer.clear();
            buffer.shrink_to(KEEP_BYTES);
        }
        self.has_data = false;
        self.has_id = false;
        self.is_too_large = false;
    }
}

/// "Streams must be decoded using the UTF-8 decode algorithm", which replaces what is not UTF-8.
fn decode(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}
