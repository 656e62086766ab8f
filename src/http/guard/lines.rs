//! The lines of a section: each ends in CRLF, is found once, and is judged once, in whatever pieces
//! the section comes.

use memchr::memchr;

use super::Fault;

/// A place in a section that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Where the next line begins.
    begin: usize,
    /// No line feed lies between `begin` and here.
    searched: usize,
}

impl Lines {
    /// The next line without its end, or none while it is not complete. Its end may lie within the
    /// section's first `end_max` bytes, or `beyond` is the fault.
    ///
    /// RFC 9112, 2.2 lets a recipient take a bare LF for a line end. One that does sees two lines
    /// where others see one.
    pub(super) fn next<'a>(
        &mut self,
        section: &'a [u8],
        end_max: usize,
        beyond: Fault,
    ) -> Result<Option<&'a [u8]>, Fault> {
        let found = memchr(b'\n', &section[self.searched..]);
        let end = found.map_or(section.len(), |at| self.searched + at);
        if end >= end_max {
            return Err(beyond);
        }
        if found.is_none() {
            self.searched = end;
            return Ok(None);
        }
        let line = &section[self.begin..end];
        self.begin = end + 1;
        self.searched = self.begin;
        line.strip_suffix(b"\r").map(Some).ok_or(Fault::BareLineFeed)
    }

    /// Whether anything has come.
    pub(super) fn has_begun(&self) -> bool {
        self.searched > 0
    }

    /// Where the next line begins.
    pub(super) fn position(&self) -> usize {
        self.begin
    }
}
