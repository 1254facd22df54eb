//! Where one enters.

use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::permit::Permit;
use super::pool::Gate;
use super::raw::{Generation, Shard, Status};
use super::thread;

/// Where one enters: what every service and handle of a drain holds.
#[derive(Clone, Copy)]
pub(crate) struct Entrance {
    pub(super) gate: &'static Gate,
    pub(super) generation: Generation,
}

/// A future of a gate's next change.
pub(crate) type Changed = Notified<'static>;

/// What an [`Entrance`] has to say to a newcomer.
pub(crate) enum Admission {
    Admitted(Permit),
    /// Admitted under notice.
    Noticed(Permit),
    /// The gate is closed: turn the newcomer away.
    Refused,
    /// Every handle was dropped while the gate was open: nobody can wait, so nobody need be counted.
    Unattended,
}

/// How things stand for those who hold an [`Entrance`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Open,
    /// Open, but it has been announced that it will close.
    Noticed,
    Closed,
}

impl Entrance {
    #[inline]
    pub(crate) fn enter(self) -> Admission {
        let shard = self.gate.raw.shard(thread::index());
        if shard.enter(self.generation) {
            return Admission::Admitted(self.permit(shard));
        }
        self.enter_otherwise(shard)
    }

    #[inline]
    fn permit(self, shard: &'static Shard) -> Permit {
        let gate = self.gate;
        Permit { shard, gate }
    }

    #[cold]
    fn enter_otherwise(self, shard: &'static Shard) -> Admission {
        match shard.enter_noticed(self.generation) {
            Some(true) => Admission::Noticed(self.permit(shard)),
            // Withdrawn just now.
            Some(false) => Admission::Admitted(self.permit(shard)),
            None if self.is_orphaned() => Admission::Unattended,
            None => {
                shard.refuse(self.generation);
                Admission::Refused
            }
        }
    }

    /// Notes that a newcomer entered under notice, now. For whoever holds a permit.
    pub(crate) fn note_arrival(self) {
        *self.gate.arrivals.mine().1 = Some(Instant::now());
    }

    #[inline]
    pub(crate) fn standing(self) -> Standing {
        let status = self.gate.raw.status();
        if status.is_plainly_open(self.generation) {
            return Standing::Open;
        }
        self.standing_otherwise(status)
    }

    #[cold]
    fn standing_otherwise(self, status: Status) -> Standing {
        if status.is(self.generation) && !status.is_closed() {
            // Not plainly open, so there is notice.
            Standing::Noticed
        } else if self.is_orphaned() {
            Standing::Open
        } else {
            Standing::Closed
        }
    }

    /// A future of the gate's next change. It counts from its creation: what changes between that
    /// and its first poll is not lost.
    pub(crate) fn changed(self) -> Changed {
        self.gate.changed.notified()
    }

    /// Whether both lead into the same gate, in the same use of it.
    pub(crate) fn is_same(self, other: Self) -> bool {
        std::ptr::eq(self.gate, other.gate) && self.generation == other.generation
    }

    fn is_orphaned(self) -> bool {
        self.gate.orphans.contains(self.generation.number())
    }
}
