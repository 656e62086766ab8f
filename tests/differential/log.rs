//! What a backend's application has got: whole requests, in order, each with its number. An answer
//! carries the number of the request that it is for, so that the two can be matched.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::support::Deadline;

/// A request, as far as parties can disagree about it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// In origin-form: whether a target names its host too is no question of where a request ends.
    pub(crate) target: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn new(method: &str, target: &str, body: Vec<u8>) -> Self {
        Self { method: method.to_owned(), target: origin_form(target), body }
    }

    /// From the `METHOD TARGET BODY-IN-HEX` that a server in another language prints.
    pub(crate) fn from_line(line: &str) -> Self {
        let mut words = line.splitn(2, ' ');
        let (method, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (target, hex) = rest.rsplit_once(' ').unwrap_or_else(|| panic!("no request: {line:?}"));
        let digits = hex.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).unwrap_or_else(|_| panic!("no request: {line:?}"))
        });
        Self::new(method, target, digits.collect())
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, target, body } = self;
        let shown = &body[..body.len().min(60)];
        write!(f, "{method} {target} +{} bytes", body.len())?;
        if body.is_empty() { Ok(()) } else { write!(f, " {:?}", shown.escape_ascii().to_string()) }
    }
}

fn origin_form(target: &str) -> String {
    let Some((scheme, rest)) = target.split_once("://") else { return target.to_owned() };
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return target.to_owned();
    }
    match rest.find(['/', '?']) {
        Some(at) if rest[at..].starts_with('?') => format!("/{}", &rest[at..]),
        Some(at) => rest[at..].to_owned(),
        None => "/".to_owned(),
    }
}

/// A handle; clones share the requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<(Mutex<Vec<Seen>>, Condvar)>);

impl Log {
    /// Gives the request's number.
    pub(crate) fn note(&self, seen: Seen) -> usize {
        let mut requests = self.requests();
        requests.push(seen);
        self.0.1.notify_all();
        requests.len() - 1
    }

    pub(crate) fn count(&self) -> usize {
        self.requests().len()
    }

    /// The requests from number `from` on, once there are `count` in all: an answer may overtake the
    /// note of its request on the way here.
    #[track_caller]
    pub(crate) fn since(&self, from: usize, count: usize) -> Vec<Seen> {
        let deadline = Deadline::patient();
        let mut requests = self.requests();
        while requests.len() < count {
            let left = deadline.left().expect("an answered request was noted");
            let waited = self.0.1.wait_timeout(requests, left);
            requests = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        requests[from..].to_vec()
    }

    fn requests(&self) -> MutexGuard<'_, Vec<Seen>> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
