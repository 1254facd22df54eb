//! A small index for each thread, so that threads that run at the same time use different shards.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

/// Which indexes are taken. The lowest free one is given out, and is given back when its thread
/// ends: with plain counting, threads that come and go (a blocking pool, say) would in time set two
/// busy workers on one shard.
static TAKEN: Mutex<Vec<bool>> = Mutex::new(Vec::new());

const NONE: usize = usize::MAX;

thread_local! {
    /// Without a destructor, so that reading it is one load at a fixed place.
    static INDEX: Cell<usize> = const { Cell::new(NONE) };
    /// With one: gives the index back. Touched once in a thread's life.
    static CLAIM: Claim = Claim::take();
}

struct Claim(usize);

impl Claim {
    fn take() -> Self {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        let index = taken.iter().position(|taken| !taken).unwrap_or(taken.len());
        if index == taken.len() {
            taken.push(true);
        } else {
            taken[index] = true;
        }
        Self(index)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
        taken[self.0] = false;
    }
}

/// The current thread's index.
#[inline]
pub(super) fn index() -> usize {
    match INDEX.get() {
        NONE => assign(),
        index => index,
    }
}

#[cold]
fn assign() -> usize {
    // The claim is out of reach while the thread's other destructors run; any index serves then:
    // two threads on one shard are slower, not wrong.
    let index = CLAIM.try_with(|claim| claim.0).unwrap_or(0);
    INDEX.set(index);
    index
}
