//! Who subscribes to what, who reads whom, and who is stuck: everything about a run
//! that is decided before it begins, as arithmetic, so that no stream needs a table.
//!
//! Event `n` goes to topic `n % topics`. Stream `s` walks the ring of topics from a
//! first one on with a stride, and subscribes to `topics_per_stream` of them:
//! *neighbours* begin at `s % topics` and have stride 1, so sets overlap and many
//! streams share one; *strides* have both from a hash of `s`, so that nearly every
//! stream has a set of its own. A stride has no divisor in common with `topics`, so no
//! topic comes twice.

use std::iter::StepBy;
use std::ops::Range;

use crate::payload::mix;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum TopicSets {
    /// Topics that lie side by side; streams share sets.
    Neighbours,
    /// Topics spread by a stride of the stream's own; nearly no two streams share a set.
    Strides,
}

/// What the command line says about streams and topics.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Streams of the whole run, also those that others have made room for.
    pub(crate) streams: u32,
    pub(crate) topics: u32,
    pub(crate) topics_per_stream: u32,
    pub(crate) topic_sets: TopicSets,
    pub(crate) patterns_percent: f64,
    pub(crate) threads: u32,
    /// The first so many streams have a thread of their own; 0: none has.
    pub(crate) live: u32,
    pub(crate) stuck_percent: f64,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) streams: u32,
    pub(crate) topics: u32,
    pub(crate) topics_per_stream: u32,
    pub(crate) threads: u32,
    /// Streams below this stay when the others go, and are read by the first thread alone.
    pub(crate) live: u32,
    /// Makes the topics of this run its own: no other run's history can reach it.
    nonce: u32,
    /// The strides to choose from; empty where sets are neighbours.
    strides: Vec<u32>,
    patterns_percent: f64,
    stuck: Vec<bool>,
}

/// Where a stream is in the run's events: the number it expects next and that number's
/// place among the stream's own topics (always 0 with strides, where it says nothing).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) number: u64,
    place: u32,
}

/// Topics are spread over so many values of the token before their own.
const TOPIC_GROUPS: u32 = 16;

impl Plan {
    pub(crate) fn new(shape: &Shape, nonce: u32) -> Self {
        let &Shape { streams, topics, topics_per_stream, threads, live, .. } = shape;
        let wanted = (f64::from(streams) * shape.stuck_percent / 100.0).round() as usize;
        // Chosen by hash: a fixed stride could put all of them on one topic or thread.
        let mut order: Vec<u32> = (0..streams).collect();
        order.sort_unstable_by_key(|&stream| mix(u64::from(stream)));
        let mut stuck = vec![false; streams as usize];
        for &stream in order.iter().take(wanted) {
            stuck[stream as usize] = true;
        }
        let strides = match shape.topic_sets {
            TopicSets::Neighbours => Vec::new(),
            TopicSets::Strides => {
                (1..=topics).filter(|&stride| divisor(stride, topics) == 1).collect()
            }
        };
        let patterns_percent = shape.patterns_percent;
        Self {
            streams,
            topics,
            topics_per_stream,
            threads,
            live,
            nonce,
            strides,
            patterns_percent,
            stuck,
        }
    }

    pub(crate) fn is_stuck(&self, stream: u32) -> bool {
        self.stuck[stream as usize]
    }

    pub(crate) fn stuck_count(&self) -> u32 {
        self.stuck.iter().filter(|&&stuck| stuck).count() as u32
    }

    /// The streams that `thread` reads.
    pub(crate) fn streams_of(&self, thread: u32) -> StepBy<Range<u32>> {
        match (self.live, thread) {
            (0, _) => (thread..self.streams).step_by(self.threads as usize),
            (live, 0) => (0..live).step_by(1),
            (live, _) => (live + thread - 1..self.streams).step_by(self.threads as usize - 1),
        }
    }

    /// Latency is that of the live streams, if there are any.
    pub(crate) fn is_measured(&self, thread: u32) -> bool {
        self.live == 0 || thread == 0
    }

    pub(crate) fn topic_name(&self, topic: u32) -> String {
        format!("loadtest.{:08x}.{}.{topic}", self.nonce, topic % TOPIC_GROUPS)
    }

    /// What `stream` asks for: its topics by name, or patterns that match just these.
    pub(crate) fn subscriptions_of(&self, stream: u32) -> Vec<String> {
        if !self.asks_for_patterns(stream) {
            return self.topics_of(stream).map(|topic| self.topic_name(topic)).collect();
        }
        let nonce = self.nonce;
        if self.topics_per_stream == self.topics {
            return vec![format!("loadtest.{nonce:08x}.>")];
        }
        self.topics_of(stream).map(|topic| format!("loadtest.{nonce:08x}.*.{topic}")).collect()
    }

    fn asks_for_patterns(&self, stream: u32) -> bool {
        // Not the hash that chose the stuck ones: the two shares must be independent.
        let hash = mix(!u64::from(stream));
        (hash >> 32) as f64 * 100.0 < self.patterns_percent * f64::from(u32::MAX)
    }

    pub(crate) fn topic_of(&self, number: u64) -> u32 {
        (number % u64::from(self.topics)) as u32
    }

