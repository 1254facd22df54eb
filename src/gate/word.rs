//! The words of a gate: phase, generation and count, and each operation on them. This is the only file in the
//! crate that names a memory ordering. It wakes nothing.
//!
//! `tests/loom.rs` compiles this file with loom's atomics. Therefore it imports them from `super::sync` and
//! uses nothing else of the crate.
//!
//! # Invariants
//!
//! 1. Changes of phase do not overlap: callers hold the lock of the gate's history.
//! 2. A shard's count changes only by its own word, so admission and draining are one atomic step each.
//! 3. A shard becomes idle (draining, with a count of zero) once per generation.
//! 4. The gate's count is the number of shards that are not idle, plus one until its phase is draining. It is
//!    zero once all work has ended, and stays zero until the gate is opened again.

use super::sync::{AtomicU64, Ordering};

/// The phase of a drain. Later phases compare greater.
///
/// ```text
///       lame_duck()       close()       start_draining()       last permit
/// Serving ──────▶ LameDuck ────▶ Closing ────────────▶ Draining ──────▶ Drained
///    ▲─── resume() ──┘
/// ```
///
/// A call may skip phases: [`close`](crate::Drain::close) works from `Serving`,
/// [`start_draining`](crate::Drain::start_draining) from any phase, and with nothing in flight it goes
/// straight to `Drained`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Ready. Requests are served.
    Serving,
    /// Not ready, but the port is open and requests are served. HTTP/1 responses ask clients to close their
    /// connections.
    LameDuck,
    /// The server has been asked to close its port and its connections. Requests that still arrive on
    /// open connections are served.
    Closing,
    /// New requests are refused. Those in flight finish.
    Draining,
    /// New requests are refused, and nothing is in flight. Final.
    Drained,
}

/// The phase, in the lowest bits. A drained gate is a draining one whose count is zero.
const PHASE: u64 = 0b11;
const SERVING: u64 = Phase::Serving as u64;
const LAME_DUCK: u64 = Phase::LameDuck as u64;
const CLOSING: u64 = Phase::Closing as u64;
const DRAINING: u64 = Phase::Draining as u64;
/// The generation, above the phase. 23 bits, so that a mask of both fits into 32.
const GENERATION: u64 = ((1 << 23) - 1) << 2;
const ONE_GENERATION: u64 = 1 << 2;
/// Whether a request has ever entered, in a shard.
const USED: u64 = 1 << 25;
/// The count, in the other bits.
const COUNT: u64 = !(PHASE | GENERATION | USED);
const COUNT_SHIFT: u32 = COUNT.trailing_zeros();
const ONE: u64 = 1 << COUNT_SHIFT;
/// A shard with this count is full. Only permits that are never dropped can fill it: 2^37 of them.
const FULL: u64 = 1 << 63;

/// Identifies one use of a gate. Each reuse is the next generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

/// The word of a gate as a whole. Written on changes of phase only.
pub(crate) struct GateWord(AtomicU64);

/// One counter of a gate. Alone on its cache lines: x86 processors prefetch pairs of 64-byte lines, and Apple's
/// lines have 128 bytes.
#[repr(align(128))]
pub(crate) struct Shard<L> {
    /// The gate's phase and generation, and the count of this shard.
    word: AtomicU64,
    /// Other data of the shard.
    pub(crate) local: L,
}

/// A count of refusals, and the generation.
pub(crate) struct Refused(AtomicU64);

impl<L> Shard<L> {
    /// A shard that admits nothing until its gate is [opened](GateWord::open).
    pub(crate) fn new(local: L) -> Self {
        Self {
            word: AtomicU64::new(DRAINING),
            local,
        }
    }

    /// Enters for a request: like [`enter`](Self::enter), and marks the shard as used.
    #[inline]
    pub(crate) fn enter_request(&self, generation: Generation) -> Option<Phase> {
        self.enter_with(generation, USED)
    }

