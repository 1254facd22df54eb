//! Floor 1: counts who is inside, and closes. Knows neither HTTP nor the policy of the phases.
//!
//! # Why it is as it is
//!
//! tower servers clone the service for each request. Whatever a service owns by an `Arc` is then
//! written twice per request, clone and drop, by every core, on one cache line; that line and the
//! counter's own are what such a middleware costs once there is more than one core. So:
//!
//! - A gate is `&'static`. A service holds the reference and a generation, an [`Entrance`], which is
//!   `Copy`: to clone it writes nothing.
//! - The count is spread over shards, one word each on cache lines of its own, as many as the machine
//!   runs threads at once; a thread uses the one of its own small index. On the path of a request no
//!   two threads write the same line, unless a permit travels: it leaves the shard that it entered.
//! - A shard's word packs generation, closed bit and count. Entering is a compare-and-swap that
//!   fails on the closed bit or on a foreign generation, so admission and closing are one step and
//!   a refusal never disturbs the count. Leaving is one subtraction, which also tells the leaver
//!   whether it was the last of a closed shard.
//! - Zero is found by counting, not by looking: a shard becomes idle (closed, count zero) exactly
//!   once; whoever makes it so counts it off the gate's own word, and whoever counts off the last
//!   one announces it. The cost of waking does not depend on how many were in flight, and there is
//!   no timer.
//! - Notice is a bit in the shards' words too: those who enter compare with it anyway, so that only
//!   under notice does anyone do more than count, and that is to note when they came.
//! - `&'static` in safe code means leaked, so gates are used again: the last handle's drop, or the
//!   last permit's if that comes later, puts the gate on a free list, and the next drain opens it as
//!   the next generation. A service left over from an earlier one finds a foreign generation, and
//!   `orphans` tells whether that one was drained.
//!
//! `benches/per_request.rs` measures it against what peers do, most of which is one word behind an
//! `Arc`: as fast on one core, and several times slower on two.

mod entrance;
mod lease;
mod orphans;
mod permit;
mod pool;
mod raw;
mod sharded;
mod thread;

/// What `raw` counts with. A module of its own because `tests/loom.rs` puts loom's in its place.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub(crate) use self::entrance::{Admission, Changed, Entrance, Standing};
pub(crate) use self::lease::Lease;
pub use self::permit::Permit;
pub(crate) use self::sharded::Sharded;
