//! How many shards there are, and a small index for each thread, so that threads that run at the
//! same time use different ones.

use std::cell::Cell;
use std::sync::{LazyLock, Mutex, PoisonError};

/// As many as run at once, so that each may have one for itself; a power of two up to 64.
static SHARDS: LazyLock<usize> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    threads.next_power_of_two().min(64)
});

/// Which indexes are taken. The lowest free one is given out, and is given back when its thread
/// ends: with plain counting, threads that come and go (a blocking pool, say) would in time set two
/// busy workers on one shard.
static TAKEN: Mutex<Vec<bool>> = Mutex::new(Vec::new());

const NONE: usize = usize::MAX;

thread_local! {
    /// Without a destructor, so that reading it is one load at a fixed place.
    static INDEX: Cell<usize> = const { Cell::new(NONE) };
    /// With one: gives the index back. Touched once in a thread's life.
    static CLAIM: Claim = Claim::take();
}

struct Claim(usize);

impl Claim {
    fn take() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken[self.0] = false;
    }
}

pub(super) fn shards() -> usize {
    *SHARDS
}

/// The current thread's index.
#[inline]
pub(super) fn index() -> usize {
    match INDEX.get() {
        NONE => assign(),
        index => index,
    }
}

#[cold]
fn assign() -> usize {
    // The claim is out of reach while the thread's other destructors run; any index serves then:
    // two threads on one shard are slower, not wrong.
    let index = CLAIM.try_with(|claim| claim.0).unwrap_or(0);
    INDEX.set(index);
    index
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::thread;

    use super::index;

    #[test]
    fn a_thread_keeps_its_index() {
        assert_eq!(index(), index());
    }

    #[test]
    fn threads_at_the_same_time_have_different_ones() {
        let all_here = Barrier::new(8);
        let indexes: HashSet<_> = thread::scope(|scope| {
            let take = || {
                let index = index();
                all_here.wait();
                index
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|it| it.join().unwrap()).collect()
        });
        assert_eq!(indexes.len(), 8);
    }

    #[test]
    fn an_index_is_given_back_when_its_thread_ends() {
        // The other tests run at the same time, so which one it is cannot be told; but a thousand
        // threads one after the other do not take a thousand.
        let indexes = (0..1_000).map(|_| thread::spawn(index).join().unwrap());
        assert!(indexes.max() < Some(500));
    }
}
