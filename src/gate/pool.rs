//! A gate, and where the gates are kept that nobody uses.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::orphans::Orphans;
use super::raw::{Generation, Outcome, RawGate};
use super::sharded::Sharded;
use super::thread;

/// Gates that are idle and that nobody holds.
static FREE: Mutex<Vec<&'static Gate>> = Mutex::new(Vec::new());

/// The counting core, and those who are told of it.
pub(super) struct Gate {
    pub(super) raw: RawGate,
    /// Told of every change of the gate's word that someone may wait for.
    pub(super) changed: Notify,
    /// When the last newcomer entered under notice.
    pub(super) arrivals: Sharded<Option<Instant>>,
    pub(super) orphans: Orphans,
}

impl Gate {
    /// Opens a gate: one that is free, or else a new one, which is never given back to the
    /// allocator.
    pub(super) fn open() -> (&'static Self, Generation) {
        loop {
            let free = FREE.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let gate = free.unwrap_or_else(|| {
                Box::leak(Box::new(Gate {
                    raw: RawGate::new(thread::shards()),
                    changed: Notify::const_new(),
                    arrivals: Sharded::default(),
                    orphans: Orphans::default(),
                }))
            });
            // A gate that has used up its generations, after some eight million drains, is let go.
            if let Some(generation) = gate.raw.open() {
                return (gate, generation);
            }
        }
    }

    /// Does what is owed for what an operation on `raw` made of the gate.
    pub(super) fn announce(&'static self, outcome: Outcome) {
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
