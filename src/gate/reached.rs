//! Waits for a change of a gate: the waiting tasks, and the future.
//!
//! A change wakes by reference, so a task stays registered until it no longer waits, and registers once for each
//! waker instead of once for each poll.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::mem;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::handle::{Gate, GateRef};
use super::lock;
use super::word::Phase;

/// The tasks that wait for a change of a gate: by phase, so that a change finds those whom it concerns, and by the
/// address of the waker.
#[derive(Default)]
pub(super) struct Waiters(Mutex<BTreeMap<(Phase, usize), Arc<Waker>>>);

/// A task that waits for a change of a gate. Dropping it ends the registration.
pub(crate) struct Waiter {
    gate: &'static Gate,
    phase: Phase,
    /// The waker that is registered.
    registered: Option<Arc<Waker>>,
}

/// Future that resolves once a [`Phase`] or a later one is reached.
///
/// Returned by [`Drain::reached`], [`Drain::closing`], [`Drain::draining`] and [`Drain::drained`]. The change of
/// phase wakes it; nothing polls in between. It needs no runtime. A clone waits for the same phase.
///
/// It is not a handle of the drain. If all handles are dropped before the phase is reached, only permits that are
/// dropped while draining can still resolve it.
///
/// # Cancel safety
///
/// This future is cancel safe. Dropping it changes nothing.
///
/// [`Drain::reached`]: crate::Drain::reached
/// [`Drain::closing`]: crate::Drain::closing
/// [`Drain::draining`]: crate::Drain::draining
/// [`Drain::drained`]: crate::Drain::drained
#[must_use = "futures do nothing unless polled"]
pub struct Reached {
    gate: GateRef,
    phase: Phase,
    waiter: Waiter,
}

// === impl Waiters ===

impl Waiters {
    /// Wakes the tasks that wait for a phase later than `after`, up to `to`.
    pub(super) fn wake(&self, after: Option<Phase>, to: Phase) {
        let after = after.map_or(Unbounded, |phase| Excluded((phase, usize::MAX)));
        let registered = lock(&self.0);
        let waiting = registered.range((after, Included((to, usize::MAX))));
        // Cloning an `Arc` runs no code of the waker's.
        let wakers: Vec<_> = waiting.map(|(_, waker)| waker.clone()).collect();
        drop(registered);
        wake_each(wakers, |waker| waker.wake_by_ref());
    }
}

/// Calls `wake` for each waker, even if one of them panics. A panic was reported by the panic hook, and goes no further:
/// it belongs to another task, and this one may be unwinding.
pub(crate) fn wake_each<W>(wakers: Vec<W>, wake: impl Fn(W)) {
    for waker in wakers {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| wake(waker))) {
            // Its drop may panic too.
            mem::forget(panic);
        }
    }
}

// === impl Waiter ===

impl Waiter {
    pub(super) fn new(gate: &'static Gate, phase: Phase) -> Self {
        Self {
            gate,
            phase,
            registered: None,
        }
    }

    /// Registers the task, to be woken by changes that it does not see after this call. Returns false if it was
    /// registered already.
    ///
    /// A thread that wakes takes the lock after its change. So either it finds this waker, or the lock orders the
    /// change before the caller's next look at the gate.
    pub(crate) fn register(&mut self, waker: &Waker) -> bool {
        let registered = self.registered.as_ref();
        if registered.is_some_and(|registered| registered.will_wake(waker)) {
            return false;
        }
        let waker = Arc::new(waker.clone());
        let mut waiters = lock(&self.gate.rare.waiters.0);
        let before = self.registered.replace(waker.clone());
        let removed = before
            .as_ref()
            .and_then(|before| waiters.remove(&self.key(before)));
        waiters.insert(self.key(&waker), waker);
        drop(waiters);
        // A waker may run any code when it is dropped, so that happens without the lock.
        drop((before, removed));
        true
    }

    fn deregister(&mut self) {
        if let Some(registered) = self.registered.take() {
            let key = self.key(&registered);
            let removed = lock(&self.gate.rare.waiters.0).remove(&key);
            drop(removed);
        }
    }

    fn key(&self, waker: &Arc<Waker>) -> (Phase, usize) {
        (self.phase, Arc::as_ptr(waker).addr())
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.deregister();
    }
}

// === impl Reached ===

impl Reached {
    pub(crate) fn new(gate: GateRef, phase: Phase) -> Self {
        Self {
            waiter: gate.waiter(phase),
            gate,
            phase,
        }
    }

    pub(crate) fn is_reached(&self) -> bool {
        self.gate.phase() >= self.phase
    }
}

impl Clone for Reached {
    fn clone(&self) -> Self {
        Self::new(self.gate, self.phase)
    }
}

impl Future for Reached {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let is_reached = self.is_reached() || self.waiter.register(cx.waker()) && self.is_reached();
        if !is_reached {
            return Poll::Pending;
        }
        self.waiter.deregister();
        if self.phase == Phase::Drained {
            self.gate.log_drained();
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached")
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}
