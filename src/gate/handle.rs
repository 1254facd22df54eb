//! Gates, their free list, and the handle to one use of a gate.

use std::mem;
use std::sync::{Mutex, MutexGuard, OnceLock};

use tokio::time::Instant;

use super::goodbye::Goodbyes;
use super::history::History;
use super::permit::Count;
use super::reached::{Waiter, Waiters};
use super::word::{self, GateWord, Generation, Phase, Refused};
use super::{lock, sharded};

/// Drained gates that no drain uses.
static FREE: Mutex<Vec<&'static Gate>> = Mutex::new(Vec::new());

pub(super) type Shard = word::Shard<Local>;

/// A gate. It is never deallocated.
///
/// In this order, no request writes the cache line that each request reads, with the word and the shards.
#[repr(C, align(128))]
pub(super) struct Gate {
    word: GateWord,
    shards: Box<[Shard]>,
    history: Mutex<History>,
    pub(super) rare: Rare,
}

/// What refusals and waiting tasks write.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Rare {
    refused: Refused,
    pub(super) waiters: Waiters,
    goodbyes: Goodbyes,
}

/// What a shard has beside its count.
pub(super) struct Local {
    /// Always set: a gate sets it when it is made.
    gate: OnceLock<&'static Gate>,
    /// When a request last arrived here in a lame duck. Shared only by threads that share the shard.
    last_arrival: Mutex<Option<Instant>>,
}

/// One use of a gate, by one drain. `Copy`, so that cloning a service writes no shared memory.
#[derive(Clone, Copy)]
pub(crate) struct GateRef {
    gate: &'static Gate,
    generation: Generation,
}

impl Gate {
    fn new() -> &'static Self {
        let shard = |_| {
            Shard::new(Local {
                gate: OnceLock::new(),
                last_arrival: Mutex::new(None),
            })
        };
        let gate: &'static Self = Box::leak(Box::new(Self {
            word: GateWord::new(),
            shards: (0..sharded::shards()).map(shard).collect(),
            history: Mutex::default(),
            rare: Rare::default(),
        }));
        for shard in &gate.shards {
            shard.local.gate.get_or_init(|| gate);
        }
        gate
    }
}

impl GateRef {
    /// Opens a free gate, or a new one if there is none.
    pub(crate) fn open() -> Self {
        loop {
            let free = lock(&FREE).pop();
            let gate = free.unwrap_or_else(Gate::new);
            let mut history = lock(&gate.history);
            // After some eight million drains, a gate has no generations left and is not used again.
            if let Some(generation) = gate.word.open(&gate.shards) {
                *history = History::default();
                gate.rare.refused.open(generation);
                gate.rare.goodbyes.restart();
                for shard in &gate.shards {
                    *lock(&shard.local.last_arrival) = None;
                }
                return Self { gate, generation };
            }
        }
    }

    /// Makes the gate available for reuse if it is drained. Otherwise it is leaked, because services and permits
    /// still use it. Returns whether it was drained. No drain may use it after this call.
    pub(crate) fn recycle(self) -> bool {
        let is_drained = self.phase() == Phase::Drained;
        if is_drained {
            lock(&FREE).push(self.gate);
        }
        is_drained
    }

    /// Returns the phase. A use that is over was drained.
    #[inline]
    pub(crate) fn phase(self) -> Phase {
        self.gate.word.phase(self.generation)
    }

    pub(crate) fn in_flight(self) -> usize {
        word::in_flight(&self.gate.shards)
    }

    /// Returns whether a request was ever counted.
    pub(crate) fn is_used(self) -> bool {
        word::is_used(&self.gate.shards)
    }

    pub(crate) fn refused(self) -> u64 {
        self.gate.rare.refused.get()
    }

    /// Enters for a request. Returns `None` from draining on.
    #[inline]
    pub(crate) fn enter(self) -> Option<Count> {
        let shard = self.shard();
        let phase = shard.enter_request(self.generation)?;
        if phase != Phase::Serving {
            record_arrival(shard);
        }
        Some(Count::new(shard))
    }

    /// Enters for other work, which does not show that a load balancer still sends requests. Counts a refusal.
    pub(crate) fn try_acquire(self) -> Option<Count> {
        let shard = self.shard();
        if shard.enter(self.generation).is_none() {
            self.count_refusal();
            return None;
        }
        Some(Count::new(shard))
    }

