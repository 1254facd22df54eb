//! Counts the work in flight, keeps the phase, and wakes those who wait for it. Knows neither HTTP nor the shutdown
//! sequence.
//!
//! # Design
//!
//! Servers clone a tower service for each request. If the service holds an `Arc`, every core writes the same
//! cache line twice per request. That line and the counter's own are the cost of such a middleware on more
//! than one core. This design avoids both:
//!
//! - A gate is `&'static`. A service holds a [`GateRef`], which is `Copy`: cloning it writes nothing.
//! - The count is spread over shards, each one word on its own cache lines. There are as many shards as the
//!   machine runs threads at once, and each thread uses the shard of its own small index. No two threads
//!   write the same line per request, unless a permit moves to another thread: a permit is released in the
//!   shard where it was acquired.
//! - A word packs phase, generation and count. Entering is a compare-and-swap that fails if the phase is draining or
//!   the generation differs. So the check and the count are one atomic step, and a refusal never touches the
//!   count. Leaving is one subtraction.
//! - Each shard becomes idle (draining, with a count of zero) once, and then decrements the gate's count of busy
//!   shards. The last one wakes the waiters. The cost of waking does not depend on how many requests were in
//!   flight, and there is no timer.
//! - In safe code `&'static` means leaked, so gates are reused. Dropping the last handle of a drained gate
//!   puts the gate on a free list, and the next drain opens it as the next generation. A service of an
//!   earlier generation sees that the generation differs, and refuses. A gate that is dropped before it is
//!   drained is leaked, because its services still use it.
//!
//! `benches/per_request.rs` compares this with a single static word, which is the floor, and with other
//! crates. Most of them use one word behind an `Arc`: as fast on one core, several times slower on two.
//!
//! # Invariants
//!
//! `word.rs` has those of the words, which `tests/loom.rs` checks. Besides:
//!
//! 1. A gate is used by one drain, or is on the free list, or is leaked. Only a drained gate goes on the list, and each use
//!    is a generation of its own: services of an earlier one are refused, and its permits are gone.
//! 2. The phase changes under the lock of the history only. The waiters are woken after that, without a lock.
//! 3. A task that waits registers its waker before it looks. A thread that makes a change wakes after it.
//! 4. A goodbye comes at its time in the second half of a lame duck, or with closing, and never twice.
//!
//! # Locks
//!
//! In this order; none is taken under one that comes later:
//!
//! 1. The free list. Nothing else is locked under it.
//! 2. The history.
//! 3. The goodbyes, the last arrival of a shard, the waiters: one of them at a time.
//!
//! Under none of them does code of others run: wakers are cloned, woken and dropped outside.

mod goodbye;
mod handle;
mod history;
mod permit;
mod reached;
mod sharded;
mod word;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The atomics that `word` uses. A module, because `tests/loom.rs` replaces it with loom's.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};

    /// Runs a test of `word`.
    #[cfg(test)]
    pub(super) fn model(test: impl Fn()) {
        test();
    }
}

pub use self::goodbye::Goodbye;
pub(crate) use self::handle::GateRef;
pub(crate) use self::history::Draining;
pub(crate) use self::permit::Count;
pub use self::permit::Permit;
pub use self::reached::Reached;
pub(crate) use self::reached::{Waiter, wake_each};
pub(crate) use self::sharded::Sharded;
pub use self::word::Phase;

/// Locks a mutex and ignores poisoning: no code under the crate's locks can leave their data inconsistent.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
