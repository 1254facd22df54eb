//! Counts and permits.

use std::fmt;

use super::handle::{Shard, shard_became_idle};

/// One count of a gate. While it exists, the drain is not finished. One word, because each request in flight has
/// one.
pub(crate) struct Count {
    shard: &'static Shard,
}

/// One admitted unit of work. While a permit exists, the drain is not finished.
///
/// The layer holds a permit for each request, from its arrival until its response body is dropped. For work that is
/// not an HTTP request, such as a job from a queue, get one with [`Drain::try_acquire`]. For an upgraded connection,
/// use the request's own permit, from [`DrainLayer::share_permit`]. Keep the permit while the work runs, then drop
/// it, on any thread, inside or outside a runtime.
///
/// The drain waits for clones too. A permit can be cloned while draining, so that admitted work can be split.
/// Each clone adds one to [`Drain::in_flight`].
///
/// Acquiring, cloning and dropping a permit is one atomic operation each, on a cache line that other threads rarely
/// write. If a request passes the layers of two drains that share their permits, the permit belongs to both drains;
/// cloning it then allocates.
///
/// A leaked permit (`mem::forget`) is never released: its drain can only time out. After 2^37 leaked permits, no more
/// are admitted, and cloning one aborts the process.
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
#[derive(Clone)]
#[must_use = "the drain does not wait for work whose permit has been dropped"]
pub struct Permit {
    _count: Count,
    /// The permit of an outer drain, for the same work.
    _outer: Option<Box<Permit>>,
}

// === impl Count ===

impl Count {
    /// Takes a count that the shard has added.
    #[inline]
    pub(super) fn new(shard: &'static Shard) -> Self {
        Self { shard }
    }
}

impl Clone for Count {
    #[inline]
    fn clone(&self) -> Self {
        self.shard.enter_again();
        Self { shard: self.shard }
    }
}

impl Drop for Count {
    #[inline]
    fn drop(&mut self) {
        if self.shard.leave() {
            shard_became_idle(self.shard);
        }
    }
}

// === impl Permit ===

impl Permit {
    pub(crate) fn new(count: Count, outer: Option<Self>) -> Self {
        Self {
            _count: count,
            _outer: outer.map(Box::new),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}