    /// Increments the count, and returns the phase in which it did. Returns `None` from draining on, in another
    /// generation, and if the shard is full.
    ///
    /// Admission and draining change the same word. Either the count goes up first and `start_draining` reports
    /// it, or the phase comes first and this fails without touching the count.
    #[inline]
    pub(crate) fn enter(&self, generation: Generation) -> Option<Phase> {
        self.enter_with(generation, 0)
    }

    #[inline]
    fn enter_with(&self, generation: Generation, mark: u64) -> Option<Phase> {
        // Acquire, here and on failure: a caller that is refused sees what was written before the shard was
        // draining or reopened (`start_draining`, `open`: Release).
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            // Another generation, and a full shard, leave a bit above the phase.
            let phase = (word ^ generation.0) & (PHASE | GENERATION | FULL);
            if phase >= DRAINING {
                return None;
            }
            // Relaxed on success: entering publishes nothing, and it cannot miss a change of phase, which is in
            // the same word.
            let (success, failure) = (Ordering::Relaxed, Ordering::Acquire);
            match self
                .word
                .compare_exchange_weak(word, (word | mark) + ONE, success, failure)
            {
                Ok(_) if phase == SERVING => return Some(Phase::Serving),
                Ok(_) if phase == LAME_DUCK => return Some(Phase::LameDuck),
                Ok(_) => return Some(Phase::Closing),
                Err(current) => word = current,
            }
        }
    }

    /// Increments the count in any phase. The caller must already hold a count of this shard, so that the shard
    /// cannot become idle meanwhile. Aborts if the shard is full, as the clone of an `Arc` does.
    #[inline]
    pub(crate) fn enter_again(&self) {
        // Relaxed, like the clone of an `Arc`: the holder orders this before its own `leave`.
        if self.word.fetch_add(ONE, Ordering::Relaxed) & FULL != 0 {
            std::process::abort();
        }
    }

    /// Decrements the count. Returns true if that made the shard idle; the caller must then call
    /// [`GateWord::shard_became_idle`].
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        // Release: work done under the count happens before the decrement. Acquire: the caller that makes the
        // shard idle sees the work of all others (their Release) and publishes it in `shard_became_idle`.
        let before = self.word.fetch_sub(ONE, Ordering::AcqRel);
        before & (COUNT | PHASE) == ONE | DRAINING
    }
}

