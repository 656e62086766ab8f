//! The bytes that pass through a proxy, known to both ends: a stretch of a long row that repeats
//! nowhere, so that a byte which is missing, doubled or another request's is seen.

use std::fmt;

/// Longest stretch, and places where one may begin.
const STRETCH_BYTES_MAX: usize = 1 << 20;
const PLACES: usize = 1 << 12;
/// A POST is answered with the beginning of what it brought.
const POST_ANSWER_BYTES_MAX: usize = 128;

/// What a request is about. Its path is `/BYTES/PLACE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    bytes: usize,
    place: usize,
}

impl Asked {
    /// The `nth` of those that ask for so many bytes.
    pub(crate) fn nth(bytes: usize, nth: usize) -> Self {
        Self { bytes: bytes.min(STRETCH_BYTES_MAX), place: nth % PLACES }
    }

    pub(super) fn parse(path: &str) -> Option<Self> {
        let (bytes, place) = path.strip_prefix('/')?.split_once('/')?;
        let asked = Self { bytes: bytes.parse().ok()?, place: place.parse().ok()? };
        (asked.bytes <= STRETCH_BYTES_MAX && asked.place < PLACES).then_some(asked)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/{}", self.bytes, self.place)
    }
}

pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        // Visible characters: servers that want text take it too.
        let signs = words.flatten().map(|byte: u8| b'0' + byte % 64);
        Self(signs.take(STRETCH_BYTES_MAX + PLACES).collect())
    }

    /// The body of a GET's answer, and of a POST.
    pub(crate) fn stretch(&self, asked: Asked) -> &[u8] {
        &self.0[asked.place..][..asked.bytes]
    }

    /// The body of a POST's answer.
    pub(crate) fn post_answer(&self, asked: Asked) -> &[u8] {
        &self.0[asked.place..][..asked.bytes.min(POST_ANSWER_BYTES_MAX)]
    }
}

/// What belongs here: there and back, and that no stretch is like another.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_asked() {
        let asked = Asked::nth(65536, PLACES + 17);
        assert_eq!(asked.to_string(), "/65536/17");
        assert_eq!(Asked::parse("/65536/17"), Some(asked));
        for bad in ["", "/", "/1", "/1/", "/a/1", "/1/4096", "/1048577/0", "1/1"] {
            assert_eq!(Asked::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn stretches_differ() {
        let pattern = Pattern::new();
        let firsts: std::collections::BTreeSet<&[u8]> =
            (0..PLACES).map(|place| pattern.stretch(Asked::nth(16, place))).collect();
        assert_eq!(firsts.len(), PLACES);
        assert!(firsts.iter().all(|first| first.is_ascii()));
        assert_eq!(pattern.stretch(Asked::nth(usize::MAX, PLACES - 1)).len(), STRETCH_BYTES_MAX);
    }
}
