//! One event as bytes: `size CRLF frame CRLF`, the HTTP/1.1 chunk, with the bare SSE frame as a
//! slice of the same allocation.
//!
//! Encoding has two halves so that the hub's critical section stays short: a [`Draft`] holds
//! everything but the id and is made before the lock is taken, however large the data;
//! [`Draft::seal`] writes the id and the chunk size in front of it, in constant time.

use std::io::Write as _;

use bytes::{Buf as _, Bytes};
use memchr::memchr2_iter;

use super::EventId;
use super::cursor::EPOCH_DIGITS;

/// Room in front of a draft for the longest `ffffffff CRLF id: <12 hex>-<20 digits> LF`.
const HEADROOM: usize = 8 + 2 + 4 + 12 + 1 + 20 + 1;
const CRLF: &[u8] = b"\r\n";

/// What an event says, validated by the caller: `event` holds no control character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The event's name; `None` arrives as `message`.
    pub event: Option<&'a str>,
    /// The reconnect delay for the client, in milliseconds.
    pub retry_ms: Option<u64>,
    /// Any text. Split at CR, LF and CRLF, each of which arrives as LF.
    pub data: &'a str,
}

/// Bytes that `fields` take on a stream, with the longest id and without chunk framing.
pub fn encoded_len(fields: &Fields<'_>) -> usize {
    let event = fields.event.map_or(0, |name| "event: \n".len() + name.len());
    let retry = fields.retry_ms.map_or(0, |_| "retry: \n".len() + 20);
    let lines = 1 + memchr2_iter(b'\r', b'\n', fields.data.as_bytes()).count();
    HEADROOM + event + retry + lines * "data: \n".len() + fields.data.len() + 1
}

/// An event that is encoded except for its id.
#[derive(Clone, Debug)]
pub struct Draft {
    /// `HEADROOM` unused bytes, then the frame from `event:` on, then CRLF.
    buffer: Vec<u8>,
}

impl Draft {
    /// Encodes everything but the id. Costs one allocation and one pass over the data.
    pub fn new(fields: &Fields<'_>) -> Self {
        let mut buffer = Vec::with_capacity(encoded_len(fields) + CRLF.len());
        buffer.resize(HEADROOM, 0);
        write_fields(&mut buffer, fields);
        buffer.extend_from_slice(CRLF);
        Self { buffer }
    }

    /// An empty comment. With an id it moves the client's cursor: no event is dispatched, since there
    /// is no data, but "set the last event ID string … to the last event ID buffer" comes first (WHATWG
    /// HTML 9.2.6).
    pub fn comment() -> Self {
        let mut buffer = vec![0; HEADROOM];
        buffer.extend_from_slice(b":\n\n\r\n");
        Self { buffer }
    }

    /// Bytes this event takes in memory.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Gives the event its id. Constant time: the data is not touched.
    pub fn seal(self, id: EventId) -> Frame {
        self.finish(Some(id))
    }

    /// Finishes a control event that has no id.
    pub fn seal_without_id(self) -> Frame {
        self.finish(None)
    }

    fn finish(mut self, id: Option<EventId>) -> Frame {
        let frame_end = self.buffer.len() - CRLF.len();
        let mut front = Front { buffer: &mut self.buffer, at: HEADROOM };
        if let Some(id) = id {
            front.put(b"\n");
            front.put_decimal(id.seq);
            front.put(b"-");
            front.put_hex(id.epoch.bits(), EPOCH_DIGITS);
            front.put(b"id: ");
        }
        let frame_at = front.at;
        front.put(CRLF);
        front.put_hex((frame_end - frame_at) as u64, 1);
        let chunk_at = front.at;
        let mut chunk = Bytes::from(self.buffer);
        // Not `slice`, which would make a second handle of it, and allocate for that.
        chunk.advance(chunk_at);
        Frame { chunk, bare_at: (frame_at - chunk_at) as u8 }
    }
}

/// Writes in front of what is written already. By hand, since `fmt` is ten times as long about it
/// and the hub's lock is held meanwhile.
struct Front<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Front<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at;
        self.at -= bytes.len();
        self.buffer[self.at..end].copy_from_slice(bytes);
    }

    fn put_decimal(&mut self, mut number: u64) {
        loop {
            self.put(&[b'0' + (number % 10) as u8]);
            number /= 10;
            if number == 0 {
                return;
            }
        }
    }

    /// At least so many digits.
    fn put_hex(&mut self, mut number: u64, digits: usize) {
        let end = self.at;
        while number > 0 || end - self.at < digits {
            self.put(&[b"0123456789abcdef"[(number % 16) as usize]]);
            number /= 16;
        }
    }
}

