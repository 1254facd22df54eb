//! The number of shards, an index per thread (concurrent threads use different shards), and data that is
//! sharded like a gate.

use std::cell::Cell;
use std::sync::{LazyLock, Mutex, MutexGuard};

use super::lock;

/// The number of threads that run at once, rounded up to a power of two, at most 64.
static SHARDS: LazyLock<usize> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    threads.next_power_of_two().min(64)
});

/// The indexes in use. A thread takes the lowest free one and returns it when it ends. With a plain counter,
/// short-lived threads (a blocking pool) would eventually put two busy workers on one shard.
static TAKEN: Mutex<Vec<bool>> = Mutex::new(Vec::new());

/// The index of a thread that has none yet.
const NONE: usize = usize::MAX;

thread_local! {
    /// The index of the thread's shard. It has no destructor, so that reading it is a single load.
    static INDEX: Cell<usize> = const { Cell::new(NONE) };
    /// Its destructor returns the index. Used once per thread.
    static CLAIM: Claim = Claim::take();
}

struct Claim(usize);

impl Claim {
    fn take() -> Self {
        let mut taken = lock(&TAKEN);
        let index = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
        if index == taken.len() {
            taken.push(true);
        } else {
            taken[index] = true;
        }
        Self(index)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = lock(&TAKEN);
        taken[self.0] = false;
    }
}

pub(super) fn shards() -> usize {
    *SHARDS
}

/// Returns the current thread's element of `shards`, whose length must be [`shards`].
#[inline]
pub(super) fn current<T>(shards: &[T]) -> &T {
    match shards.get(INDEX.get()) {
        Some(shard) => shard,
        // `NONE`: the bounds check covers it.
        None => &shards[assign()],
    }
}

#[cold]
fn assign() -> usize {
    // While the thread's other destructors run, the claim may be gone. Then any index will do: two threads on
    // one shard are slower, not wrong.
    let claimed = CLAIM.try_with(|claim| claim.0).unwrap_or(0);
    // The number of shards is a power of two.
    let index = claimed & (shards() - 1);
    INDEX.set(index);
    index
}

/// One `T` per shard, each behind a lock that is rarely contended.
pub(crate) struct Sharded<T> {
    shards: Box<[Padded<T>]>,
}

/// Alone on its cache lines, like a gate's shard.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(Mutex<T>);

impl<T> Sharded<T> {
    /// Returns the current thread's shard.
    #[inline]
    pub(crate) fn current(&self) -> &Mutex<T> {
        &current(&self.shards).0
    }

    /// Locks one shard after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(|shard| lock(&shard.0))
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        let shards = (0..shards()).map(|_| Padded::default());
        Self {
            shards: shards.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    use super::{CLAIM, current, shards};

    fn claimed() -> usize {
        CLAIM.with(|claim| claim.0)
    }

    #[test]
    fn a_thread_keeps_its_shard() {
        let shards: Vec<_> = (0..shards()).collect();
        let shard = *current(&shards);
        assert_eq!(shard, claimed() & (shards.len() - 1));
        assert_eq!(shard, *current(&shards));
    }

    #[test]
    fn concurrent_threads_have_different_indexes() {
        let barrier = Barrier::new(8);
        let indexes: HashSet<_> = thread::scope(|scope| {
            let take = || {
                let index = claimed();
                barrier.wait();
                index
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        assert_eq!(indexes.len(), 8);
    }

    #[test]
    fn an_index_is_reused_once_its_thread_has_ended() {
        // Other tests run at the same time, so the exact index is unknown. A thousand threads, one after the
        // other, do not need a thousand indexes.
        let indexes = (0..1_000).map(|_| thread::spawn(claimed).join().unwrap());
        assert!(indexes.max() < Some(500));
    }
}
