use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::{Drain, log};
use crate::gate::Changed;

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

impl Drain {
    /// Returns a future that resolves once `phase` or a later one is reached.
    ///
    /// Any number of futures may wait, created before or after the change. If a lame duck is
    /// [left](Self::resume) before the future is polled, the future misses it. Later phases are final and
    /// never missed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_drain::{Drain, Phase};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let drain = Drain::new();
    /// let leaving = drain.reached(Phase::LameDuck);
    /// drain.lame_duck();
    /// leaving.await;
    /// # }
    /// ```
    pub fn reached(&self, phase: Phase) -> Reached {
        Reached::new(self.clone(), phase)
    }

    /// Returns a future that resolves once the server should close: [`close`](Self::close) or
    /// [`start_draining`](Self::start_draining) was called.
    ///
    /// Pass it to a server's graceful shutdown, and use it to end streams and loops that would never end.
    /// [`Shutdown::run`](crate::Shutdown::run) passes it to the server for you.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(drain: tower_drain::Drain) {
    /// let mut closing = std::pin::pin!(drain.closing());
    /// loop {
    ///     tokio::select! {
    ///         () = &mut closing => break,
    ///         () = tokio::time::sleep(Duration::from_secs(60)) => println!("once a minute"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn closing(&self) -> Reached {
        self.reached(Phase::Closing)
    }

    /// Returns a future that resolves once draining has started.
    pub fn draining(&self) -> Reached {
        self.reached(Phase::Draining)
    }

    /// Returns a future that resolves once draining has started and nothing is in flight.
    ///
    /// It does not start draining and has no deadline; for both see [`drain`](Self::drain).
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let drain = tower_drain::Drain::new();
    /// let drained = drain.drained();
    /// let permit = drain.try_acquire();
    /// drain.start_draining();
    /// drop(permit);
    /// drained.await;
    /// # }
    /// ```
    pub fn drained(&self) -> Reached {
        self.reached(Phase::Drained)
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
