//! The counting core: atomic words and the operations on them. It holds no other data, wakes nothing, and is
//! the only file in the crate that names a memory ordering.
//!
//! `tests/loom.rs` compiles this file with loom's atomics. Therefore it imports them from `super::sync` and
//! uses nothing else of the crate.

use super::sync::{AtomicU64, Ordering};

/// In all words: the generation. 23 bits, so that the constants of admission and release fit into 32.
const GENERATION_MASK: u64 = (1 << 23) - 1;

/// In a shard's word: lame duck or closing, a copy of the gate's own flags.
const SHARD_LEAVING: u64 = 1 << 23;
/// In a shard's word: nothing is admitted any more.
const SHARD_CLOSED: u64 = 1 << 24;
/// In a shard's word: the count. An overflow takes 2^39 permits that are never dropped: 4 TiB of permits.
const COUNT_SHIFT: u32 = 25;
const COUNT_MASK: u64 = !0 << COUNT_SHIFT;
const ONE: u64 = 1 << COUNT_SHIFT;

/// In the gate's word: lame duck.
const LAME_DUCK: u64 = 1 << 23;
/// In the gate's word: the server has been asked to close.
const CLOSING: u64 = 1 << 24;
/// In the gate's word: every shard is closed.
const CLOSED: u64 = 1 << 25;
/// In the gate's word: a lame duck can no longer be left.
const COMMITTED: u64 = 1 << 26;
/// In the gate's word: the number of shards that are not idle yet, plus one until the gate is closed.
const ONE_BUSY_SHARD: u64 = 1 << 32;
const BUSY_MASK: u64 = 0xff << 32;

/// Identifies one use of a gate. Each reuse is the next generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    fn of(word: u64) -> Self {
        Self(word & GENERATION_MASK)
    }
}

/// A snapshot of the gate's word.
#[derive(Clone, Copy)]
pub(crate) struct State(u64);

impl State {
    pub(crate) fn is_of(self, generation: Generation) -> bool {
        Generation::of(self.0) == generation
    }

    pub(crate) fn is_lame_duck(self) -> bool {
        self.0 & LAME_DUCK != 0
    }

    pub(crate) fn is_closing(self) -> bool {
        self.0 & CLOSING != 0
    }

    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// Whether the gate is closed with a count of zero. Final within a generation.
    pub(crate) fn is_idle(self) -> bool {
        self.0 & BUSY_MASK == 0
    }
}

/// How a shard admitted a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    Serving,
    /// In a lame duck, or while closing.
    Leaving,
}

/// One counter of a gate, alone on its cache lines: x86 processors prefetch pairs of 64-byte lines, and
/// Apple's lines have 128 bytes.
#[repr(align(128))]
pub(crate) struct Shard<C> {
    /// Count, flags, generation.
    word: AtomicU64,
    /// The number of callers this shard has refused, and the generation.
    refused: AtomicU64,
    /// When the last request arrived in a lame duck, in the caller's unit. Zero means never.
    last_arrival: AtomicU64,
    /// The gate's core, so that a permit needs one pointer.
    pub(crate) core: C,
}

impl<C> Shard<C> {
    /// A closed shard, to be opened with [`GateWord::open`].
    pub(crate) fn new(core: C) -> Self {
        Self {
            word: AtomicU64::new(SHARD_CLOSED),
            refused: AtomicU64::new(0),
            last_arrival: AtomicU64::new(0),
            core,
        }
    }

    /// Increments the count, unless the shard is leaving, closed or of another generation.
    ///
    /// Admission and closing change the same word. Either the count goes up first and `close` reports it, or
    /// the closed bit comes first and this fails without touching the count.
    #[inline]
    pub(crate) fn enter(&self, generation: Generation) -> bool {
        // One comparison checks all three: no flag is set in a serving shard of this generation.
        self.enter_if(|word| word & !COUNT_MASK == generation.0)
            .is_some()
    }

    /// Like [`enter`](Self::enter), but also admits in a lame duck and while closing. Returns `None` if the
    /// shard is closed or of another generation.
    pub(crate) fn enter_slow(&self, generation: Generation) -> Option<Entered> {
        let word = self.enter_if(|word| word & !(COUNT_MASK | SHARD_LEAVING) == generation.0)?;
        let leaving = word & SHARD_LEAVING != 0;
        Some(if leaving {
            Entered::Leaving
        } else {
            Entered::Serving
        })
    }

