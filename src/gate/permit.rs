//! What one holds who has entered.

use std::fmt;

use super::pool::Gate;
use super::raw::Shard;

/// One admitted unit of work: while one lives, the drain is not finished.
///
/// The layer holds one for each request, from before the inner service is called until the response
/// body is dropped. For work that is no HTTP request (a job from a queue, an upgraded connection)
/// take one with [`Drain::try_enter`](crate::Drain::try_enter), or have the request's own from its
/// extensions with [`DrainLayer::share_permit`](crate::DrainLayer::share_permit), and keep it as
/// long as the work runs. Dropping it is all there is to do; it may happen on any thread, inside or
/// outside a runtime.
///
/// A clone keeps the drain waiting too, also while draining: work that was admitted may go on in
/// parts. Each clone counts as one in [`in_flight`](crate::Drain::in_flight).
///
/// A permit is two words, and to take, clone or drop one is a single atomic operation on a cache
/// line that other threads do not use. A permit that is leaked (`mem::forget`) is never given back:
/// its drain ends by timeout only.
///
/// ```
/// # let drain = tower_drain::Drain::new();
/// let permit = drain.try_enter()?;
/// std::thread::spawn(move || {
///     // ... the job ...
///     drop(permit);
/// });
/// # Ok::<_, tower_drain::Closed>(())
/// ```
#[must_use = "the drain does not wait for work whose permit has been dropped"]
pub struct Permit {
    pub(super) shard: &'static Shard,
    pub(super) gate: &'static Gate,
}

impl Clone for Permit {
    fn clone(&self) -> Self {
        self.shard.enter_again();
        Self { ..*self }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.shard.leave() {
            self.gate.count_off();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