fn write_fields(buffer: &mut Vec<u8>, fields: &Fields<'_>) {
    if let Some(name) = fields.event {
        buffer.extend_from_slice(b"event: ");
        buffer.extend_from_slice(name.as_bytes());
        buffer.push(b'\n');
    }
    if let Some(retry) = fields.retry_ms {
        writeln!(buffer, "retry: {retry}").expect("writing to a Vec never fails");
    }
    let data = fields.data.as_bytes();
    let mut line_at = 0;
    for end in memchr2_iter(b'\r', b'\n', data) {
        // The LF of a CRLF whose CR has ended the line already.
        if end < line_at {
            continue;
        }
        write_data_line(buffer, &data[line_at..end]);
        let crlf = data[end] == b'\r' && data.get(end + 1) == Some(&b'\n');
        line_at = end + 1 + usize::from(crlf);
    }
    write_data_line(buffer, &data[line_at..]);
    buffer.push(b'\n');
}

/// "If value starts with a U+0020 SPACE character, remove it from value" (WHATWG HTML 9.2.6):
/// the space after the colon is what keeps a leading space of the data.
fn write_data_line(buffer: &mut Vec<u8>, line: &[u8]) {
    buffer.extend_from_slice(b"data: ");
    buffer.extend_from_slice(line);
    buffer.push(b'\n');
}

/// One encoded event. Cloning shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    chunk: Bytes,
    bare_at: u8,
}

impl Frame {
    /// Several events that are written together, at least one: a frame of all of them, and one chunk.
    pub fn joined(frames: &[Self]) -> Self {
        Self::of(frames.iter().map(Self::bare_bytes))
    }

    /// A frame of these bytes, at least one.
    pub(super) fn of<'a>(pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        let size: usize = pieces.clone().map(<[u8]>::len).sum();
        debug_assert!(size > 0, "a chunk without a byte ends the body");
        let mut chunk = format!("{size:x}\r\n").into_bytes();
        let bare_at = chunk.len() as u8;
        chunk.reserve_exact(size + CRLF.len());
        for piece in pieces {
            chunk.extend_from_slice(piece);
        }
        chunk.extend_from_slice(CRLF);
        Self { chunk: chunk.into(), bare_at }
    }

    /// The event as one HTTP/1.1 chunk.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The event as it stands in the stream, for HTTP/1.0 and HTTP/2.
    pub fn bare(&self) -> Bytes {
        self.chunk.slice(usize::from(self.bare_at)..self.chunk.len() - CRLF.len())
    }

    /// The bytes of [`Frame::bare`], not counted as another reference.
    pub fn bare_bytes(&self) -> &[u8] {
        &self.chunk[usize::from(self.bare_at)..self.chunk.len() - CRLF.len()]
    }

    /// The event's name, if it has one.
    pub fn name(&self) -> Option<&[u8]> {
        // Behind the id.
        self.lines().take(2).find_map(|line| line.strip_prefix(b"event: "))
    }

    /// The event's data, with LF between its lines.
    pub fn data(&self) -> String {
        let lines: Vec<_> = self.lines().filter_map(|line| line.strip_prefix(b"data: ")).collect();
        String::from_utf8_lossy(&lines.join(&b'\n')).into_owned()
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bare_bytes().split(|&byte| byte == b'\n')
    }

    /// Bytes this event counts for wherever it waits.
    pub fn size(&self) -> usize {
        self.chunk.len()
    }
}

impl Frame {
    /// A frame that was a [`Frame::chunk`] before. `None` if it is none.
    pub fn from_chunk(chunk: &[u8]) -> Option<Self> {
        let bare_at = Self::bare_at(chunk)?;
        Some(Self { chunk: Bytes::copy_from_slice(chunk), bare_at })
    }

    /// Whether this can have been a [`Frame::chunk`].
    pub fn is_chunk(chunk: &[u8]) -> bool {
        Self::bare_at(chunk).is_some()
    }

    fn bare_at(chunk: &[u8]) -> Option<u8> {
        let size = chunk.iter().take(8 + CRLF.len()).position(|&byte| byte == b'\n')?;
        let bare_at = size + 1;
        let is_whole = chunk[..bare_at].ends_with(CRLF)
            && chunk.len() > bare_at + CRLF.len()
            && chunk.ends_with(CRLF);
        is_whole.then_some(bare_at as u8)
    }
}

