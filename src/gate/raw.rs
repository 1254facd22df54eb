//! The counting core: plain words and what may be done to them. It holds no data, wakes nobody and
//! is the one file of the crate that names a memory ordering.
//!
//! `tests/loom.rs` compiles this very file against loom's atomics, which is why it takes them from
//! `super::sync` and nothing else from the crate.

use super::sync::{AtomicU64, Ordering};

/// Counts live in the low 39 bits of a shard's word. To overflow them takes 2^39 permits that are
/// never dropped, which is 8 TiB of permits, or hours of nothing but `mem::forget`.
const COUNT_MASK: u64 = (1 << 39) - 1;
const ONE: u64 = 1;
/// In a shard's word: notice has been given, so whoever enters is to be told. A copy of the gate's
/// own, put where those who enter look anyway.
const SHARD_NOTICE: u64 = 1 << 39;
/// In a shard's word: no one enters any more.
const SHARD_CLOSED: u64 = 1 << 40;
/// Both kinds of word, a shard's and the gate's, carry the generation in their top 23 bits.
const GENERATION_SHIFT: u32 = 41;
const GENERATION_MAX: u64 = (1 << (64 - GENERATION_SHIFT)) - 1;

/// In the gate's word: its users have been told that it will close.
const NOTICE: u64 = 1 << 0;
/// In the gate's word: every shard is closed.
const CLOSED: u64 = 1 << 1;
/// In the gate's word: the last handle is gone, so whoever makes the gate idle retires it.
const UNATTENDED: u64 = 1 << 2;
/// In the gate's word: how many shards are not idle yet, and one more until the gate is closed.
const BUSY_ONE: u64 = 1 << 8;
const BUSY_MASK: u64 = 0xff << 8;

/// Which use of a gate a holder belongs to: a gate is opened again and again, each time as the next
/// generation. Kept shifted to its place in the words, so that admission compares and does not shift.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Generation(u64);

impl Generation {
    fn of(word: u64) -> Self {
        Self(word & (GENERATION_MAX << GENERATION_SHIFT))
    }

    fn next(self) -> Option<Self> {
        let number = (self.0 >> GENERATION_SHIFT) + 1;
        (number <= GENERATION_MAX).then_some(Self(number << GENERATION_SHIFT))
    }

    pub(crate) fn number(self) -> u32 {
        // At most 23 bits, by the shift.
        (self.0 >> GENERATION_SHIFT) as u32
    }
}

/// The gate's word as it was at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Status(u64);

impl Status {
    /// Open as `generation`, and no notice given: the one case that is made fast.
    #[inline]
    pub(crate) fn is_plainly_open(self, generation: Generation) -> bool {
        self.0 & !BUSY_MASK == generation.0
    }

    pub(crate) fn is(self, generation: Generation) -> bool {
        Generation::of(self.0) == generation
    }

    pub(crate) fn has_notice(self) -> bool {
        self.0 & NOTICE != 0
    }

    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// Closed and nobody inside. Final within a generation.
    pub(crate) fn is_idle(self) -> bool {
        self.0 & BUSY_MASK == 0
    }

    fn is_unattended(self) -> bool {
        self.0 & UNATTENDED != 0
    }
}

/// What became of the gate by an operation that may have been its last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Somebody is inside, or the gate is not closed.
    Busy,
    /// This operation made the gate idle: its caller, and nobody else, announces it.
    Idle,
    /// This operation made the gate idle and no handle is left: its caller, and nobody else,
    /// retires it.
    Retired,
}

impl Outcome {
    fn of(after: u64) -> Self {
        let status = Status(after);
        match (status.is_idle(), status.is_unattended()) {
            (false, _) => Outcome::Busy,
            (true, false) => Outcome::Idle,
            (true, true) => Outcome::Retired,
        }
    }
}

/// One counter of a gate, alone on its cache lines.
///
/// 128 bytes, not 64: the prefetchers of current x86 processors fetch lines in pairs, and Apple's
/// cores have lines of 128.
#[repr(align(128))]
pub(crate) struct Shard {
    /// Generation, closed bit, count.
    word: AtomicU64,
    /// Generation, and how many this shard has turned away in it.
    refused: AtomicU64,
}

