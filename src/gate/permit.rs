//! Permits, and the gate reference through which services and handles acquire them.

use std::fmt;

use tokio::sync::futures::Notified;

use super::owner::{Gate, Shard, arrival_time};
use super::raw::{Entered, Generation, State};
use super::sharded;

/// A reference to one generation of a gate. `Copy`, so that cloning a service writes no shared memory.
#[derive(Clone, Copy)]
pub(crate) struct GateRef {
    pub(super) gate: &'static Gate,
    pub(super) generation: Generation,
}

/// Future that resolves at the gate's next change.
pub(crate) type Changed = Notified<'static>;

/// Result of [`GateRef::enter`].
pub(crate) enum Admission {
    Admitted(Permit),
    /// In a lame duck, or while closing.
    AdmittedInLameDuck(Permit),
    Refused,
}

impl GateRef {
    #[inline]
    pub(crate) fn enter(self) -> Admission {
        let shard = self.shard();
        if shard.enter(self.generation) {
            return Admission::Admitted(Permit { shard });
        }
        self.enter_slow(shard)
    }

    #[cold]
    fn enter_slow(self, shard: &'static Shard) -> Admission {
        match shard.enter_slow(self.generation) {
            // The lame duck was left in the meantime.
            Some(Entered::Serving) => Admission::Admitted(Permit { shard }),
            Some(Entered::Leaving) => Admission::AdmittedInLameDuck(Permit { shard }),
            None => Admission::Refused,
        }
    }

    /// Counts a refusal.
    pub(crate) fn count_refusal(self) {
        self.shard().refuse(self.generation);
    }

    /// Whether the gate is a lame duck, closing or closed.
    pub(crate) fn is_leaving(self) -> bool {
        let state = self.gate.core.word.state();
        state.is_lame_duck() || state.is_closing() || self.is_closed_in(state)
    }

    /// Whether the gate is closing or closed.
    pub(crate) fn is_closing(self) -> bool {
        let state = self.gate.core.word.state();
        state.is_closing() || self.is_closed_in(state)
    }

    /// Whether nothing is admitted any more.
    pub(crate) fn is_closed(self) -> bool {
        self.is_closed_in(self.gate.core.word.state())
    }

    /// If the generation differs, this use of the gate has been drained.
    fn is_closed_in(self, state: State) -> bool {
        state.is_closed() || !state.is_of(self.generation)
    }

    /// Returns a future that resolves at the gate's next change after this call, not after the first poll.
    pub(crate) fn changed(self) -> Changed {
        self.gate.core.changed.notified()
    }

    #[inline]
    fn shard(self) -> &'static Shard {
        sharded::current(&self.gate.shards)
    }
}

/// One admitted unit of work. While a permit exists, the drain is not finished.
///
/// The layer holds a permit for each request, from before the inner service is called until the response body
/// is dropped. For work that is not an HTTP request, such as a job from a queue, get one with
/// [`Drain::try_acquire`]. For an upgraded connection, use the request's own permit, from
/// [`DrainLayer::share_permit`]. Keep the permit while the work runs, then drop it, on any thread, inside or
/// outside a runtime.
///
/// The drain waits for clones too. A permit can be cloned while draining, so that admitted work can be split.
/// Each clone adds one to [`Drain::in_flight`].
///
/// A permit is one word. Acquiring, cloning and dropping it are one atomic operation each, on a cache line
/// that other threads rarely write. A leaked permit (`mem::forget`) is never released: its drain can only
/// time out.
///
/// [`Drain::try_acquire`]: crate::Drain::try_acquire
/// [`Drain::in_flight`]: crate::Drain::in_flight
/// [`DrainLayer::share_permit`]: crate::DrainLayer::share_permit
///
/// # Examples
///
/// ```
/// # let drain = tower_drain::Drain::new();
/// let permit = drain.try_acquire()?;
/// std::thread::spawn(move || {
///     // ... the job ...
///     drop(permit);
/// });
/// # Ok::<_, tower_drain::TryAcquireError>(())
/// ```
#[must_use = "the drain does not wait for work whose permit has been dropped"]
pub struct Permit {
    pub(super) shard: &'static Shard,
}

impl Permit {
    /// Records that a request arrived now, in a lame duck.
    pub(crate) fn record_arrival(&self) {
        self.shard.record_arrival(arrival_time());
    }

    /// Whether the gate is a lame duck, closing or closed.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        self.shard.is_leaving()
    }
}

impl Clone for Permit {
    fn clone(&self) -> Self {
        self.shard.enter_again();
        Self { shard: self.shard }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.shard.leave() {
            self.shard.core.shard_became_idle();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
