//! Watched connections: counts, wakes and closes them.
//!
//! A connection is polled for each packet, so a poll takes no lock: it reads the gate's word and the
//! connection's own cell. It stores its waker only if the waker has changed. A change of phase wakes by
//! reference, so wakers stay registered.
#![cfg_attr(not(feature = "hyper-util"), allow(dead_code))]

use std::collections::BTreeMap;
use std::mem;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Waker;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Drain;
use crate::gate::{GateRef, lock};

/// The connections of a drain.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<Open>,
    /// Wakes tasks that wait until none is open.
    none_open: Notify,
    /// When the lame duck ends, if a shutdown has announced it.
    lame_duck_end: OnceLock<Instant>,
}

#[derive(Default)]
struct Open {
    next: u64,
    slots: BTreeMap<u64, Arc<Slot>>,
}

#[derive(Default)]
struct Slot {
    waker: Mutex<Option<Arc<Waker>>>,
    /// Set once the connection has ended or must end: the one that sets it counts it.
    closed: OnceLock<()>,
}

/// A connection that is open. Dropping it removes the connection.
pub(crate) struct OpenConnection {
    drain: Drain,
    // A copy, so that a poll does not read what other connections write.
    gate: GateRef,
    number: u64,
    slot: Arc<Slot>,
    /// The waker in the slot.
    registered: Option<Arc<Waker>>,
}

// === impl Connections ===

impl Connections {
    pub(super) fn len(&self) -> usize {
        lock(&self.open).slots.len()
    }

    /// Wakes every connection after a change of phase.
    pub(super) fn wake(&self) {
        self.wake_if(|_| true);
    }

    /// Closes every connection that is open, and returns how many.
    pub(super) fn close(&self) -> usize {
        self.wake_if(|slot| slot.closed.set(()).is_ok())
    }

    /// Wakes the connections that `condition` selects, and returns how many.
    fn wake_if(&self, condition: impl Fn(&Slot) -> bool) -> usize {
        let mut slots: Vec<_> = lock(&self.open).slots.values().cloned().collect();
        slots.retain(|slot| condition(slot));
        for slot in &slots {
            // Woken outside of the locks: a waker may run any code.
            let waker = lock(&slot.waker).clone();
            waker.inspect(|waker| waker.wake_by_ref());
        }
        slots.len()
    }

    /// Waits until no connection is open.
    pub(super) async fn none_open(&self) {
        loop {
            // Created before the check, so that it sees each change after it.
            let changed = self.none_open.notified();
            if self.len() == 0 {
                return;
            }
            changed.await;
        }
    }

    /// Announces the end of the lame duck, so that connections can say goodbye before it. The first one stays.
    pub(super) fn announce_lame_duck_end(&self, at: Instant) {
        if self.lame_duck_end.set(at).is_ok() {
            self.wake();
        }
    }
}

// === impl OpenConnection ===

impl OpenConnection {
    pub(crate) fn new(drain: Drain) -> Self {
        let slot = Arc::<Slot>::default();
        let mut open = lock(&drain.shared.connections.open);
        let number = open.next;
        open.next += 1;
        open.slots.insert(number, slot.clone());
        drop(open);
        Self {
            gate: drain.gate(),
            drain,
            number,
            slot,
            registered: None,
        }
    }

    /// Registers the task, to be woken by changes that it does not see after this call.
    ///
    /// A thread that wakes takes the lock after its change. So either it finds this waker, or the lock orders
    /// the change before the caller's next check.
    pub(crate) fn register(&mut self, waker: &Waker) {
        let registered = self.registered.as_ref();
        if registered.is_some_and(|registered| registered.will_wake(waker)) {
            return;
        }
        self.registered = Some(Arc::new(waker.clone()));
        // The previous waker is dropped after the lock is released.
        let _before = mem::replace(&mut *lock(&self.slot.waker), self.registered.clone());
    }

    /// Whether the connection must end at once.
    pub(crate) fn is_closed(&self) -> bool {
        self.slot.closed.get().is_some()
    }

    /// Ends the connection, so that it is no longer closed by others. Returns false if it was closed.
    pub(crate) fn end(self) -> bool {
        self.slot.closed.set(()).is_ok()
    }

    /// Whether the server is a lame duck, closing or draining.
    pub(crate) fn is_leaving(&self) -> bool {
        self.gate.is_leaving()
    }

    /// Whether the server is closing or draining.
    pub(crate) fn is_closing(&self) -> bool {
        self.gate.is_closing()
    }

    /// Returns when the lame duck ends, if a shutdown has announced it. `None` after that time: the port is
    /// settling, or the shutdown was dropped.
    pub(crate) fn lame_duck_end(&self) -> Option<Instant> {
        let end = self.drain.shared.connections.lame_duck_end.get().copied();
        end.filter(|end| *end > Instant::now())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let connections = &self.drain.shared.connections;
        let mut open = lock(&connections.open);
        let _slot = open.slots.remove(&self.number);
        let none_open = open.slots.is_empty();
        drop(open);
        if none_open {
            connections.none_open.notify_waiters();
        }
    }
}
