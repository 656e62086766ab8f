//! Who subscribes to what, who reads whom, and who is stuck: everything about a run
//! that is decided before it begins, as arithmetic, so that no stream needs a table.
//!
//! Stream `s` subscribes to `topics_per_stream` neighbouring topics, beginning at
//! `s % topics`, around the ring of topics. Event `n` goes to topic `n % topics`.

use crate::payload::mix;

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) streams: u32,
    pub(crate) topics: u32,
    pub(crate) topics_per_stream: u32,
    pub(crate) threads: u32,
    /// Makes the topics of this run its own: no other run's history can reach it.
    pub(crate) nonce: u32,
    stuck: Vec<bool>,
}

/// Where a stream is in the run's events: the number it expects next and that
/// number's place among the stream's own topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) number: u64,
    place: u32,
}

impl Plan {
    pub(crate) fn new(
        streams: u32,
        topics: u32,
        topics_per_stream: u32,
        threads: u32,
        stuck_percent: f64,
        nonce: u32,
    ) -> Self {
        let wanted = (f64::from(streams) * stuck_percent / 100.0).round() as usize;
        // Chosen by hash: a fixed stride could put all of them on one topic or thread.
        let mut order: Vec<u32> = (0..streams).collect();
        order.sort_unstable_by_key(|&stream| mix(u64::from(stream)));
        let mut stuck = vec![false; streams as usize];
        for &stream in order.iter().take(wanted) {
            stuck[stream as usize] = true;
        }
        Self { streams, topics, topics_per_stream, threads, nonce, stuck }
    }

    pub(crate) fn is_stuck(&self, stream: u32) -> bool {
        self.stuck[stream as usize]
    }

    pub(crate) fn stuck_count(&self) -> u32 {
        self.stuck.iter().filter(|&&stuck| stuck).count() as u32
    }

    pub(crate) fn thread_of(&self, stream: u32) -> u32 {
        stream % self.threads
    }

    pub(crate) fn topic_name(&self, topic: u32) -> String {
        format!("loadtest.{:08x}.{topic}", self.nonce)
    }

    pub(crate) fn topic_of(&self, number: u64) -> u32 {
        (number % u64::from(self.topics)) as u32
    }

    pub(crate) fn topics_of(&self, stream: u32) -> impl Iterator<Item = u32> + '_ {
        (0..self.topics_per_stream).map(move |place| (stream + place) % self.topics)
    }

    pub(crate) fn matches(&self, stream: u32, number: u64) -> bool {
        self.place(stream, number) < self.topics_per_stream
    }

    fn place(&self, stream: u32, number: u64) -> u32 {
        (self.topic_of(number) + self.topics - stream % self.topics) % self.topics
    }

    /// The first event at or after `number` that `stream` must get.
    pub(crate) fn seek(&self, stream: u32, number: u64) -> Position {
        let place = self.place(stream, number);
        if place < self.topics_per_stream {
            Position { number, place }
        } else {
            Position { number: number + u64::from(self.topics - place), place: 0 }
        }
    }

    /// The stream's next event after `position`; no division, it runs per delivery.
    pub(crate) fn next(&self, position: Position) -> Position {
        if position.place + 1 < self.topics_per_stream {
            Position { number: position.number + 1, place: position.place + 1 }
        } else {
            let skip = self.topics - self.topics_per_stream + 1;
            Position { number: position.number + u64::from(skip), place: 0 }
        }
    }

    /// The stream's events in `from..until`.
    pub(crate) fn matching(
        &self,
        stream: u32,
        from: u64,
        until: u64,
    ) -> impl Iterator<Item = u64> + '_ {
        std::iter::successors(Some(self.seek(stream, from)), |at| Some(self.next(*at)))
            .map(|at| at.number)
            .take_while(move |&number| number < until)
    }

    /// How many streams that read as they should get each topic on `thread`.
    pub(crate) fn receivers(&self, thread: u32) -> Vec<u32> {
        let mut receivers = vec![0; self.topics as usize];
        for stream in (0..self.streams).filter(|&s| self.thread_of(s) == thread) {
            if !self.is_stuck(stream) {
                for topic in self.topics_of(stream) {
                    receivers[topic as usize] += 1;
                }
            }
        }
        receivers
    }
}

/// What belongs here: the arithmetic against its plain definition.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn arithmetic_agrees_with_the_definition(
            topics in 1..12_u32, span in 0..12_u32, stream in 0..40_u32, from in 0..50_u64,
        ) {
            let per_stream = 1 + span % topics;
            let plan = Plan::new(40, topics, per_stream, 3, 10.0, 0);
            let own: Vec<u32> = plan.topics_of(stream).collect();
            let wanted: Vec<u64> =
                (from..from + 60).filter(|&n| own.contains(&plan.topic_of(n))).collect();
            let got: Vec<u64> = plan.matching(stream, from, from + 60).collect();
            prop_assert_eq!(&got, &wanted);
            prop_assert!(got.iter().all(|&n| plan.matches(stream, n)));
            prop_assert_eq!(plan.stuck_count(), 4);
            let all: u32 = (0..3).flat_map(|thread| plan.receivers(thread)).sum();
            prop_assert_eq!(all, 36 * per_stream);
        }
    }
}
