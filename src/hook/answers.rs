//! Answers of app servers that are kept for a while, and fetched by one for all who ask meanwhile.

use std::time::{Duration, Instant};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

/// Bytes of an entry beside its key and its value.
const ENTRY_BYTES: usize = 256;

/// Entries that the cache has room for at first.
const ENTRIES: usize = 64;

/// What names a request: everything that its answer may depend on.
pub(super) type Key = Box<[u8]>;

/// Something that takes memory.
pub(super) trait Bytes {
    /// How many bytes.
    fn bytes(&self) -> usize;
}

/// Answers by the requests for them. Bounded in bytes: the ones that are asked for least go first.
pub(super) struct Answers<V> {
    cache: Cache<Key, Kept<V>, ByBytes>,
}

#[derive(Clone)]
struct Kept<V> {
    value: V,
    fetched: Instant,
    fresh_until: Instant,
}

#[derive(Clone)]
struct ByBytes;

impl<V: Bytes> Weighter<Key, Kept<V>> for ByBytes {
    fn weight(&self, key: &Key, kept: &Kept<V>) -> u64 {
        (ENTRY_BYTES + key.len() + kept.value.bytes()) as u64
    }
}

impl<V: Clone + Bytes> Answers<V> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let options = OptionsBuilder::new()
            // Its parts would share the room, and an answer has to fit one of them.
            .shards(1)
            .estimated_items_capacity(ENTRIES)
            .weight_capacity(bytes_max as u64)
            .build()
            .expect("all that has no default is given");
        let (hasher, lifecycle) = (DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self { cache: Cache::with_options(options, ByBytes, hasher, lifecycle) }
    }

    /// The answer to a request, and for how long it counts: one that is kept, if it is `still_good`;
    /// or else one that is fetched now, by this caller or by another. If the one who fetches goes, the
    /// next who waits does it.
    pub(super) async fn get(
        &self,
        key: &Key,
        still_good: impl Fn(&V) -> bool,
        fetch: impl AsyncFnOnce() -> (V, Duration),
    ) -> V {
        let asked = Instant::now();
        loop {
            match self.cache.get_value_or_guard_async(key).await {
                Ok(kept) => {
                    // One that was still being fetched is as good as one's own, however short it lives.
                    let counts = kept.fetched >= asked || kept.fresh_until > Instant::now();
                    if counts && still_good(&kept.value) {
                        return kept.value;
                    }
                    self.cache.remove_if(key, |other| other.fetched == kept.fetched);
                }
                Err(guard) => {
                    let (value, ttl) = fetch().await;
                    let fetched = Instant::now();
                    let kept = Kept { value: value.clone(), fetched, fresh_until: fetched + ttl };
                    // Refused only if somebody has removed what it was to become.
                    let _ = guard.insert(kept);
                    return value;
                }
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(tidegate_loom))]
mod tests {
    //! Who fetches, and who shares.

    use std::cell::Cell;
    use std::future::pending;

    use tokio::task::yield_now;

    use super::*;

    impl Bytes for u32 {
        fn bytes(&self) -> usize {
            1000
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    fn key(name: &str) -> Key {
        name.as_bytes().into()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_asks_meanwhile_shares_the_fetch_and_its_answer_is_kept() {
        let (answers, fetches) = (Answers::<u32>::new(1 << 20), Cell::new(0));
        let fetch = |ttl| {
            let fetches = &fetches;
            async move || {
                fetches.set(fetches.get() + 1);
                yield_now().await;
                (fetches.get(), ttl)
            }
        };
        let ask = |ttl| answers.get(&*Box::leak(Box::new(key("a"))), |_| true, fetch(ttl));
        // One that does not live at all is still shared by those who wait for it.
        let three = tokio::join!(ask(Duration::ZERO), ask(Duration::ZERO), ask(Duration::ZERO));
        assert_eq!((three, fetches.get()), ((1, 1, 1), 1));
        assert_eq!(ask(LONG).await, 2);
        assert_eq!(ask(LONG).await, 2);
        assert_eq!(answers.get(&key("b"), |_| true, fetch(LONG)).await, 3);
        assert_eq!(answers.get(&key("a"), |value| *value > 2, fetch(LONG)).await, 4);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_next_fetches_when_the_one_who_does_goes() {
        let (answers, key) = (Answers::<u32>::new(1 << 20), key("a"));
        let mut first = Box::pin(answers.get(&key, |_| true, async || pending().await));
        let mut second = Box::pin(answers.get(&key, |_| true, async || (2, LONG)));
        tokio::select! {
            biased;
            _ = &mut first => unreachable!("it never ends"),
            _ = &mut second => unreachable!("it waits"),
            () = yield_now() => {}
        }
        drop(first);
        assert_eq!(second.await, 2);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn answers_are_bounded_in_bytes() {
        let answers = Answers::<u32>::new(64 * 1024);
        for number in 0..1000_u32 {
            let key = key(&number.to_string());
            assert_eq!(answers.get(&key, |_| true, async || (number, LONG)).await, number);
        }
        assert!(answers.cache.weight() <= 64 * 1024, "{}", answers.cache.weight());
        assert!(answers.cache.len() > 10, "{}", answers.cache.len());
    }
}
