//! The shard's timer: one entry a stream, at the earliest thing that is due on it. A hashed wheel of
//! doubly linked lists over the streams' keys, so that scheduling, moving and cancelling are constant
//! time and cost sixteen bytes a stream.

/// Resolution of every stream timer, in milliseconds.
pub(super) const TICK_MS: u64 = 50;

/// A moment, in ticks since the shard started: good for 6.8 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(pub(super) u32);

impl Tick {
    /// The tick that a number of milliseconds since the shard's start falls into.
    pub(super) fn at_ms(ms: u64) -> Self {
        Self(u32::try_from(ms / TICK_MS).unwrap_or(u32::MAX))
    }

    pub(super) fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(Self::at_ms(ms).0))
    }
}

/// Slots of the wheel: what is due later than 25.6 s is looked at on the way and put back.
const SLOTS: usize = 512;
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    next: u32,
    previous: u32,
    slot: u16,
    scheduled: bool,
    due: Tick,
}

pub(super) struct Wheel {
    first: [u32; SLOTS],
    /// By key.
    links: Vec<Link>,
    /// Every slot before this tick has been emptied.
    now: Tick,
}

impl Wheel {
    /// An empty wheel at `now`.
    pub(super) fn starting_at(now: Tick) -> Self {
        Self { first: [NONE; SLOTS], links: Vec::new(), now }
    }

    /// Schedules `key` for `due`, in place of what it was scheduled for. What is already due comes
    /// with the next [`Wheel::advance`].
    pub(super) fn schedule(&mut self, key: usize, due: Tick) {
        self.cancel(key);
        if key >= self.links.len() {
            let link = Link { next: NONE, previous: NONE, slot: 0, scheduled: false, due: Tick(0) };
            self.links.resize(key + 1, link);
        }
        let soonest = due.max(self.now);
        let last_slot = Tick(self.now.0.saturating_add(SLOTS as u32 - 1));
        let slot = soonest.min(last_slot).0 as usize % SLOTS;
        let next = self.first[slot];
        if next != NONE {
            self.links[next as usize].previous = key as u32;
        }
        self.first[slot] = key as u32;
        self.links[key] = Link { next, previous: NONE, slot: slot as u16, scheduled: true, due };
    }

    /// Forgets `key`.
    pub(super) fn cancel(&mut self, key: usize) {
        let Some(link) = self.links.get_mut(key).filter(|link| link.scheduled) else { return };
        link.scheduled = false;
        let Link { next, previous, slot, .. } = *link;
        match previous {
            NONE => self.first[slot as usize] = next,
            previous => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
    }

    /// Takes every key that is due at `now` and appends it to `due`.
    pub(super) fn advance(&mut self, now: Tick, due: &mut Vec<usize>) {
        let span = (now.0.saturating_sub(self.now.0) as usize + 1).min(SLOTS);
        let start = self.now.0 as usize;
        self.now = self.now.max(now);
        for slot in (start..start + span).map(|tick| tick % SLOTS) {
            let mut next = self.first[slot];
            while next != NONE {
                let key = next as usize;
                let link = self.links[key];
                next = link.next;
                if link.due <= now {
                    self.cancel(key);
                    due.push(key);
                } else {
                    // Farther away than the wheel reaches: it goes round once more.
                    self.schedule(key, link.due);
                }
            }
        }
    }

    /// The tick of the first slot that holds anything.
    pub(super) fn next(&self) -> Option<Tick> {
        let start = self.now.0;
        (start..start.saturating_add(SLOTS as u32))
            .find(|&tick| self.first[tick as usize % SLOTS] != NONE)
            .map(Tick)
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! The wheel against a model: a map from key to moment.

    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Operation {
        Schedule { key: usize, after: u32 },
        Cancel { key: usize },
        Advance { ticks: u32 },
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (0..20usize, 0..2000u32).prop_map(|(key, after)| Operation::Schedule { key, after }),
            (0..20usize).prop_map(|key| Operation::Cancel { key }),
            (0..700u32).prop_map(|ticks| Operation::Advance { ticks }),
        ]
    }

    proptest! {
        #[test]
        fn a_wheel_is_its_model(operations in prop::collection::vec(operation(), 1..200)) {
            let mut wheel = Wheel::starting_at(Tick(0));
            let mut model = BTreeMap::new();
            let mut now = Tick(0);
            for operation in operations {
                match operation {
                    Operation::Schedule { key, after } => {
                        let due = Tick(now.0 + after);
                        wheel.schedule(key, due);
                        model.insert(key, due);
                    }
                    Operation::Cancel { key } => {
                        wheel.cancel(key);
                        model.remove(&key);
                    }
                    Operation::Advance { ticks } => {
                        now = Tick(now.0 + ticks);
                        let mut due = Vec::new();
                        wheel.advance(now, &mut due);
                        due.sort_unstable();
                        let expected: Vec<_> =
                            model.extract_if(.., |_, due| *due <= now).map(|(key, _)| key).collect();
                        prop_assert_eq!(due, expected);
                    }
                }
                // Never later than the earliest entry, and nothing only when there is none.
                let earliest = model.values().min().copied();
                prop_assert_eq!(wheel.next().is_some(), earliest.is_some());
                prop_assert!(wheel.next() <= earliest.map(|due| due.max(now)));
            }
        }
    }
}
