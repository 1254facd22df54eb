//! Watched connections: counts and closes them.
//!
//! A connection is polled for each packet, so a poll takes no lock and writes nothing that others use: it reads the
//! gate's word and the connection's own cell.
#![cfg_attr(not(feature = "hyper-util"), allow(dead_code))]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use super::{Drain, Phase};
use crate::gate::{GateRef, Goodbye, Waiter, lock};

/// The connections of a drain.
#[derive(Default)]
pub(super) struct Connections {
    /// Those that are open, by address.
    open: Mutex<BTreeMap<usize, Arc<Closed>>>,
}

/// Set once the connection has ended or must end: the one that sets it counts it.
type Closed = OnceLock<()>;

/// A connection that is open. Dropping it removes the connection.
pub(crate) struct OpenConnection {
    drain: Drain,
    // A copy, so that a poll does not read what other connections write.
    gate: GateRef,
    closed: Arc<Closed>,
    waiter: Waiter,
}

impl Drain {
    /// Returns the number of watched connections that are open.
    pub(crate) fn open_connections(&self) -> usize {
        lock(&self.shared.connections.open).len()
    }

    /// Closes the watched connections that are open, and returns how many this call closed.
    pub(crate) fn close_open_connections(&self) -> usize {
        let connections = lock(&self.shared.connections.open);
        let mut open: Vec<_> = connections.values().cloned().collect();
        drop(connections);
        open.retain(|closed| closed.set(()).is_ok());
        self.gate().wake(Phase::Serving, Phase::Closing);
        open.len()
    }

    /// Waits until no watched connection is open.
    pub(crate) async fn no_connection_open(&self) {
        let mut waiter = self.gate().waiter(Phase::Serving);
        poll_fn(|cx| {
            // Before the look, so that a connection that ends after it wakes the task.
            waiter.register(cx.waker());
            if self.open_connections() == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

// === impl OpenConnection ===

impl OpenConnection {
    pub(crate) fn new(drain: Drain) -> Self {
        let closed = Arc::<Closed>::default();
        lock(&drain.shared.connections.open).insert(address(&closed), closed.clone());
        let gate = drain.gate();
        Self {
            waiter: gate.waiter(Phase::Closing),
            gate,
            drain,
            closed,
        }
    }

    /// Registers the task, to be woken by changes that it does not see after this call.
    pub(crate) fn register(&mut self, waker: &Waker) {
        self.waiter.register(waker);
    }

    /// Whether the connection must end at once.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get().is_some()
    }

    /// Ends the connection, so that it is no longer closed by others. Returns false if it was closed.
    pub(crate) fn end(self) -> bool {
        self.closed.set(()).is_ok()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.gate.phase()
    }

    /// Returns a future for the time at which the connection should end.
    pub(crate) fn goodbye(&self) -> Goodbye {
        Goodbye::new(self.gate)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut open = lock(&self.drain.shared.connections.open);
        open.remove(&address(&self.closed));
        let none_open = open.is_empty();
        drop(open);
        if none_open {
            self.gate.wake_others();
        }
    }
}

fn address(closed: &Arc<Closed>) -> usize {
    Arc::as_ptr(closed).addr()
}
