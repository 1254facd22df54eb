use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Drain, Phase, events};
use crate::gate::Changed;

pin_project! {
    /// A future that resolves once a [`Phase`] or a later one is reached.
    ///
    /// Made by [`Drain::reached`], [`Drain::draining`] and [`Drain::drained`]. It is woken by the
    /// change itself; nothing polls in between. It needs no runtime of any kind.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: it changes nothing, and another one resolves all the same.
    #[must_use = "futures do nothing unless polled"]
    pub struct Reached {
        // Always created before the phase is looked at: a change after the look is then seen by it.
        #[pin]
        changed: Changed,
        drain: Drain,
        phase: Phase,
    }
}

impl Reached {
    pub(super) fn new(drain: Drain, phase: Phase) -> Self {
        Self {
            changed: drain.entrance().changed(),
            drain,
            phase,
        }
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }
}

impl Future for Reached {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while this.drain.phase() < *this.phase {
            ready!(this.changed.as_mut().poll(cx));
            this.changed.set(this.drain.entrance().changed());
        }
        if *this.phase == Phase::Drained {
            events::drained(this.drain);
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reached")
            .field("phase", &self.phase)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}
