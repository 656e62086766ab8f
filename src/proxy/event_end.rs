//! Where a server's stream of events can end without breaking one: behind an empty line, which is what
//! ends an event (WHATWG HTML, 9.2.6).

/// Follows a stream of events, piece by piece.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EventEnd(Place);

/// What came last. A line ends with CR LF, LF, or CR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The end of an event, or nothing at all.
    #[default]
    BehindEvent,
    /// The same, with a CR, which an LF may belong to.
    BehindEventCr,
    BehindLine,
    BehindLineCr,
    InLine,
}

/// So many bytes of a piece, or fewer, say what came last, whatever was before them.
const TAIL: usize = 4;

impl EventEnd {
    /// Whether an event has just ended, or none has begun.
    pub(super) fn is_here(self) -> bool {
        matches!(self.0, Place::BehindEvent | Place::BehindEventCr)
    }

    /// Passes a piece.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        let tail = match piece.len().checked_sub(TAIL) {
            Some(before) => {
                self.0 = Place::InLine;
                &piece[before..]
            }
            None => piece,
        };
        tail.iter().for_each(|byte| self.step(*byte));
    }

    /// How much of a piece comes before the first event's end in it.
    pub(super) fn first_in(mut self, piece: &[u8]) -> Option<usize> {
        let at = piece.iter().position(|byte| {
            self.step(*byte);
            self.is_here()
        })?;
        Some(at + 1)
    }

    fn step(&mut self, byte: u8) {
        self.0 = match (self.0, byte) {
            (Place::BehindLineCr, b'\n') => Place::BehindLine,
            (Place::InLine, b'\n') => Place::BehindLine,
            (Place::InLine, b'\r') => Place::BehindLineCr,
            (_, b'\n') => Place::BehindEvent,
            (_, b'\r') => Place::BehindEventCr,
            _ => Place::InLine,
        }
    }
}

/// What belongs here: ends by every kind of line end, however the bytes are cut.
#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(pieces: &[&str]) -> bool {
        let mut end = EventEnd::default();
        pieces.iter().for_each(|piece| end.pass(piece.as_bytes()));
        end.is_here()
    }

    #[test]
    fn an_empty_line_ends_an_event_whatever_ends_its_lines() {
        assert!(after(&[]));
        for whole in ["data: a\n\n", "data: a\r\r", "data: a\r\n\r\n", ":\n\n", "data: a\r\n\n"] {
            assert!(after(&[whole]), "{whole:?}");
        }
        for part in ["d", "data: a\n", "data: a\r", "data: a\r\n", "a\n\nb", "a\r\n\r\nb\r\n"] {
            assert!(!after(&[part]), "{part:?}");
        }
        assert!(!after(&["data: a\r", "\n"]), "the two are one line end");
        assert!(after(&["data: a\r", "\n", "\r", "\n"]));
    }

    #[test]
    fn the_first_end_in_a_piece_is_found() {
        let mut end = EventEnd::default();
        end.pass(b"data: a\n");
        assert_eq!(end.first_in(b"\ndata: b\n\n"), Some(1));
        assert_eq!(end.first_in(b"data: b\n\ndata: c\n\n"), Some(9));
        assert_eq!(end.first_in(b"data: b\ndata: c"), None);
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            text in "[a\r\n]{0,24}",
            cuts in prop::collection::vec(0..24usize, 0..6),
        ) {
            let mut whole = EventEnd::default();
            text.bytes().for_each(|byte| whole.step(byte));
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut pieces = EventEnd::default();
            cuts.windows(2).for_each(|cut| pieces.pass(&text.as_bytes()[cut[0]..cut[1]]));
            prop_assert_eq!(whole.is_here(), pieces.is_here());
        }
    }
}
