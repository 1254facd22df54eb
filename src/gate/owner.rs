//! Gates, their free list, and the owner that closes one.

use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::permit::GateRef;
use super::raw::{self, GateWord, State};
use super::{lock, sharded};

/// Drained gates that no drain uses.
static FREE: Mutex<Vec<&'static Gate>> = Mutex::new(Vec::new());

/// The epoch of the times in shards, which are stored as nanoseconds since then plus [`BIAS`].
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A time may be before the epoch, because the paused clocks of tests differ.
const BIAS: u64 = 1 << 63;

pub(super) type Shard = raw::Shard<&'static Core>;

/// A gate. It is never deallocated.
pub(super) struct Gate {
    pub(super) shards: Box<[Shard]>,
    pub(super) core: &'static Core,
}

/// State shared by the shards of a gate.
pub(super) struct Core {
    pub(super) word: GateWord,
    /// Wakes tasks that wait for a change of the word.
    pub(super) changed: Notify,
}

impl Core {
    #[cold]
    pub(super) fn shard_became_idle(&self) {
        if self.word.shard_became_idle() {
            self.changed.notify_waiters();
        }
    }
}

impl Gate {
    fn new() -> &'static Self {
        let core: &'static Core = Box::leak(Box::new(Core {
            word: GateWord::new(),
            changed: Notify::const_new(),
        }));
        let shards = (0..sharded::shards()).map(|_| Shard::new(core));
        let shards = shards.collect();
        Box::leak(Box::new(Self { shards, core }))
    }

    /// Opens a free gate, or a new one if there is none.
    fn open() -> GateRef {
        loop {
            let free = lock(&FREE).pop();
            let gate = free.unwrap_or_else(Self::new);
            // After some eight million drains, a gate has no generations left and is dropped from the list.
            if let Some(generation) = gate.core.word.open(&gate.shards) {
                return GateRef { gate, generation };
            }
        }
    }
}

/// Owner of a gate: closes it and reads its state. The handles of a drain share one.
///
/// A gate that is not [released](Self::release) is leaked, because services may still use it.
pub(crate) struct GateOwner {
    gate_ref: GateRef,
}

impl GateOwner {
    pub(crate) fn new() -> Self {
        Self {
            gate_ref: Gate::open(),
        }
    }

    pub(crate) fn gate_ref(&self) -> GateRef {
        self.gate_ref
    }

    pub(crate) fn state(&self) -> State {
        self.gate().core.word.state()
    }

    /// Enters or leaves the lame duck; see [`GateWord::set_lame_duck`]. Calls must not overlap with each
    /// other or with [`start_closing`](Self::start_closing). The caller notifies.
    pub(crate) fn set_lame_duck(&self, lame_duck: bool) -> bool {
        let gate = self.gate();
        gate.core.word.set_lame_duck(&gate.shards, lame_duck)
    }

    /// Starts closing. Returns true if this call did. The caller notifies.
    pub(crate) fn start_closing(&self) -> bool {
        let gate = self.gate();
        gate.core.word.start_closing(&gate.shards)
    }

    /// Makes the current or any later lame duck final.
    pub(crate) fn commit(&self) {
        self.gate().core.word.commit();
    }

    /// Closes the gate and returns how many permits there were. The caller notifies.
    pub(crate) fn close(&self) -> usize {
        let gate = self.gate();
        gate.core.word.close(&gate.shards)
    }

    /// Wakes the waiters after a change. The caller must not hold a lock that a waker might need.
    pub(crate) fn notify(&self) {
        self.gate().core.changed.notify_waiters();
    }

    pub(crate) fn in_flight(&self) -> usize {
        raw::in_flight(&self.gate().shards)
    }

    pub(crate) fn refused(&self) -> u64 {
        raw::refused(&self.gate().shards)
    }

    /// Returns when the last request arrived in the current lame duck.
    pub(crate) fn last_arrival(&self) -> Option<Instant> {
        let time = raw::last_arrival(&self.gate().shards)?;
        match time.checked_sub(BIAS) {
            Some(nanos) => EPOCH.checked_add(Duration::from_nanos(nanos)),
            None => EPOCH.checked_sub(Duration::from_nanos(BIAS - time)),
        }
    }

    /// Makes a drained gate available for reuse. Returns false, and does nothing, if it is open or its count
    /// is not zero. The caller must not use this owner afterwards.
    pub(crate) fn release(&mut self) -> bool {
        let is_drained = self.state().is_idle();
        if is_drained {
            lock(&FREE).push(self.gate());
        }
        is_drained
    }

    fn gate(&self) -> &'static Gate {
        self.gate_ref.gate
    }
}

/// Returns the current time, in the unit that shards store.
pub(super) fn arrival_time() -> u64 {
    // 292 years fit.
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(BIAS);
    let now = Instant::now();
    match now.checked_duration_since(*EPOCH) {
        Some(after) => BIAS.saturating_add(nanos(after)),
        None => BIAS.saturating_sub(nanos(EPOCH.saturating_duration_since(now))),
    }
}
