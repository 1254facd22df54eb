//! The right to close a gate.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::entrance::Entrance;
use super::pool::Gate;
use super::raw::Status;

/// The right to close the gate, and to look at it: what the handles of a drain share. Dropping it
/// lets the gate be used again as soon as it is idle.
pub(crate) struct Lease {
    entrance: Entrance,
    /// When notice was given. The lock is also what makes those who give and withdraw it take turns.
    noticed: Mutex<Option<Instant>>,
}

impl Lease {
    /// Opens a gate.
    pub(crate) fn new() -> Self {
        let (gate, generation) = Gate::open();
        Self {
            entrance: Entrance { gate, generation },
            noticed: Mutex::new(None),
        }
    }

    pub(crate) fn entrance(&self) -> Entrance {
        self.entrance
    }

    pub(crate) fn status(&self) -> Status {
        self.gate().raw.status()
    }

    /// Gives or withdraws notice that the gate will close; true if that changed anything.
    pub(crate) fn set_notice(&self, notice: bool) -> bool {
        let mut noticed = self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        if notice && noticed.is_none() {
            // What an earlier notice has left, this gate's or another drain's.
            self.gate()
                .arrivals
                .each()
                .for_each(|mut last| *last = None);
        }
        let changed = self.gate().raw.set_notice(notice);
        if changed {
            *noticed = notice.then(Instant::now);
        }
        changed
    }

    /// Since when nobody has entered under notice: since the last one did, or since it was given.
    /// `None` without notice.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let noticed = *self.noticed.lock().unwrap_or_else(PoisonError::into_inner);
        let last = self.gate().arrivals.each().filter_map(|last| *last).max();
        noticed.map(|noticed| last.map_or(noticed, |last| last.max(noticed)))
    }

    /// Closes the gate and returns how many were inside. The caller owes an
    /// [`announce`](Self::announce), when it holds nothing that a woken task might want.
    pub(crate) fn close(&self) -> usize {
        self.gate().raw.close()
    }

    /// Wakes those who wait for a change.
    pub(crate) fn announce(&self) {
        self.gate().changed.notify_waiters();
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.gate().raw.in_flight()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.gate().raw.refused()
    }

    fn gate(&self) -> &'static Gate {
        self.entrance.gate
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let gate = self.gate();
        if !gate.raw.status().is_closed() {
            // Before the closing, so that whoever finds the gate closed finds this too.
            gate.orphans.add(self.entrance.generation.number());
            gate.raw.close();
        }
        gate.announce(gate.raw.detach());
    }
}