    /// Increments the count if `may_enter` accepts the word. Returns the previous word.
    #[inline]
    fn enter_if(&self, may_enter: impl Fn(u64) -> bool) -> Option<u64> {
        // Acquire, here and on failure: a caller that is refused sees what was written before the shard was
        // closed or reopened (`close`, `open`: Release).
        let mut word = self.word.load(Ordering::Acquire);
        // Relaxed on success: entering publishes nothing, and it cannot miss a close, which is a bit of the
        // same word.
        let (success, failure) = (Ordering::Relaxed, Ordering::Acquire);
        let shard = &self.word;
        while may_enter(word) {
            match shard.compare_exchange_weak(word, word + ONE, success, failure) {
                Ok(_) => return Some(word),
                Err(current) => word = current,
            }
        }
        None
    }

    /// Increments the count, even if the shard is closed. The caller must already hold a count of this shard,
    /// so that the shard cannot become idle meanwhile.
    #[inline]
    pub(crate) fn enter_again(&self) {
        // Relaxed, like the clone of an `Arc`: the holder orders this before its own `leave`.
        self.word.fetch_add(ONE, Ordering::Relaxed);
    }

    /// Decrements the count. Returns true if that made the shard idle, which happens once per generation; the
    /// caller must then call [`GateWord::shard_became_idle`].
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        // Release: work done under the count happens before the decrement. Acquire: the caller that makes the
        // shard idle sees the work of all others (their Release) and publishes it in `shard_became_idle`.
        let before = self.word.fetch_sub(ONE, Ordering::AcqRel);
        before & (SHARD_CLOSED | COUNT_MASK) == (SHARD_CLOSED | ONE)
    }

    /// Whether the gate is a lame duck, closing or closed. The caller must hold a count, so that the
    /// generation cannot change.
    #[inline]
    pub(crate) fn is_leaving(&self) -> bool {
        // Relaxed: a flag that orders nothing. A caller that is ordered after the change sees it.
        self.word.load(Ordering::Relaxed) & (SHARD_LEAVING | SHARD_CLOSED) != 0
    }

    /// Counts a refusal, unless the shard has moved on to another generation.
    pub(crate) fn refuse(&self, generation: Generation) {
        let count = |word| (Generation::of(word) == generation).then_some(word + ONE);
        // Relaxed throughout: a statistic that orders nothing. `Err` means another generation.
        let refused = &self.refused;
        let _ = refused.fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    pub(crate) fn record_arrival(&self, time: u64) {
        // Relaxed: a single value; a waiter that reads an older one reads it again later.
        self.last_arrival.fetch_max(time, Ordering::Relaxed);
    }

    fn set_leaving(&self, leaving: bool) {
        if leaving {
            // Release pairs with the Acquire of `enter_if`: an arrival is recorded only after the time of an
            // earlier lame duck was cleared.
            self.word.fetch_or(SHARD_LEAVING, Ordering::Release);
        } else {
            // Relaxed: at worst, one arrival too many is recorded.
            self.word.fetch_and(!SHARD_LEAVING, Ordering::Relaxed);
        }
    }

    fn close(&self) -> u64 {
        // Acquire pairs with the Release of each `leave` so far. Release lets refused callers see what was
        // written before the close (`enter_if`: Acquire).
        self.word.fetch_or(SHARD_CLOSED, Ordering::AcqRel)
    }

    fn open(&self, generation: Generation) {
        // Stores would do. These are swaps because loom does not see that a store comes after every
        // read-modify-write of the old value.
        self.refused.swap(generation.0, Ordering::Relaxed);
        self.last_arrival.swap(0, Ordering::Relaxed);
        // Release pairs with the Acquire of an `enter` of an earlier generation.
        self.word.store(generation.0, Ordering::Release);
    }
}

/// The word of a gate as a whole. Written on changes of phase only.
pub(crate) struct GateWord(AtomicU64);

