//! The last gaps that a shard has told its streams of, so that it can be said later why a stream does not
//! have an event. Bounded: a stream keeps nothing of its own.

use std::collections::VecDeque;

use super::audience::StreamKey;
use super::wheel::Tick;
use crate::subscribe::control::Gap;

/// Gaps that are remembered: about 90 KiB a shard.
const REMEMBERED: usize = 1024;

/// A gap that a stream has been told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) key: StreamKey,
    pub(super) generation: u32,
    pub(super) gap: Gap,
    /// Whether nothing in it was sent. A gap in the past may have events between that are still there.
    pub(super) is_whole: bool,
    pub(super) at: Tick,
}

#[derive(Default)]
pub(super) struct ToldGaps {
    last: VecDeque<Told>,
    /// When the last gap that is forgotten was told.
    forgotten_at: Option<Tick>,
}

impl ToldGaps {
    pub(super) fn add(&mut self, told: Told) {
        if self.last.len() == REMEMBERED
            && let Some(oldest) = self.last.pop_front()
        {
            self.forgotten_at = Some(oldest.at);
        }
        self.last.push_back(told);
    }

    /// The gap over an event that a stream has been told of. One that says the most: whole ones first.
    pub(super) fn over(&self, key: StreamKey, generation: u32, seq: u64) -> Option<&Told> {
        let is_over = |told: &&Told| {
            let Gap { after, to, .. } = told.gap;
            let is_its = told.key == key && told.generation == generation;
            is_its && after.is_none_or(|after| after < seq) && seq <= to
        };
        self.last.iter().filter(is_over).max_by_key(|told| told.is_whole)
    }

    /// Whether all gaps are remembered.
    #[cfg(test)]
    #[cfg(not(tidegate_loom))]
    pub(super) fn are_all_known(&self) -> bool {
        self.forgotten_at.is_none()
    }

    /// Whether all gaps are remembered that a stream which opened then has been told of.
    pub(super) fn are_known_since(&self, opened: Tick) -> bool {
        self.forgotten_at.is_none_or(|forgotten| forgotten < opened)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! What is remembered, and that it is known what is not.

    use super::*;
    use crate::sse::GapReason;

    fn told(generation: u32, after: u64, to: u64, at: u32) -> Told {
        let gap = Gap { after: Some(after), to, cursor: to, count: None, reason: GapReason::Slow };
        Told { key: 3, generation, gap, is_whole: true, at: Tick(at) }
    }

    #[test]
    fn a_gap_is_found_by_its_stream_and_range() {
        let mut gaps = ToldGaps::default();
        gaps.add(told(1, 10, 20, 5));
        gaps.add(Told { is_whole: false, ..told(1, 15, 30, 5) });
        assert!(gaps.over(3, 1, 10).is_none() && gaps.over(3, 1, 31).is_none());
        assert!(gaps.over(3, 2, 20).is_none() && gaps.over(4, 1, 20).is_none());
        assert!(gaps.over(3, 1, 20).is_some_and(|told| told.is_whole));
        assert!(gaps.over(3, 1, 21).is_some_and(|told| !told.is_whole));
    }

    #[test]
    fn what_is_forgotten_is_known_to_be() {
        let mut gaps = ToldGaps::default();
        for at in 0..=REMEMBERED as u32 {
            assert!(gaps.are_known_since(Tick(0)));
            gaps.add(told(1, 1, 2, at));
        }
        assert!(!gaps.are_known_since(Tick(0)) && gaps.are_known_since(Tick(1)));
        assert_eq!(gaps.last.len(), REMEMBERED);
    }
}
