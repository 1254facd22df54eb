//! Counts what is in flight, and closes. Knows neither HTTP nor the shutdown sequence.
//!
//! # Design
//!
//! tower servers clone the service for each request. An `Arc` in a service is then written twice per
//! request, by every core, on one cache line. That line and the counter's own are the cost of such a
//! middleware on more than one core. This design avoids both:
//!
//! - A gate is `&'static`. A service holds a [`GateRef`], which is `Copy`: its clone writes nothing.
//! - The count is spread over shards, one word each on cache lines of its own. There are as many as
//!   the machine runs threads at once, and a thread uses the shard of its own small index. No two
//!   threads write the same line per request, unless a permit moves to another thread: it is released
//!   in the shard where it was acquired.
//! - A shard's word packs generation, flags and count. Entering is a compare-and-swap that fails on
//!   the closed bit or on a foreign generation. So admission and closing are one atomic step, and a
//!   refusal never touches the count. Leaving is one subtraction.
//! - Each shard becomes idle (closed, with a count of zero) once, and then decrements the gate's count
//!   of busy shards. The last one wakes the waiters. The cost of waking does not depend on how many
//!   requests were in flight, and there is no timer.
//! - The lame duck is a bit in the shards' words too. Entering compares with it anyway, and a permit's
//!   holder reads it there.
//! - `&'static` in safe code means leaked, so gates are reused. Dropping the last handle of a drained
//!   gate puts it on a free list, and the next drain opens it as the next generation. A service of an
//!   earlier generation finds a foreign one and refuses. A gate dropped undrained is leaked, because
//!   its services go on counting into it.
//!
//! `benches/per_request.rs` compares it with a single static word, which is the floor, and with what
//! other crates do: most use one word behind an `Arc`, as fast on one core and several times slower on
//! two.

mod owner;
mod permit;
mod raw;
mod sharded;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What `raw` counts with. A module, because `tests/loom.rs` replaces it with loom's atomics.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub(crate) use self::owner::GateOwner;
pub use self::permit::Permit;
pub(crate) use self::permit::{Admission, Changed, GateRef};
pub(crate) use self::sharded::Sharded;

/// Locks, poisoned or not: none of the crate's locks is held across code that can leave its data
/// inconsistent.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
