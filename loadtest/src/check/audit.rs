//! The verdict on one stream's losses, once every answer is in: each lost event lies
//! in a gap that was declared before the next event, and each gap's count is exact.

use serde::Serialize;

use crate::check::{Hole, StreamCheck};
use crate::ledger::Answer;
use crate::run::Run;
use crate::violations::{Kind, Violations};

#[derive(Debug, Default, Clone, Copy, Serialize)]
pub(crate) struct Settled {
    pub(crate) gaps: u64,
    /// Of them, those that do not say how much was lost.
    pub(crate) uncounted: u64,
    /// Events lost inside gaps that declared them.
    pub(crate) declared: u64,
    /// Events received after the last gap.
    pub(crate) events_after_gap: u32,
}

impl StreamCheck {
    /// Judges the events up to number `until`, as far as the stream was there for them.
    pub(crate) fn audit(&self, run: &Run, until: u64, violations: &mut Violations) -> Settled {
        let losses = self.losses.as_deref();
        let (holes, gaps) = losses.map_or((&[][..], &[][..]), |l| (&l.holes[..], &l.gaps[..]));
        let tail = Hole { from: self.expected.number, until, gaps_seen: gaps.len() };
        let mut lost_in_gap = vec![0_u64; gaps.len()];
        let mut undeclared = Vec::new();
        let mut undeclared_count = 0_u64;
        for hole in holes.iter().chain([&tail]) {
            for number in run.plan.matching(self.stream, hole.from, hole.until) {
                if run.ledger.answer(number) != Answer::Accepted {
                    continue;
                }
                let seq = run.ledger.seq(number).expect("an accepted event has an id");
                if seq < self.joined_seq {
                    continue;
                }
                let seen = &gaps[..hole.gaps_seen];
                // The latest first: a hole's own gap is nearly always the last one seen.
                match seen.iter().rposition(|gap| gap.seqs.contains(&seq)) {
                    Some(gap) => lost_in_gap[gap] += 1,
                    None => {
                        undeclared_count += 1;
                        if undeclared.len() < 5 {
                            undeclared.push(format!("{number} (seq {seq})"));
                        }
                    }
                }
            }
        }
        for _ in 0..undeclared_count {
            let stream = self.stream;
            violations.add(Kind::Lost, || {
                let first = undeclared.join(", ");
                format!("stream {stream} lost {undeclared_count} undeclared: events {first}")
            });
        }
        for (gap, lost) in gaps.iter().zip(&lost_in_gap) {
            if gap.count.is_some_and(|count| count != *lost) {
                violations.add(Kind::GapCount, || {
                    format!(
                        "stream {}: gap({}) of seqs {:?} declares {:?} events, lost were {lost}",
                        self.stream, gap.reason, gap.seqs, gap.count
                    )
                });
            }
        }
        Settled {
            gaps: gaps.len() as u64,
            uncounted: gaps.iter().filter(|gap| gap.count.is_none()).count() as u64,
            declared: lost_in_gap.iter().sum(),
            events_after_gap: losses
                .filter(|l| !l.gaps.is_empty())
                .map_or(0, |l| l.events_after_gap),
        }
    }
}
