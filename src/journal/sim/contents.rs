//! What a simulated file holds: bytes that live, bytes that were synced, and the changes between.

use std::collections::BTreeMap;

/// What the disk writes as a whole.
const PIECE: usize = 512;

#[derive(Clone, Default)]
pub(super) struct Inode {
    pub(super) live: Vec<u8>,
    pub(super) synced: Vec<u8>,
    pub(super) changes: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Bytes(at, new) => {
                bytes.resize(bytes.len().max(at + new.len()), 0);
                bytes[*at..at + new.len()].copy_from_slice(new);
            }
        }
    }
}

/// A write as the pieces that may or may not survive.
pub(super) fn pieces(at: usize, bytes: &[u8]) -> Vec<Change> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + PIECE - (at + start) % PIECE);
        pieces.push(Change::Bytes(at + start, bytes[start..end].to_vec()));
        start = end;
    }
    pieces
}

/// Gives names to files, or takes them away.
pub(super) fn change_names(
    names: &mut BTreeMap<String, usize>,
    change: &[(String, Option<usize>)],
) {
    for (name, inode) in change {
        match inode {
            Some(inode) => names.insert(name.clone(), *inode),
            None => names.remove(name),
        };
    }
}
