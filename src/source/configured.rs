//! The sources of another configuration, at a reload: what is new begins, what differs begins anew, what
//! is gone ends, and all others read on.

use std::collections::HashSet;

use tokio::sync::MutexGuard;

use super::{Order, SourceError, Sources};
use crate::config::schema::Source;

/// A change of the configured sources that nothing is in the way of. Nobody else changes any meanwhile.
pub struct Reconfiguration<'a> {
    sources: &'a Sources,
    wanted: &'a [Source],
    _turn: MutexGuard<'a, ()>,
}

impl Sources {
    /// Looks whether the sources of a configuration, which is valid, can take the place of those that
    /// are there.
    ///
    /// # Errors
    /// There are too many, or a file of authorities cannot be read. Nothing has changed.
    pub async fn reconfigure<'a>(
        &'a self,
        wanted: &'a [Source],
    ) -> Result<Reconfiguration<'a>, SourceError> {
        let turn = self.changes.lock().await;
        let names: HashSet<&str> = wanted.iter().map(|spec| &*spec.name).collect();
        let put = self
            .entries()
            .values()
            .filter(|entry| !entry.is_configured)
            .cloned()
            .collect::<Vec<_>>();
        let others = put.iter().filter(|entry| !names.contains(&*entry.spec.name)).count();
        if wanted.len() + others > self.settings.sources_max {
            return Err(SourceError::TooMany(self.settings.sources_max));
        }
        for spec in wanted {
            self.connector(spec)?;
        }
        Ok(Reconfiguration { sources: self, wanted, _turn: turn })
    }
}

impl Reconfiguration<'_> {
    /// Makes it so. Waits for the tasks that end.
    pub async fn apply(self) {
        let Self { sources, wanted, .. } = self;
        let is_wanted = |name: &str| wanted.iter().any(|spec| spec.name == name);
        let there: Vec<_> = sources.entries().values().cloned().collect();
        for entry in there.iter().filter(|entry| entry.is_configured) {
            if !is_wanted(&entry.spec.name) {
                sources.entries().remove(&entry.spec.name);
                entry.end(Order::Remove).await;
            }
        }
        for spec in wanted {
            let old = there.iter().find(|entry| entry.spec.name == spec.name);
            if old.is_some_and(|old| old.is_configured && old.spec == *spec) {
                continue;
            }
            let replaced = sources.replace(old, spec.clone(), true).await;
            replaced.expect("its authorities have been read");
        }
    }
}
