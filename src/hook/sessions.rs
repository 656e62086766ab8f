//! Sessions that an app server has named, and their end: a revocation reaches every shard, and nothing
//! that was decided before it counts after it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

/// Longest name of a session, in bytes.
pub const SESSION_BYTES_MAX: usize = 128;

/// Revocations that are remembered. With more since a decision, it does not count, whosever it is.
const REMEMBERED: usize = 1024;

/// Revocations that may wait for a shard.
const WAITING: usize = 64;

/// The way to end sessions. Shared by all shards.
pub struct Sessions {
    past: Mutex<Past>,
    shards: Box<[mpsc::Sender<Revocation>]>,
}

struct Past {
    count: u64,
    revoked: Revoked,
}

/// The end of a session, as a shard is told.
pub struct Revocation {
    /// Its place among the revocations, from 1.
    pub number: u64,
    /// The session's name.
    pub session: Arc<str>,
    /// How many streams the shard has ended.
    pub ended: oneshot::Sender<usize>,
}

/// What a shard is told, as it comes.
pub type Revocations = mpsc::Receiver<Revocation>;

/// The last revocations, bounded.
#[derive(Debug, Default)]
pub struct Revoked {
    last: VecDeque<(u64, Arc<str>)>,
    /// The greatest number that is not remembered.
    forgotten: u64,
}

impl Revoked {
    /// Notes a revocation.
    pub fn add(&mut self, number: u64, session: Arc<str>) {
        if self.last.len() == REMEMBERED
            && let Some((oldest, _)) = self.last.pop_front()
        {
            self.forgotten = self.forgotten.max(oldest);
        }
        self.last.push_back((number, session));
    }

    /// Whether a session has been revoked after so many revocations, or may have been.
    pub fn is_revoked(&self, session: &str, since: u64) -> bool {
        let is_it = |(number, name): &(u64, Arc<str>)| *number > since && **name == *session;
        since < self.forgotten || self.last.iter().any(is_it)
    }
}

impl Sessions {
    /// No session is revoked yet. Gives what each shard is told by.
    pub fn new(shards: usize) -> (Self, Vec<Revocations>) {
        let (shards, told): (Vec<_>, Vec<_>) = (0..shards).map(|_| mpsc::channel(WAITING)).unzip();
        let past = Past { count: 0, revoked: Revoked::default() };
        (Self { past: Mutex::new(past), shards: shards.into() }, told)
    }

    /// Ends all streams of a session. Returns how many there were, once every shard has ended its own.
    pub async fn revoke(&self, session: &str) -> usize {
        let session: Arc<str> = session.into();
        let number = {
            let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
            past.count += 1;
            let number = past.count;
            past.revoked.add(number, Arc::clone(&session));
            number
        };
        let mut answers = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let (ended, answer) = oneshot::channel();
            let revocation = Revocation { number, session: Arc::clone(&session), ended };
            // It fails only when the shard has ended, and with it its streams.
            let _ = shard.send(revocation).await;
            answers.push(answer);
        }
        let mut ended = 0;
        for answer in answers {
            ended += answer.await.unwrap_or(0);
        }
        ended
    }

    /// Revocations so far.
    pub(super) fn count(&self) -> u64 {
        self.past.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    pub(super) fn is_revoked(&self, session: &str, since: u64) -> bool {
        let past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        past.revoked.is_revoked(session, since)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! What a revocation ends.

    use super::*;

    #[test]
    fn f57_what_was_decided_before_a_revocation_does_not_count() {
        let mut revoked = Revoked::default();
        revoked.add(1, "a".into());
        assert!(revoked.is_revoked("a", 0));
        assert!(!revoked.is_revoked("a", 1) && !revoked.is_revoked("b", 0));
        for number in 2..=1025 {
            revoked.add(number, "c".into());
        }
        // The first is not remembered: whoever was decided on before it is asked for again.
        assert!(revoked.is_revoked("b", 0) && !revoked.is_revoked("b", 1));
    }
}
