//! Data that many threads write, each in a shard of its own.

use std::sync::{Mutex, MutexGuard};

use super::{lock, thread_index};

/// One `T` for each thread that runs at once, behind a lock that is rarely contended.
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
        &thread_index::current(&self.shards).0
    }

    /// Locks one shard after the other.
    pub(crate) fn iter(&self) -> impl Iterator<Item = MutexGuard<'_, T>> {
        self.shards.iter().map(|shard| lock(&shard.0))
    }
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        let shards = (0..thread_index::shards()).map(|_| Padded::default());
        Self {
            shards: shards.collect(),
        }
    }
}