impl GateWord {
    /// An idle gate, to be opened with [`open`](Self::open).
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(CLOSED))
    }

    /// Opens an idle gate as its next generation. Returns `None` if the generations are used up. The caller
    /// must have exclusive access to the gate.
    pub(crate) fn open<C>(&self, shards: &[Shard<C>]) -> Option<Generation> {
        // Relaxed: the caller got the gate through a lock, or made it.
        let last = Generation::of(self.0.load(Ordering::Relaxed));
        let generation = Generation(last.0 + 1);
        if generation.0 > GENERATION_MASK {
            return None;
        }
        let busy = (shards.len() as u64 + 1) * ONE_BUSY_SHARD;
        // Release pairs with the Acquire of `state`.
        self.0.store(generation.0 | busy, Ordering::Release);
        shards.iter().for_each(|shard| shard.open(generation));
        Some(generation)
    }

    #[inline]
    pub(crate) fn state(&self) -> State {
        // Acquire: a caller that sees the gate idle sees all work done under its counts (`shard_became_idle`,
        // `close`: Release).
        State(self.0.load(Ordering::Acquire))
    }

    /// Sets or clears the lame duck. Returns true if this call changed it: it is set only while serving, and
    /// cleared only from a lame duck that is neither committed nor closing.
    ///
    /// Calls must not overlap with each other or with [`start_closing`](Self::start_closing), or the flags of
    /// the shards might differ from the gate's.
    pub(crate) fn set_lame_duck<C>(&self, shards: &[Shard<C>], lame_duck: bool) -> bool {
        let changed = self.update(|state| {
            let may = if lame_duck {
                !state.is_lame_duck()
            } else {
                state.is_lame_duck() && state.0 & COMMITTED == 0
            };
            (may && !state.is_closing() && !state.is_closed()).then_some(state.0 ^ LAME_DUCK)
        });
        if changed {
            for shard in shards {
                if lame_duck {
                    // Relaxed: ordered by `set_leaving`.
                    shard.last_arrival.store(0, Ordering::Relaxed);
                }
                shard.set_leaving(lame_duck);
            }
        }
        changed
    }

    /// Starts closing. Returns true if this call did; false if the gate is closing or closed already.
    pub(crate) fn start_closing<C>(&self, shards: &[Shard<C>]) -> bool {
        let changed = self.update(|state| {
            (!state.is_closing() && !state.is_closed()).then_some(state.0 | CLOSING | COMMITTED)
        });
        if changed {
            shards.iter().for_each(|shard| shard.set_leaving(true));
        }
        changed
    }

    /// Makes a present or later lame duck final.
    pub(crate) fn commit(&self) {
        self.update(|state| Some(state.0 | COMMITTED));
    }

    /// Applies `change` in one atomic step. Returns false if `change` returned `None`.
    fn update(&self, change: impl Fn(State) -> Option<u64>) -> bool {
        let change = |word| change(State(word));
        // AcqRel: a caller that sees the change (`state`) also sees everything before it.
        let updated = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        updated.is_ok()
    }

    /// Closes every shard, then the gate, and returns the count of the shards that this call closed. Once it
    /// returns, nothing is admitted, even if a concurrent call did the work.
    ///
    /// The gate itself counts as one busy shard until its closed bit is set, in the same step. So it is never
    /// both idle and open.
    pub(crate) fn close<C>(&self, shards: &[Shard<C>]) -> usize {
        let mut in_flight = 0;
        let mut idle = 0;
        for shard in shards {
            let before = shard.close();
            if before & SHARD_CLOSED == 0 {
                in_flight += before >> COUNT_SHIFT;
                idle += u64::from(before & COUNT_MASK == 0);
            }
        }
        // `update` is AcqRel: Release for callers that see the gate closed or idle (`state`), Acquire for the
        // shards that became idle before.
        self.update(|state| {
            let gate = u64::from(!state.is_closed());
            Some((state.0 | CLOSED) - (idle + gate) * ONE_BUSY_SHARD)
        });
        in_flight as usize
    }

    /// Records that a shard has become idle. Returns true if that made the gate idle, which happens once per
    /// generation.
    pub(crate) fn shard_became_idle(&self) -> bool {
        // AcqRel: Release for callers that see the gate idle (`state`) or whose shard becomes idle later;
        // Acquire for the earlier shards, if this is the last.
        let before = self.0.fetch_sub(ONE_BUSY_SHARD, Ordering::AcqRel);
        State(before - ONE_BUSY_SHARD).is_idle()
    }
}

/// Returns the sum of the shards' counts. Exact while no count changes, and always once the gate is idle.
pub(crate) fn in_flight<C>(shards: &[Shard<C>]) -> usize {
    // Acquire pairs with the Release of `leave`: a caller that sees a closed shard empty sees all work done
    // under its count.
    let count = |shard: &Shard<C>| shard.word.load(Ordering::Acquire) >> COUNT_SHIFT;
    shards.iter().map(count).sum::<u64>() as usize
}

/// Returns the number of callers refused in this generation.
pub(crate) fn refused<C>(shards: &[Shard<C>]) -> u64 {
    // Relaxed: see `Shard::refuse`.
    let refused = |shard: &Shard<C>| shard.refused.load(Ordering::Relaxed) >> COUNT_SHIFT;
    shards.iter().map(refused).sum()
}

/// Returns the time of the last arrival in the lame duck, if any.
pub(crate) fn last_arrival<C>(shards: &[Shard<C>]) -> Option<u64> {
    // Relaxed: see `Shard::record_arrival`.
    let last = |shard: &Shard<C>| shard.last_arrival.load(Ordering::Relaxed);
    shards.iter().map(last).filter(|time| *time > 0).max()
}
