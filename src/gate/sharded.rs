//! Data that many threads write, each in a part of its own.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::thread;

/// A `T` for each of the threads that run at once, behind a lock that the others seldom want.
pub(crate) struct Sharded<T> {
    shards: Box<[Padded<T>]>,
}

/// Alone on its cache lines, as a gate's shard is.
#[derive(Default)]
#[repr(align(128))]
struct Padded<T>(Mutex<T>);

impl<T> Padded<T> {
    fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Sharded<T> {
    /// The current thread's part, and where it is.
    #[inline]
    pub(crate) fn mine(&self) -> (usize, MutexGuard<'_, T>) {
        let shard = thread::index() & (self.shards.len() - 1);
        (shard, self.shards[shard].lock())
    }

    /// The part that [`mine`](Self::mine) said is there.
    #[inline]
    pub(crate) fn at(&self, shard: usize) -> MutexGuard<'_, T> {
        self.shards[shard].lock()
    }

    /// One part after the other; what is done to one blocks no other.
    pub(crate) fn each(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(Padded::lock)
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        let shards = (0..thread::shards()).map(|_| Padded::default());
        Self {
            shards: shards.collect(),
        }
    }
}