impl GateWord {
    /// A gate that is drained, and can be [opened](Self::open).
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(DRAINING))
    }

    /// Opens a drained gate as its next generation. Returns `None` if the generations are used up. The caller
    /// must have exclusive access to the gate.
    pub(crate) fn open<L>(&self, shards: &[Shard<L>]) -> Option<Generation> {
        // Relaxed: the caller got the gate through a lock, or made it.
        let last = self.0.load(Ordering::Relaxed) & GENERATION;
        if last == GENERATION {
            return None;
        }
        let generation = last + ONE_GENERATION;
        let busy = (shards.len() as u64 + 1) * ONE;
        // Release pairs with the Acquire of `phase`.
        self.0.store(generation | busy, Ordering::Release);
        for shard in shards {
            // A store would do. This is a swap because loom does not see that a store comes after every
            // read-modify-write of the old value. Release pairs with the Acquire of an `enter` of an earlier
            // generation.
            shard.word.swap(generation, Ordering::Release);
        }
        Some(Generation(generation))
    }

    /// Returns the phase of this generation.
    #[inline]
    pub(crate) fn phase(&self, generation: Generation) -> Phase {
        // Acquire: a caller that sees the gate drained sees all work done under its counts
        // (`shard_became_idle`, `start_draining`: Release).
        let word = self.0.load(Ordering::Acquire);
        match (word ^ generation.0) & (PHASE | GENERATION) {
            SERVING => Phase::Serving,
            LAME_DUCK => Phase::LameDuck,
            CLOSING => Phase::Closing,
            DRAINING if word & COUNT != 0 => Phase::Draining,
            // Only a drained gate is opened again.
            _ => Phase::Drained,
        }
    }

    /// Whether the gate is still in this generation.
    pub(crate) fn is_of(&self, generation: Generation) -> bool {
        // Relaxed: the caller holds the lock under which the gate is opened.
        self.0.load(Ordering::Relaxed) & GENERATION == generation.0
    }

    /// Changes the phase, to one before draining. See the invariants.
    pub(crate) fn set_phase<L>(&self, shards: &[Shard<L>], phase: Phase) {
        let change = |word| Some(word & !PHASE | phase as u64);
        // AcqRel, all of them: a caller that sees the phase also sees everything before the change. The gate
        // first: a request that is admitted in this phase also reads it here.
        let words = std::iter::once(&self.0).chain(shards.iter().map(|shard| &shard.word));
        for word in words {
            // Never an error, because there is always a change.
            let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        }
    }

    /// Starts draining and returns the count of all shards. Once it returns, nothing is admitted. Must be called
    /// once per generation. See the invariants.
    ///
    /// The gate counts itself until its own phase is draining, in the same step. So it is never drained while a
    /// shard still admits.
    pub(crate) fn start_draining<L>(&self, shards: &[Shard<L>]) -> usize {
        let mut in_flight = 0;
        let mut idle = 0;
        for shard in shards {
            // Draining has all bits of a phase. Acquire pairs with the Release of each `leave` so far. Release
            // lets refused callers see what was written before (`enter`: Acquire).
            let before = shard.word.fetch_or(DRAINING, Ordering::AcqRel) & COUNT;
            in_flight += before >> COUNT_SHIFT;
            idle += u64::from(before == 0);
        }
        let change = |word| Some((word | DRAINING) - (idle + 1) * ONE);
        // Release for callers that see the gate draining or drained (`phase`), Acquire for the shards that became
        // idle before. Never an error.
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        in_flight as usize
    }

    /// Records that a shard has become idle. Returns true if that drained the gate, which happens once per
    /// generation.
    pub(crate) fn shard_became_idle(&self) -> bool {
        // AcqRel: Release for callers that see the gate drained (`phase`) or whose shard becomes idle later;
        // Acquire for the earlier shards, if this is the last.
        self.0.fetch_sub(ONE, Ordering::AcqRel) & COUNT == ONE
    }
}

/// Returns the sum of the shards' counts. Exact while no count changes, and always once the gate is drained.
pub(crate) fn in_flight<L>(shards: &[Shard<L>]) -> usize {
    // Acquire pairs with the Release of `leave`: a caller that sees an idle shard sees all work done under its
    // count.
    let count = |shard: &Shard<L>| shard.word.load(Ordering::Acquire) >> COUNT_SHIFT;
    shards.iter().map(count).sum::<u64>() as usize
}

/// Returns whether a request has ever entered one of the shards.
pub(crate) fn is_used<L>(shards: &[Shard<L>]) -> bool {
    // Relaxed: a fact that orders nothing.
    let is_used = |shard: &Shard<L>| shard.word.load(Ordering::Relaxed) & USED != 0;
    shards.iter().any(is_used)
}

impl Default for Refused {
    fn default() -> Self {
        Self(AtomicU64::new(0))
    }
}

impl Refused {
    /// Counts from zero, in a new generation.
    pub(crate) fn open(&self, generation: Generation) {
        // Relaxed throughout: a statistic that orders nothing. A swap for loom, as in `GateWord::open`.
        self.0.swap(generation.0, Ordering::Relaxed);
    }

    /// Adds one, unless the gate has moved on to another generation.
    pub(crate) fn add(&self, generation: Generation) {
        let count = |word| (word & GENERATION == generation.0).then_some(word + ONE);
        // `Err` means another generation.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed) >> COUNT_SHIFT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_shard_admits_nothing() {
        super::super::sync::model(|| {
            let shards = [Shard::new(())];
            let generation = GateWord::new().open(&shards).expect("the first generation");
            let almost_full = generation.0 | (FULL - ONE);
            shards[0].word.store(almost_full, Ordering::Relaxed);
            assert_eq!(shards[0].enter(generation), Some(Phase::Serving));
            assert_eq!(shards[0].enter(generation), None);
            shards[0].leave();
            assert!(!is_used(&shards));
            assert_eq!(shards[0].enter_request(generation), Some(Phase::Serving));
            assert!(is_used(&shards));
        });
    }
}