impl Shard {
    /// Counts one in, unless the shard is closed, of another generation or under notice.
    ///
    /// Admission and closing meet in this one word: either the count is up before the bit is set,
    /// and `close` reports it, or the bit is set first, and this fails without touching the count.
    #[inline]
    pub(crate) fn enter(&self, generation: Generation) -> bool {
        // One comparison for all three: else an open shard of this generation has no other bit set.
        self.enter_if(|word| word & !COUNT_MASK == generation.0)
            .is_some()
    }

    /// As [`enter`](Self::enter), but under notice too. Returns whether there was notice, or `None`
    /// if the shard is closed or of another generation.
    pub(crate) fn enter_noticed(&self, generation: Generation) -> Option<bool> {
        self.enter_if(|word| word & !(COUNT_MASK | SHARD_NOTICE) == generation.0)
            .map(|word| word & SHARD_NOTICE != 0)
    }

    /// Counts one in if the word is `welcoming`; the word that was.
    #[inline]
    fn enter_if(&self, welcoming: impl Fn(u64) -> bool) -> Option<u64> {
        // Acquire, here and on failure: whoever is turned away sees what was written before the
        // shard was closed or opened anew (`close`, `open`: Release), such as who orphaned it.
        let mut word = self.word.load(Ordering::Acquire);
        while welcoming(word) {
            // Relaxed on success: entering publishes nothing, and the closing it must not miss is
            // a bit of this same word.
            match self.word.compare_exchange_weak(
                word,
                word + ONE,
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(word),
                Err(current) => word = current,
            }
        }
        None
    }

    /// Counts one more in, closed or not. Only for someone who is inside this shard already: that
    /// is what keeps it from being idle meanwhile.
    #[inline]
    pub(crate) fn enter_again(&self) {
        // Relaxed, as a clone of an `Arc` is: the one inside orders this before its own leaving.
        self.word.fetch_add(ONE, Ordering::Relaxed);
    }

    /// Counts one out; true if that made the shard idle, which happens once a generation. Then the
    /// caller owes [`RawGate::count_off`].
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        // Release: what was done inside happens before the leaving. Acquire, for the one who makes
        // the shard idle: it has seen what all the others did before they left (their Release),
        // and passes that on through `count_off`.
        let before = self.word.fetch_sub(ONE, Ordering::AcqRel);
        before & (SHARD_CLOSED | COUNT_MASK) == (SHARD_CLOSED | ONE)
    }

    /// Notes that one was turned away, unless the shard has gone on to another generation.
    pub(crate) fn refuse(&self, generation: Generation) {
        // Relaxed throughout: a statistic, it orders nothing. An error is the foreign generation.
        let _ = self
            .refused
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                (Generation::of(word) == generation).then_some(word + ONE)
            });
    }

    fn set_notice(&self, notice: bool) {
        // Relaxed: the bit tells those who enter to look closer, and orders nothing.
        if notice {
            self.word.fetch_or(SHARD_NOTICE, Ordering::Relaxed);
        } else {
            self.word.fetch_and(!SHARD_NOTICE, Ordering::Relaxed);
        }
    }

    fn close(&self) -> u64 {
        // Acquire pairs with the Release of every leaving so far; Release lets those that are
        // turned away see what was written before the closing (`enter`: Acquire).
        self.word.fetch_or(SHARD_CLOSED, Ordering::AcqRel)
    }

    fn open(&self, generation: Generation) {
        // A swap where a store would do: of a store, loom does not see that it comes after every
        // `refuse` that counted into the old value.
        self.refused.swap(generation.0, Ordering::Relaxed);
        // Release pairs with the Acquire of an `enter` that belongs to an earlier generation.
        self.word.store(generation.0, Ordering::Release);
    }

    fn count(&self) -> u64 {
        // Acquire pairs with the Release of `leave`: who sees a closed shard empty sees all that was
        // done inside.
        self.word.load(Ordering::Acquire) & COUNT_MASK
    }

    fn refusals(&self) -> u64 {
        // Relaxed: see `refuse`.
        self.refused.load(Ordering::Relaxed) & COUNT_MASK
    }
}

/// A gate's shards, and the word that says what the gate is as a whole.
pub(crate) struct RawGate {
    shards: Box<[Shard]>,
    /// Generation, count of busy shards, flags. Written on changes of phase only, so that every
    /// request may read it: the line stays shared between the cores.
    state: AtomicU64,
}

