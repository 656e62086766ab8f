//! A file that is read from front to back through a small buffer. Used where a start waits for it.

use std::io;

use super::disk::{DiskFile, read_full};

/// The part of a file that has been read last.
pub(super) struct Window<'a, F> {
    file: F,
    buffer: &'a mut Vec<u8>,
    /// Where in the file the buffer begins,
    at: u64,
    /// and how much of it is the file's.
    filled: usize,
    /// Where reading ends.
    limit: u64,
    /// Bytes read at a time; more only where more is wanted at once.
    step: usize,
}

impl<'a, F: DiskFile> Window<'a, F> {
    /// The bytes of `file` from `at` to `limit`, or to its end. `buffer` is only its memory.
    pub(super) fn new(file: F, at: u64, limit: u64, step: usize, buffer: &'a mut Vec<u8>) -> Self {
        Self { file, buffer, at, filled: 0, limit, step }
    }

    /// What there is from `at` on: at least `wanted` bytes, or all up to the limit. `at` is not
    /// before that of the last call.
    pub(super) fn from(&mut self, at: u64, wanted: usize) -> io::Result<&[u8]> {
        let mut end = self.at + self.filled as u64;
        if at > end {
            (self.at, self.filled, end) = (at, 0, at);
        }
        let mut begin = (at - self.at) as usize;
        if self.filled - begin < wanted && end < self.limit {
            self.buffer.copy_within(begin..self.filled, 0);
            self.filled -= begin;
            (self.at, begin) = (at, 0);
            let room = (self.limit - at).min(wanted.max(self.step) as u64) as usize;
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
            self.filled += read_full(&self.file, &mut self.buffer[self.filled..room], end)?;
            if self.filled < room {
                self.limit = self.at + self.filled as u64;
            }
        }
        Ok(&self.buffer[begin..self.filled])
    }

    /// All that there is from `at` on, even if reading has gone beyond it.
    pub(super) fn rest(&mut self, at: u64) -> io::Result<&[u8]> {
        (self.at, self.filled) = (at, 0);
        self.from(at, self.limit.saturating_sub(at) as usize)
    }

    /// Where from `at` on the first byte is that is not zero.
    pub(super) fn first_set(&mut self, mut at: u64) -> io::Result<Option<u64>> {
        loop {
            let bytes = self.from(at, 1)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            if let Some(found) = first_set(bytes) {
                return Ok(Some(at + found as u64));
            }
            at += bytes.len() as u64;
        }
    }
}

fn first_set(bytes: &[u8]) -> Option<usize> {
    const STEP: usize = 4096;
    let chunk =
        bytes.chunks(STEP).position(|chunk| chunk.iter().fold(0, |all, byte| all | byte) != 0)?;
    let at = chunk * STEP;
    Some(at + bytes[at..].iter().position(|&byte| byte != 0)?)
}
