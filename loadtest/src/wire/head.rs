//! Incremental reader of an HTTP/1.1 response head. Used by subscribers and by the
//! publisher; knows only the headers these two care about.

/// A head larger than this is refused. Gateways send a few hundred bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    pub(crate) chunked: bool,
    pub(crate) content_length: Option<usize>,
    pub(crate) event_stream: bool,
    pub(crate) close: bool,
}

#[derive(Debug, Default)]
pub(crate) struct HeadReader {
    bytes: Vec<u8>,
}

impl HeadReader {
    /// Takes the head's bytes off `input`. `Ok(None)`: the head goes on.
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<ResponseHead>, String> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(input);
        let from = before.saturating_sub(3);
        let Some(found) = memchr::memmem::find(&self.bytes[from..], b"\r\n\r\n") else {
            *input = &[];
            if self.bytes.len() > HEAD_BYTES_MAX {
                return Err(format!("response head of more than {HEAD_BYTES_MAX} bytes"));
            }
            return Ok(None);
        };
        let end = from + found;
        *input = &input[end + 4 - before..];
        let head = parse(&self.bytes[..end]);
        self.bytes.clear();
        head.map(Some)
    }
}

fn parse(bytes: &[u8]) -> Result<ResponseHead, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "response head is not UTF-8".to_owned())?;
    let mut lines = text.split("\r\n");
    let status_line = lines.next().unwrap_or_default();
    let status = status_line
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("not an HTTP/1.1 status line: {status_line:?}"))?;
    let mut head = ResponseHead { status, ..ResponseHead::default() };
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("not a field: {line:?}"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "transfer-encoding" => head.chunked = value.eq_ignore_ascii_case("chunked"),
            "content-length" => {
                let length = value.parse().map_err(|_| format!("content-length {value:?}"))?;
                head.content_length = Some(length);
            }
            "content-type" => {
                let mime = value.split(';').next().unwrap_or_default().trim();
                head.event_stream = mime.eq_ignore_ascii_case("text/event-stream");
            }
            "connection" => head.close = value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    Ok(head)
}

/// What belongs here: heads as gateways send them, cut anywhere.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_same_head_and_leaves_the_body() {
        let wire: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
            Transfer-Encoding: chunked\r\n\r\nbody";
        for cut in 0..wire.len() {
            let mut reader = HeadReader::default();
            let (mut a, mut b) = wire.split_at(cut);
            let mut head = reader.feed(&mut a).unwrap();
            let mut body = a.to_vec();
            if head.is_none() {
                head = reader.feed(&mut b).unwrap();
            }
            body.extend_from_slice(b);
            let head = head.unwrap();
            assert!(head.chunked && head.event_stream && head.status == 200, "cut at {cut}");
            assert_eq!(body, b"body", "cut at {cut}");
        }
    }

    #[test]
    fn refuses_what_is_not_http() {
        assert!(HeadReader::default().feed(&mut &b"SSH-2.0-x\r\n\r\n"[..]).is_err());
        assert!(HeadReader::default().feed(&mut &vec![b'a'; HEAD_BYTES_MAX + 1][..]).is_err());
    }
}
