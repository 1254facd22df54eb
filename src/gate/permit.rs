//! Permits.

use std::fmt;

use super::owner::{Shard, arrival_time};

/// One admitted unit of work. While a permit exists, the drain is not finished.
///
/// The layer holds a permit for each request, from before the inner service is called until the
/// response body is dropped. For work that is not an HTTP request, such as a job from a queue, get one
/// with [`Drain::try_acquire`]. For an upgraded connection, take the request's own from its extensions
/// with [`DrainLayer::share_permit`]. Keep the permit while the work runs, then drop it, on any thread,
/// inside or outside a runtime.
///
/// A clone keeps the drain waiting too, also while draining, so that admitted work can be split. Each
/// clone adds one to [`Drain::in_flight`].
///
/// A permit is one word. Taking, cloning and dropping one is a single atomic operation each, on a
/// cache line that other threads rarely write. A leaked permit (`mem::forget`) is never released: its
/// drain can only time out.
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
    /// Records that a request arrived in a lame duck, now.
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
