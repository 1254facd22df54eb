//! A gate, and the right to close it.

use std::sync::{LazyLock, Mutex, PoisonError};

use tokio::sync::Notify;

use super::entrance::Entrance;
use super::orphans::Orphans;
use super::raw::{Outcome, RawGate, Status};

/// Gates that are idle and that nobody holds.
static FREE: Mutex<Vec<&'static Gate>> = Mutex::new(Vec::new());

static SHARDS: LazyLock<usize> = LazyLock::new(|| {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    threads.next_power_of_two().min(64)
});

pub(super) struct Gate {
    pub(super) raw: RawGate,
    /// Told of every change of the gate's word that someone may wait for.
    pub(super) changed: Notify,
    pub(super) orphans: Orphans,
}

/// The right to close the gate, and to look at it: what the handles of a drain share. Dropping it
/// lets the gate be used again as soon as it is idle.
pub(crate) struct Lease {
    entrance: Entrance,
}

// === impl Gate ===

impl Gate {
    fn announce(&'static self, outcome: Outcome) {
        match outcome {
            Outcome::Busy => {}
            Outcome::Idle => self.changed.notify_waiters(),
            Outcome::Retired => FREE
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(self),
        }
    }

    /// Counts off a shard that has just become idle.
    #[cold]
    pub(super) fn count_off(&'static self) {
        self.announce(self.raw.count_off());
    }
}

// === impl Lease ===

impl Lease {
    /// Opens a gate: one that is free, or else a new one, which is never given back to the
    /// allocator.
    pub(crate) fn new() -> Self {
        loop {
            let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let gate = free.unwrap_or_else(|| {
                Box::leak(Box::new(Gate {
                    raw: RawGate::new(*SHARDS),
                    changed: Notify::const_new(),
                    orphans: Orphans::default(),
                }))
            });
            // A gate that has used up its generations, after some eight million drains, is let go.
            if let Some(generation) = gate.raw.open() {
                let entrance = Entrance { gate, generation };
                return Self { entrance };
            }
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
        self.gate().raw.set_notice(notice)
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
