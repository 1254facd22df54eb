use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Drain, Phase, log};
use crate::gate::Changed;

pin_project! {
    /// Future that resolves once a [`Phase`] or a later one is reached.
    ///
    /// Returned by [`Drain::reached`], [`Drain::closing`], [`Drain::draining`] and [`Drain::drained`]. The
    /// change of phase wakes it; nothing polls in between. It needs no runtime. A clone waits for the same
    /// phase.
    ///
    /// # Cancel safety
    ///
    /// This future is cancel safe. Dropping it changes nothing.
    #[must_use = "futures do nothing unless polled"]
    pub struct Reached {
        // Created before the phase is read, so that it sees each change after the read.
        #[pin]
        changed: Changed,
        drain: Drain,
        phase: Phase,
    }
}

impl Reached {
    pub(super) fn new(drain: Drain, phase: Phase) -> Self {
        Self {
            changed: drain.gate().changed(),
            drain,
            phase,
        }
    }

    pub(super) fn drain(&self) -> &Drain {
        &self.drain
    }
}

impl Clone for Reached {
    fn clone(&self) -> Self {
        Self::new(self.drain.clone(), self.phase)
    }
}

impl Future for Reached {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while this.drain.phase() < *this.phase {
            ready!(this.changed.as_mut().poll(cx));
            this.changed.set(this.drain.gate().changed());
        }
        if *this.phase == Phase::Drained {
            log::drained(this.drain);
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
