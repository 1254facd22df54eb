//! Watched connections: counts and closes them.
//!
//! A connection is polled for each packet, so a poll takes no lock and writes nothing that others use: it reads the
//! gate's word and the connection's own cell.
#![cfg_attr(not(feature = "hyper-util"), allow(dead_code))]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};

use tokio::time::Instant;

use super::{Drain, Phase};
use crate::gate::{GateRef, Waiter, lock};

/// The connections of a drain.
#[derive(Default)]
pub(super) struct Connections {
    /// Those that are open, by address.
    open: Mutex<BTreeMap<usize, Arc<Closed>>>,
    /// Set once a shutdown has announced the end of a lame duck, so that connections do not ask before.
    end_announced: OnceLock<()>,
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

    /// Announces when the lame duck ends, so that connections can say goodbye before. `None` is never.
    pub(crate) fn announce_lame_duck_end(&self, end: Option<Instant>) {
        let mut history = self.gate().history();
        history.set_deadline(Phase::LameDuck, end);
        history.lame_duck_end = end;
        drop(history);
        self.shared.connections.end_announced.get_or_init(|| ());
        self.gate().wake(Phase::Serving, Phase::Closing);
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

    /// Returns when the lame duck ends, if a shutdown has announced it. `None` after that time: the port is
    /// settling, or the shutdown was dropped.
    pub(crate) fn lame_duck_end(&self) -> Option<Instant> {
        self.drain.shared.connections.end_announced.get()?;
        let end = self.gate.history().lame_duck_end;
        end.filter(|end| *end > Instant::now())
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