    pub(crate) fn topics_of(&self, stream: u32) -> impl Iterator<Item = u32> + '_ {
        let (first, stride) = self.walk(stream);
        let step = move |topic: &u32| Some((topic + stride) % self.topics);
        std::iter::successors(Some(first), step).take(self.topics_per_stream as usize)
    }

    /// The stream's first topic and its stride around the ring of topics.
    fn walk(&self, stream: u32) -> (u32, u32) {
        if self.strides.is_empty() {
            return (stream % self.topics, 1);
        }
        let hash = mix(u64::from(stream));
        let stride = (hash >> 32) as usize % self.strides.len();
        (hash as u32 % self.topics, self.strides[stride])
    }

    pub(crate) fn matches(&self, stream: u32, number: u64) -> bool {
        self.seek(stream, number).number == number
    }

    /// The first event at or after `number` that `stream` must get.
    pub(crate) fn seek(&self, stream: u32, number: u64) -> Position {
        let from = self.topic_of(number);
        let ahead = |topic: u32| (topic + self.topics - from) % self.topics;
        if self.strides.is_empty() {
            let place = (from + self.topics - stream % self.topics) % self.topics;
            return if place < self.topics_per_stream {
                Position { number, place }
            } else {
                Position { number: number + u64::from(self.topics - place), place: 0 }
            };
        }
        let next = self.topics_of(stream).map(ahead).min().unwrap_or_default();
        Position { number: number + u64::from(next), place: 0 }
    }

    /// The stream's next event after `position`. It runs per delivery: neighbours do it
    /// without a division, strides with a few for each topic.
    pub(crate) fn next(&self, stream: u32, position: Position) -> Position {
        if !self.strides.is_empty() {
            return self.seek(stream, position.number + 1);
        }
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
        std::iter::successors(Some(self.seek(stream, from)), move |at| Some(self.next(stream, *at)))
            .map(|at| at.number)
            .take_while(move |&number| number < until)
    }

    /// How many streams that read as they should get each topic on `thread`.
    pub(crate) fn receivers(&self, thread: u32) -> Vec<u32> {
        let mut receivers = vec![0; self.topics as usize];
        for stream in self.streams_of(thread) {
            if !self.is_stuck(stream) {
                for topic in self.topics_of(stream) {
                    receivers[topic as usize] += 1;
                }
            }
        }
        receivers
    }
}

/// The greatest common divisor.
fn divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { divisor(b, a % b) }
}

/// What belongs here: the arithmetic against its plain definition.
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(topics: u32, topics_per_stream: u32, topic_sets: TopicSets, patterns: f64) -> Plan {
        let shape = Shape {
            streams: 40,
            topics,
            topics_per_stream,
            topic_sets,
            patterns_percent: patterns,
            threads: 3,
            live: 0,
            stuck_percent: 10.0,
        };
        Plan::new(&shape, 0)
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_the_definition(
            topics in 1..12_u32, span in 0..12_u32, stream in 0..40_u32, from in 0..50_u64,
            strides in any::<bool>(),
        ) {
            let per_stream = 1 + span % topics;
            let sets = if strides { TopicSets::Strides } else { TopicSets::Neighbours };
            let plan = plan(topics, per_stream, sets, 0.0);
            let mut own: Vec<u32> = plan.topics_of(stream).collect();
            let wanted: Vec<u64> =
                (from..from + 60).filter(|&n| own.contains(&plan.topic_of(n))).collect();
            let got: Vec<u64> = plan.matching(stream, from, from + 60).collect();
            prop_assert_eq!(&got, &wanted);
            for number in from..from + 60 {
                prop_assert_eq!(plan.matches(stream, number), wanted.contains(&number));
            }
            own.sort_unstable();
            own.dedup();
            prop_assert_eq!(own.len() as u32, per_stream, "no topic twice");
            prop_assert_eq!(plan.stuck_count(), 4);
            let all: u32 = (0..3).flat_map(|thread| plan.receivers(thread)).sum();
            prop_assert_eq!(all, 36 * per_stream);
        }
    }

    #[test]
    fn live_streams_have_a_thread_of_their_own() {
        let shape = Shape {
            streams: 12,
            topics: 1,
            topics_per_stream: 1,
            topic_sets: TopicSets::Neighbours,
            patterns_percent: 0.0,
            threads: 3,
            live: 5,
            stuck_percent: 0.0,
        };
        let plan = Plan::new(&shape, 0);
        let streams_of = |thread| plan.streams_of(thread).collect::<Vec<_>>();
        assert_eq!(streams_of(0), [0, 1, 2, 3, 4]);
        assert_eq!((streams_of(1), streams_of(2)), (vec![5, 7, 9, 11], vec![6, 8, 10]));
    }

    #[test]
    fn strides_give_nearly_every_stream_a_set_of_its_own() {
        let plan = plan(1000, 10, TopicSets::Strides, 0.0);
        let sets: std::collections::HashSet<Vec<u32>> = (0..18_000)
            .map(|stream| {
                let mut topics: Vec<u32> = plan.topics_of(stream).collect();
                topics.sort_unstable();
                topics
            })
            .collect();
        assert!(sets.len() > 17_000, "{} sets", sets.len());
    }

    #[test]
    fn a_share_of_the_streams_asks_for_patterns() {
        let some = plan(8, 2, TopicSets::Neighbours, 50.0);
        let asking = (0..1000).filter(|&stream| some.asks_for_patterns(stream)).count();
        assert!((400..600).contains(&asking), "{asking}");
        assert!(
            (0..1000)
                .all(|stream| !plan(8, 2, TopicSets::Neighbours, 0.0).asks_for_patterns(stream))
        );
        let each = plan(20, 2, TopicSets::Neighbours, 100.0);
        assert_eq!(each.subscriptions_of(17), ["loadtest.00000000.*.17", "loadtest.00000000.*.18"]);
        assert_eq!(each.topic_name(17), "loadtest.00000000.1.17");
        let all = plan(8, 8, TopicSets::Strides, 100.0);
        assert_eq!(all.subscriptions_of(3), ["loadtest.00000000.>"]);
    }
}
