//! Waits for a goodbye: long-lived work ends one by one in the second half of a lame duck.
//!
//! Each piece of work draws a random place in that time when it begins to wait. The shutdown passes the places one after
//! another, some at a time, and wakes those who wait there. So the work needs no timers, and is not woken all at once.

use std::collections::btree_map::{BTreeMap, OccupiedEntry};
use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};

use super::handle::GateRef;
use super::lock;
use super::reached::wake_each;
use super::word::Phase;

/// The place of work that waits for closing. Those of the lame duck come before it.
const CLOSING: u32 = u32::MAX;

/// The work that waits for its goodbye, and how far the shutdown has come.
#[derive(Default)]
pub(super) struct Goodbyes(Mutex<Places>);

#[derive(Default)]
struct Places {
    /// The last place that has been passed.
    passed: u32,
    /// By place, and by address.
    waiting: BTreeMap<(u32, usize), Arc<Waiting>>,
}

struct Waiting {
    waker: Waker,
    /// Set when the shutdown passes its place.
    is_passed: OnceLock<()>,
}

/// Future that resolves when one piece of long-lived work should end: a WebSocket, an event stream, a long poll, a
/// job that holds a [`Permit`](crate::Permit).
///
/// Returned by [`Drain::goodbye`](crate::Drain::goodbye). It needs no runtime. A clone waits for a time of its own.
///
/// It is not a handle of the drain. If all handles are dropped before, it does not resolve.
///
/// # Cancel safety
///
/// This future is cancel safe. Dropping it changes nothing.
#[must_use = "futures do nothing unless polled"]
pub struct Goodbye {
    gate: GateRef,
    /// Drawn when this is first polled, from the time that is left then.
    place: Option<u32>,
    /// As registered.
    waiting: Option<Arc<Waiting>>,
}

// === impl Goodbyes ===

impl Goodbyes {
    /// Makes all places available again.
    pub(super) fn restart(&self) {
        lock(&self.0).passed = 0;
    }

    /// Passes `part` of the lame duck's second half: 0 is none of it, 1 all. Wakes who waits there, at most this many.
    /// Returns whether some are left.
    pub(super) fn pass(&self, part: f64, at_most: usize) -> bool {
        // Never `CLOSING`: a cast of a float is saturating, and rounds down.
        let last = part.clamp(0.0, 1.0) * f64::from(CLOSING - 1);
        self.pass_places(last as u32, at_most)
    }

    /// Passes the place of closing too, as [`pass`](Self::pass) does.
    pub(super) fn pass_all(&self, at_most: usize) -> bool {
        self.pass_places(CLOSING, at_most)
    }

    fn pass_places(&self, last: u32, at_most: usize) -> bool {
        let mut places = lock(&self.0);
        places.passed = places.passed.max(last);
        let mut passed = Vec::new();
        let mut is_left = false;
        let is_passed = |next: &OccupiedEntry<'_, (u32, usize), _>| next.key().0 <= last;
        while let Some(next) = places.waiting.first_entry().filter(is_passed) {
            if passed.len() == at_most {
                is_left = true;
                break;
            }
            let waiting = next.remove();
            // Within the lock, so that a task that registers again sees it.
            waiting.is_passed.get_or_init(|| ());
            passed.push(waiting);
        }
        drop(places);
        wake_each(passed, |waiting| waiting.waker.wake_by_ref());
        is_left
    }
}

impl Places {
    /// Draws a place that has not been passed.
    fn draw(&self) -> u32 {
        let left = (CLOSING - self.passed).saturating_sub(1);
        if left == 0 {
            return CLOSING;
        }
        // Each of std's hashers has its own random key.
        let random = RandomState::new().hash_one(()) % u64::from(left);
        // Less than `left`, so it fits, and the sum is below `CLOSING`.
        self.passed + 1 + random as u32
    }
}

// === impl Goodbye ===

impl Goodbye {
    pub(crate) fn new(gate: GateRef) -> Self {
        Self {
            gate,
            place: None,
            waiting: None,
        }
    }

    /// Whether the work should end. Takes no lock.
    fn is_due(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.is_passed.get().is_some())
            || self.gate.phase() >= Phase::Closing
    }

    /// Registers the task, once for each waker.
    ///
    /// A thread that changes the phase takes the lock after its change. So either it finds this waker, or the lock orders
    /// the change before the caller's next look at the gate.
    fn register(&mut self, waker: &Waker) {
        let registered = self.waiting.as_ref();
        if registered.is_some_and(|waiting| waiting.waker.will_wake(waker)) {
            return;
        }
        let new = Arc::new(Waiting {
            waker: waker.clone(),
            is_passed: OnceLock::new(),
        });
        let mut places = lock(&self.gate.goodbyes().0);
        if registered.is_some_and(|waiting| waiting.is_passed.get().is_some()) {
            return;
        }
        let place = *self.place.get_or_insert_with(|| places.draw());
        let before = self.waiting.replace(new.clone());
        let removed = before
            .as_ref()
            .and_then(|before| places.waiting.remove(&(place, address(before))));
        places.waiting.insert((place, address(&new)), new);
        drop(places);
        // A waker may run any code when it is dropped, so that happens without the lock.
        drop((before, removed));
    }

    fn deregister(&mut self) {
        let (Some(place), Some(waiting)) = (self.place, &self.waiting) else {
            return;
        };
        if waiting.is_passed.get().is_none() {
            let key = (place, address(waiting));
            let removed = lock(&self.gate.goodbyes().0).waiting.remove(&key);
            drop((removed, mem::take(&mut self.waiting)));
        }
    }
}

fn address(waiting: &Arc<Waiting>) -> usize {
    Arc::as_ptr(waiting).addr()
}

impl Clone for Goodbye {
    fn clone(&self) -> Self {
        Self::new(self.gate)
    }
}

impl Future for Goodbye {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_due() {
            self.register(cx.waker());
            if !self.is_due() {
                return Poll::Pending;
            }
        }
        self.deregister();
        Poll::Ready(())
    }
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.deregister();
    }
}

impl fmt::Debug for Goodbye {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Goodbye")
            .field("is_due", &self.is_due())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_drawn_from_what_has_not_been_passed() {
        for passed in [0, 7, CLOSING - 3] {
            let places = Places {
                passed,
                ..Places::default()
            };
            for _ in 0..1_000 {
                let place = places.draw();
                assert!((passed + 1..CLOSING).contains(&place), "{place}");
            }
        }
        for passed in [CLOSING - 1, CLOSING] {
            let places = Places {
                passed,
                ..Places::default()
            };
            assert_eq!(places.draw(), CLOSING);
        }
    }
}
