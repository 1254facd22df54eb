//! What services and handles hold to enter a gate.

use tokio::sync::futures::Notified;

use super::owner::{Gate, Shard};
use super::permit::Permit;
use super::raw::{Entered, Generation};
use super::thread_index;

/// A reference to a gate in one of its uses. `Copy`: a clone of a service writes nothing shared.
#[derive(Clone, Copy)]
pub(crate) struct GateRef {
    pub(super) gate: &'static Gate,
    pub(super) generation: Generation,
}

/// A future of the gate's next change.
pub(crate) type Changed = Notified<'static>;

/// The answer to a caller that wants to enter.
pub(crate) enum Admission {
    Admitted(Permit),
    /// In a lame duck, or while closing.
    AdmittedInLameDuck(Permit),
    Refused,
}

impl GateRef {
    #[inline]
    pub(crate) fn enter(self) -> Admission {
        let shard = self.shard();
        if shard.enter(self.generation) {
            return Admission::Admitted(Permit { shard });
        }
        self.enter_slow(shard)
    }

    #[cold]
    fn enter_slow(self, shard: &'static Shard) -> Admission {
        match shard.enter_slow(self.generation) {
            // A lame duck that was taken back a moment ago.
            Some(Entered::Serving) => Admission::Admitted(Permit { shard }),
            Some(Entered::Leaving) => Admission::AdmittedInLameDuck(Permit { shard }),
            None => Admission::Refused,
        }
    }

    /// Counts a refusal.
    pub(crate) fn count_refusal(self) {
        self.shard().refuse(self.generation);
    }

    /// Whether the gate is a lame duck, closing or closed.
    pub(crate) fn is_leaving(self) -> bool {
        self.gate.core.word.state().is_lame_duck() || self.is_closing()
    }

    /// Whether the gate is closing or closed.
    pub(crate) fn is_closing(self) -> bool {
        self.gate.core.word.state().is_closing() || self.is_closed()
    }

    /// Whether nothing is admitted any more. A foreign generation means that this use of the gate has
    /// been drained.
    pub(crate) fn is_closed(self) -> bool {
        let state = self.gate.core.word.state();
        state.is_closed() || !state.is_of(self.generation)
    }

    /// Returns a future of the gate's next change. It sees each change from its creation on, not from
    /// its first poll on.
    pub(crate) fn changed(self) -> Changed {
        self.gate.core.changed.notified()
    }

    #[inline]
    fn shard(self) -> &'static Shard {
        thread_index::current(&self.gate.shards)
    }
}