    pub(crate) fn count_refusal(self) {
        self.gate.rare.refused.add(self.generation);
    }

    /// Returns when a request last arrived in a lame duck or in closing.
    pub(crate) fn last_arrival(self) -> Option<Instant> {
        let last = |shard: &Shard| *lock(&shard.local.last_arrival);
        self.gate.shards.iter().filter_map(last).max()
    }

    /// Locks the history, and so the changes of phase.
    pub(crate) fn history(self) -> MutexGuard<'static, History> {
        lock(&self.gate.history)
    }

    /// Logs the end of draining, once. The first waiter that sees it calls this, and not the task that drops the
    /// last permit, which should not have to run a subscriber.
    pub(super) fn log_drained(self) {
        let mut history = self.history();
        // A future keeps no handle, so another drain may use the gate by now.
        let is_first = self.gate.word.is_of(self.generation)
            && !mem::replace(&mut history.drained_logged, true);
        let draining = history.draining.filter(|_| is_first);
        drop(history);
        if let Some(_draining) = draining {
            event!(
                info,
                elapsed = ?_draining.since.elapsed(),
                in_flight_at_start = _draining.in_flight_at_start,
                refused = self.refused(),
                "drained"
            );
        }
    }

    /// Changes the phase, to one before draining. The caller holds the history, and wakes the waiters after it
    /// has released it.
    pub(crate) fn set_phase(self, _: &mut History, phase: Phase) {
        self.gate.word.set_phase(&self.gate.shards, phase);
    }

    /// Starts draining and returns how many permits there are, like [`set_phase`](Self::set_phase). Must be
    /// called once.
    pub(crate) fn start_draining(self, _: &mut History) -> usize {
        self.gate.word.start_draining(&self.gate.shards)
    }

    /// Wakes the tasks that wait for a phase later than `before`, up to `now`, after a change. The caller must not
    /// hold a lock, because a waker may run any code.
    pub(crate) fn wake(self, before: Phase, now: Phase) {
        self.gate.rare.waiters.wake(Some(before), now);
    }

    /// Wakes the tasks that wait for changes of other kinds, which are registered for [`Phase::Serving`].
    pub(crate) fn wake_others(self) {
        self.gate.rare.waiters.wake(None, Phase::Serving);
    }

    pub(super) fn goodbyes(self) -> &'static Goodbyes {
        &self.gate.rare.goodbyes
    }

    /// Says goodbye to long-lived work, at most to this many, after this part of the lame duck's second half: 1 is its
    /// end. Returns whether some are left. The caller must not hold a lock.
    pub(crate) fn say_goodbyes(self, part: f64, at_most: usize) -> bool {
        self.goodbyes().pass(part, at_most)
    }

    /// Says goodbye to the long-lived work that is left, like [`say_goodbyes`](Self::say_goodbyes). The phase must be
    /// closing or a later one.
    pub(crate) fn say_last_goodbyes(self, at_most: usize) -> bool {
        self.goodbyes().pass_all(at_most)
    }

    /// Says all goodbyes that are left.
    pub(crate) fn say_all_goodbyes(self) {
        // Some at a time, so that others can use the lock.
        while self.say_last_goodbyes(1_000) {}
    }

    /// Allows goodbyes at all times of a lame duck again. A shutdown that was dropped had said some.
    pub(crate) fn restart_goodbyes(self) {
        self.goodbyes().restart();
    }

    /// Returns a waiter that [`wake`](Self::wake) wakes when `phase` is reached.
    pub(crate) fn waiter(self, phase: Phase) -> Waiter {
        Waiter::new(self.gate, phase)
    }

    #[inline]
    fn shard(self) -> &'static Shard {
        sharded::current(&self.gate.shards)
    }
}

#[cold]
#[inline(never)]
fn record_arrival(shard: &Shard) {
    let now = Some(Instant::now());
    let mut last = lock(&shard.local.last_arrival);
    *last = (*last).max(now);
}

/// Called once a shard has become idle, and wakes the waiters if that drained the gate.
#[cold]
#[inline(never)]
pub(super) fn shard_became_idle(shard: &Shard) {
    if let Some(gate) = shard.local.gate.get() {
        if gate.word.shard_became_idle() {
            gate.rare
                .waiters
                .wake(Some(Phase::Draining), Phase::Drained);
        }
    }
}