impl RawGate {
    /// A gate of `shards` shards, a power of two up to 64: idle, closed, with no handle. It wants
    /// [`open`](Self::open).
    pub(crate) fn new(shards: usize) -> Self {
        debug_assert!(shards.is_power_of_two() && shards <= 64);
        Self {
            shards: (0..shards)
                .map(|_| Shard {
                    word: AtomicU64::new(SHARD_CLOSED),
                    refused: AtomicU64::new(0),
                })
                .collect(),
            state: AtomicU64::new(CLOSED | UNATTENDED),
        }
    }

    /// Opens an idle gate that nobody holds, as its next generation. `None` when the generations
    /// are used up.
    pub(crate) fn open(&self) -> Option<Generation> {
        // Relaxed: the caller has the gate from whoever retired it, by a lock or for being new.
        let generation = Generation::of(self.state.load(Ordering::Relaxed)).next()?;
        let busy = (self.shards.len() as u64 + 1) * BUSY_ONE;
        // Release pairs with the Acquire of `status`.
        self.state.store(generation.0 | busy, Ordering::Release);
        for shard in &self.shards {
            shard.open(generation);
        }
        Some(generation)
    }

    /// The shard for a thread's index.
    #[inline]
    pub(crate) fn shard(&self, index: usize) -> &Shard {
        &self.shards[index & (self.shards.len() - 1)]
    }

    #[inline]
    pub(crate) fn status(&self) -> Status {
        // Acquire: whoever sees the gate idle sees all that was done inside (`count_off` and
        // `close`: Release); whoever sees it closed or gone on sees who orphaned it.
        Status(self.state.load(Ordering::Acquire))
    }

    /// Gives or withdraws notice; true if that changed anything. A closed gate keeps what it has.
    /// Callers take turns, or the shards might end up other than the gate.
    pub(crate) fn set_notice(&self, notice: bool) -> bool {
        // AcqRel: what was done before the notice is seen by those who see it (`status`).
        let changed = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                let status = Status(state);
                (!status.is_closed() && status.has_notice() != notice).then_some(state ^ NOTICE)
            })
            .is_ok();
        if changed {
            for shard in &self.shards {
                shard.set_notice(notice);
            }
        }
        changed
    }

    /// Closes every shard, then the gate, and returns how many were inside the shards that this call
    /// closed. When it returns nobody enters any more, whether this call or another one at the same
    /// time did the work.
    ///
    /// The gate's own busy share, given up in the same step that sets its closed bit, keeps it from
    /// being idle before that: nobody can see it idle and open.
    pub(crate) fn close(&self) -> usize {
        let mut in_flight = 0;
        let mut idle = 0;
        for shard in &self.shards {
            let before = shard.close();
            if before & SHARD_CLOSED == 0 {
                in_flight += before & COUNT_MASK;
                idle += u64::from(before & COUNT_MASK == 0);
            }
        }
        // AcqRel: Release for those who see the gate closed or idle (`status`), Acquire for those
        // who counted shards off before. Never an error: the closure always has a new value.
        let _ = self
            .state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                let gate = u64::from(!Status(state).is_closed());
                Some((state | CLOSED) - (idle + gate) * BUSY_ONE)
            });
        in_flight as usize
    }

    /// Counts one shard off that has become idle.
    pub(crate) fn count_off(&self) -> Outcome {
        // AcqRel: Release for whoever sees the gate idle (`status`) or counts off after this;
        // Acquire for the others who counted off before, should this be the last.
        let before = self.state.fetch_sub(BUSY_ONE, Ordering::AcqRel);
        Outcome::of(before - BUSY_ONE)
    }

    /// Says that no handle is left. `Retired` if the gate is idle already, `Busy` if whoever makes
    /// it idle is to retire it.
    pub(crate) fn detach(&self) -> Outcome {
        // AcqRel: Acquire for all that was done inside, Release for the one who retires it.
        let before = self.state.fetch_or(UNATTENDED, Ordering::AcqRel);
        Outcome::of(before | UNATTENDED)
    }

    /// How many are inside, shard by shard: exact when nobody moves, and always once it is idle.
    pub(crate) fn in_flight(&self) -> usize {
        self.shards.iter().map(Shard::count).sum::<u64>() as usize
    }

    /// How many were turned away in this generation.
    pub(crate) fn refused(&self) -> u64 {
        self.shards.iter().map(Shard::refusals).sum()
    }
}
