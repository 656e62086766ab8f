//! The reference decoder of event streams: WHATWG HTML 9.2.6 to the letter, byte by byte, sharing
//! no code with the gateway's encoder. It knows nothing of HTTP: chunks are decoded in `http.rs`.

use std::mem::take;

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// The stream's last event id when the event was dispatched.
    pub id: String,
    /// The event's type; `message` when the stream named none.
    pub event: String,
    /// The data lines, joined by LF.
    pub data: String,
    /// The `retry:` of this event's own block, in milliseconds.
    pub retry: Option<u64>,
}

/// Turns the bytes of one stream into events, however the bytes are cut.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Text of every comment line so far, without the colon. Callers may drain it.
    pub comments: Vec<String>,
    line: Vec<u8>,
    first_line_done: bool,
    after_cr: bool,
    data: String,
    event_type: String,
    id_buffer: String,
    last_event_id: String,
    retry_of_block: Option<u64>,
    reconnection_time_ms: Option<u64>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a client would send as `Last-Event-ID` if the stream broke now.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// The last `retry:` of the stream, in milliseconds.
    pub fn reconnection_time_ms(&self) -> Option<u64> {
        self.reconnection_time_ms
    }

    /// Whether nothing is waiting for a blank line: a stream that ends elsewhere loses a block.
    pub fn at_block_boundary(&self) -> bool {
        self.line.is_empty()
            && self.data.is_empty()
            && self.event_type.is_empty()
            && self.retry_of_block.is_none()
            && self.id_buffer == self.last_event_id
    }

    /// Takes the next bytes, gives the events they complete.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for &byte in bytes {
            // "Lines must be separated by either a U+000D U+000A character pair, a single U+000A
            // character, or a single U+000D character." A CR ends its line at once; an LF right
            // after it belongs to the same separator.
            let after_cr = take(&mut self.after_cr);
            match byte {
                b'\n' if after_cr => {}
                b'\n' => events.extend(self.end_line()),
                b'\r' => {
                    self.after_cr = true;
                    events.extend(self.end_line());
                }
                _ => self.line.push(byte),
            }
        }
        events
    }

    fn end_line(&mut self) -> Option<Event> {
        let mut line = take(&mut self.line);
        // "The UTF-8 decode algorithm strips one leading UTF-8 Byte Order Mark (BOM), if any."
        if !self.first_line_done && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        self.first_line_done = true;
        // Decoding line by line equals decoding the stream: CR and LF end any broken sequence.
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", comment)) => self.comments.push(comment.to_owned()),
            // "If value starts with a U+0020 SPACE character, remove it from value."
            Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(&line, ""),
        }
        None
    }

    fn field(&mut self, name: &str, value: &str) {
        match name {
            "event" => value.clone_into(&mut self.event_type),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id_buffer),
            "retry" if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) => {
                let retry_ms = value.parse().unwrap_or(u64::MAX);
                self.retry_of_block = Some(retry_ms);
                self.reconnection_time_ms = Some(retry_ms);
            }
            // "Otherwise, the field is ignored."
            _ => {}
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        // The id is taken over even when the block holds no data and dispatches nothing.
        self.last_event_id.clone_from(&self.id_buffer);
        let retry = take(&mut self.retry_of_block);
        let event_type = take(&mut self.event_type);
        let mut data = take(&mut self.data);
        if data.is_empty() {
            return None;
        }
        data.pop(); // "If the data buffer's last character is a U+000A LINE FEED, remove it."
        let event = if event_type.is_empty() { "message".to_owned() } else { event_type };
        Some(Event { id: self.last_event_id.clone(), event, data, retry })
    }
}
