//! The lines a child process prints, collected by a thread so that the child never blocks on a
//! full pipe, kept bounded, and waited for with a deadline.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::deadline::Deadline;

/// Lines kept; older ones are forgotten.
const LINES_MAX: usize = 20_000;

/// A handle on the lines; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<String>,
    forgotten: usize,
    ended: bool,
}

impl Lines {
    /// Reads `pipe` to its end in a thread of its own.
    pub fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
                writer.push(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned());
                line.clear();
            }
            writer.state().ended = true;
            writer.0.changed.notify_all();
        });
        lines
    }

    /// Every line kept so far.
    pub fn all(&self) -> Vec<String> {
        self.state().kept.iter().cloned().collect()
    }

    /// How many lines there have been: a mark to wait after.
    pub fn count(&self) -> usize {
        let state = self.state();
        state.forgotten + state.kept.len()
    }

    /// The first answer of `pick` for a line from number `from` on.
    ///
    /// # Errors
    /// What happened instead: the deadline, or the end of the lines.
    pub fn wait_from<T>(
        &self,
        mut from: usize,
        deadline: Deadline,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, &'static str> {
        let mut state = self.state();
        loop {
            for line in state.kept.iter().skip(from.saturating_sub(state.forgotten)) {
                if let Some(answer) = pick(line) {
                    return Ok(answer);
                }
            }
            from = state.forgotten + state.kept.len();
            if state.ended {
                return Err("the output ended");
            }
            let left = deadline.left().ok_or("the deadline passed")?;
            let waited = self.0.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn push(&self, line: String) {
        let mut state = self.state();
        if state.kept.len() == LINES_MAX {
            state.kept.pop_front();
            state.forgotten += 1;
        }
        state.kept.push_back(line);
        drop(state);
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
