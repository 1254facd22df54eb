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
//! # Locks
//!
//! A thread that holds the history takes no other lock but those of the last arrivals and, to reuse a gate, that of the
//! goodbyes. The locks of the waiters, of the
//! goodbyes and of the last arrivals are held alone, and run no code of others.

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
