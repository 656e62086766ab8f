//! Many streams of one shard whose clients read everything between rounds. The sockets are pairs of
//! AF_UNIX: real descriptors and real system calls, without TCP's cost, so that the gateway's own
//! share shows.

use std::io::Read as _;
use std::os::unix::net::UnixStream;

use tidegate::hub::Submission;
use tidegate::shard::bench::Fanout;
use tidegate::topic::Filter;

use super::{filters, submission, to_topic};

/// Topics of [`Crowd::mixed`]: in groups, of which each stream has one topic each.
const GROUPS: usize = 8;
const TOPICS_PER_GROUP: usize = 8;

/// More than is pending on any stream after one round.
const ROUND_BYTES_MAX: usize = 64 * 1024;

/// Which topics streams and events have.
#[derive(Clone, Copy)]
pub(crate) enum Topics {
    /// All streams want one topic.
    One,
    /// Each stream wants its own choice of eight topics, and each event reaches an eighth of them.
    Mixed,
}

/// A round is `publish`, `fanout.deliver`, `fanout.sweep` and `read`.
pub(crate) struct Crowd {
    topics: Topics,
    pub(crate) fanout: Fanout,
    /// The clients' ends, nonblocking.
    clients: Vec<UnixStream>,
    buffer: Box<[u8]>,
    /// Events that all streams together have been meant to get.
    expected: u64,
}

impl Crowd {
    /// Opens so many streams. Takes two descriptors for each.
    pub(crate) fn new(streams: usize, topics: Topics) -> Self {
        let mut fanout = Fanout::new().expect("a shard");
        let mut choice = fastrand::Rng::with_seed(7);
        let clients = (0..streams).map(|_| {
            let (server, client) = UnixStream::pair().expect("descriptors for a pair of sockets");
            client.set_nonblocking(true).expect("a socket");
            fanout.subscribe(server.into(), topics.choose(&mut choice)).expect("a stream");
            client
        });
        let clients = clients.collect();
        let buffer = vec![0; ROUND_BYTES_MAX].into_boxed_slice();
        let mut crowd = Self { topics, fanout, clients, buffer, expected: 0 };
        crowd.read();
        crowd
    }

    /// Puts events into the mailbox, of which every stream gets `pending`: with mixed topics that
    /// is 1, or a multiple of the groups.
    pub(crate) fn publish(&mut self, pending: usize) {
        self.expected += (self.clients.len() * pending) as u64;
        self.fanout.publish(self.topics.batch(pending)).expect("room in the mailbox");
    }

    /// Reads what the sweep has written to every client, after which all that was published has
    /// reached its streams.
    pub(crate) fn read(&mut self) {
        assert_eq!(self.fanout.delivered(), self.expected);
        for client in &mut self.clients {
            let count = client.read(&mut self.buffer).expect("something to read");
            assert!(0 < count && count < self.buffer.len(), "one read takes all");
        }
    }
}

impl Topics {
    fn choose(self, choice: &mut fastrand::Rng) -> Box<[Filter]> {
        match self {
            Self::One => filters(["topic"]),
            Self::Mixed => {
                let topics = (0..GROUPS).map(|group| name(group, choice.usize(..TOPICS_PER_GROUP)));
                let topics: Vec<_> = topics.collect();
                filters(topics.iter().map(String::as_str))
            }
        }
    }

    /// Events of which every stream gets `pending`.
    fn batch(self, pending: usize) -> Vec<Submission> {
        let whole_groups = |groups| {
            let topics = move |group| (0..TOPICS_PER_GROUP).map(move |nth| name(group, nth));
            (0..groups).flat_map(topics).map(|topic| submission(to_topic(&topic)))
        };
        match (self, pending) {
            (Self::One, _) => (0..pending).map(|_| submission(to_topic("topic"))).collect(),
            (Self::Mixed, 1) => whole_groups(1).collect(),
            (Self::Mixed, _) => {
                assert_eq!(pending % GROUPS, 0, "every group of topics as often");
                (0..pending / GROUPS).flat_map(|_| whole_groups(GROUPS)).collect()
            }
        }
    }
}

fn name(group: usize, nth: usize) -> String {
    format!("group.{group}.{nth}")
}
