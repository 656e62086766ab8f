//! Characters of RFC 9110 and 9112, and field lines made of them.

use super::Fault;

/// tchar, RFC 9110, 5.6.2.
const TOKEN: [bool; 256] = alphanumeric_and(b"!#$%&'*+-.^_`|~");

/// unreserved and sub-delims of a host's name, RFC 3986, 3.2.2. Without `%`: no name in the DNS has
/// one, and who decodes it reads another host.
pub(super) const REG_NAME: [bool; 256] = alphanumeric_and(b"-._~!$&'()*+,;=");

/// What a request-target may have: printable ASCII without `#`, which would begin a fragment, and
/// without `"<>`, which no client leaves unescaped and hyper refuses in its own words.
pub(super) const TARGET: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'!' as usize;
    while byte <= b'~' as usize {
        table[byte] = !matches!(byte as u8, b'#' | b'"' | b'<' | b'>');
        byte += 1;
    }
    table
};

const fn alphanumeric_and(punctuation: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < punctuation.len() {
        table[punctuation[at] as usize] = true;
        at += 1;
    }
    table
}

pub(super) fn all_in(bytes: &[u8], table: &[bool; 256]) -> bool {
    bytes.iter().all(|byte| table[usize::from(*byte)])
}

pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all_in(bytes, &TOKEN)
}

/// Whether there is a control character other than HTAB: RFC 9110, 5.5 forbids CR, LF and NUL in a
/// value and calls the others invalid. Looks at all bytes, so that the compiler can vectorise it.
pub(super) fn has_control(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .fold(false, |found, &byte| found | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f))
}

/// Without the optional whitespace around it.
pub(super) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The name and the value of a field line, RFC 9112, 5.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let name_end = line.iter().position(|byte| !TOKEN[usize::from(*byte)]);
    let (name, rest) = line.split_at(name_end.unwrap_or(line.len()));
    let value = match rest {
        [b':', value @ ..] if !name.is_empty() => value,
        [b' ' | b'\t', ..] if name.is_empty() => return Err(Fault::FoldedLine),
        [b' ' | b'\t', ..] if trim(rest).first() == Some(&b':') => {
            return Err(Fault::SpaceBeforeColon);
        }
        _ => return Err(Fault::FieldName),
    };
    if has_control(value) {
        return Err(Fault::FieldValue(to_text(name)));
    }
    Ok((name, trim(value)))
}

/// A name that [`is_token`].
pub(super) fn to_text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).to_ascii_lowercase()
}