/// A comment that moves the client's cursor.
pub fn comment(id: EventId) -> Frame {
    Draft::comment().seal(id)
}

/// A comment that tells an event's topic, which comes right behind it. Not an event of its own: no empty
/// line ends it.
pub fn remark(topic: &str) -> Frame {
    Frame::of([": topic ", topic, "\n"].map(str::as_bytes).into_iter())
}

/// A reconnect delay, and a cursor if there is one: no event is dispatched.
pub fn retry(retry_ms: u64, id: Option<EventId>) -> Frame {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(format!("retry: {retry_ms}\n\n\r\n").as_bytes());
    Draft { buffer }.finish(id)
}

#[cfg(test)]
mod tests {
    //! Bytes on the wire, by example. `tests/encoder.rs` has the property over arbitrary events.

    use super::super::Epoch;
    use super::*;

    fn id(seq: u64) -> EventId {
        EventId { epoch: Epoch::new(0xabc), seq }
    }

    fn bare(fields: &Fields<'_>) -> String {
        let frame = Draft::new(fields).seal(id(7));
        assert!(frame.bare().len() <= encoded_len(fields));
        String::from_utf8(frame.bare().to_vec()).unwrap()
    }

    #[test]
    fn fields_come_in_the_contract_order() {
        let fields = Fields { event: Some("task.status"), retry_ms: Some(1500), data: "{}" };
        assert_eq!(
            bare(&fields),
            "id: 000000000abc-7\nevent: task.status\nretry: 1500\ndata: {}\n\n"
        );
    }

    #[test]
    fn f02_every_line_ending_starts_a_data_line() {
        let fields = Fields { data: "a\rb\nc\r\nd\n\re\n", ..Fields::default() };
        assert_eq!(
            bare(&fields),
            "id: 000000000abc-7\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\ndata: \n\n"
        );
    }

    #[test]
    fn empty_data_is_still_an_event() {
        assert_eq!(bare(&Fields::default()), "id: 000000000abc-7\ndata: \n\n");
    }

    #[test]
    fn the_chunk_holds_the_frame_and_its_size() {
        let frame = Draft::new(&Fields { data: "hi", ..Fields::default() }).seal(id(u64::MAX));
        let bare = frame.bare();
        let expected = format!("{:x}\r\n{}\r\n", bare.len(), std::str::from_utf8(&bare).unwrap());
        assert_eq!(frame.chunk(), expected.as_bytes());
        assert_eq!(frame.bare_bytes(), bare);
    }

    #[test]
    fn joined_frames_are_one_chunk() {
        let frame = |data| Draft::new(&Fields { data, ..Fields::default() }).seal_without_id();
        let joined = Frame::joined(&[frame("a"), frame("b")]);
        assert_eq!(joined.bare_bytes(), b"data: a\n\ndata: b\n\n");
        assert_eq!(joined.chunk(), &b"12\r\ndata: a\n\ndata: b\n\n\r\n"[..]);
    }

    #[test]
    fn the_longest_head_fits() {
        let longest = EventId { epoch: Epoch::new(u64::MAX), seq: u64::MAX };
        let data = "x".repeat(1 << 20);
        let frame = Draft::new(&Fields { data: &data, ..Fields::default() }).seal(longest);
        assert!(frame.bare().starts_with(format!("id: {longest}\ndata: x").as_bytes()));
    }

    #[test]
    fn a_frame_says_what_is_in_it() {
        let names = [None, Some("task.status"), Some("data: x")];
        let texts = [
            ("", ""),
            ("{}", "{}"),
            ("a\rb\r\n c\n", "a\nb\n c\n"),
            ("event: y\nid: 3", "event: y\nid: 3"),
        ];
        for (event, (data, expected)) in
            names.iter().flat_map(|name| texts.map(|text| (*name, text)))
        {
            let frame = Draft::new(&Fields { event, retry_ms: Some(5), data }).seal(id(1));
            assert_eq!(frame.name(), event.map(str::as_bytes));
            assert_eq!(frame.data(), expected);
        }
    }

    #[test]
    fn a_comment_moves_the_cursor_only() {
        assert_eq!(comment(id(9)).bare(), "id: 000000000abc-9\n:\n\n");
    }
}
