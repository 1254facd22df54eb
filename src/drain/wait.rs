//! Waits for a phase, and for the end of a drain.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Drain, Goodbye, Phase, Reached, Unfinished};

pin_project! {
    /// Future that resolves once nothing is in flight, or at its deadline.
    ///
    /// Returned by [`Drain::drain`](crate::Drain::drain) and
    /// [`Drain::drain_until`](crate::Drain::drain_until), which have started draining.
    ///
    /// # Errors
    ///
    /// Returns [`Unfinished`] if something is in flight at the deadline.
    ///
    /// # Panics
    ///
    /// Panics if it has to wait for a deadline and is polled outside a tokio runtime with its timer
    /// enabled.
    ///
    /// # Cancel safety
    ///
    /// This future is cancel safe. Dropping it does not stop the drain; another call returns another
    /// wait.
    #[must_use = "draining has started, but nothing waits for it unless this is polled"]
    pub struct DrainWait {
        drain: Drain,
        drained: Reached,
        // Created by the first poll that has to wait, so that a wait can be made outside a runtime.
        #[pin]
        sleep: Option<Sleep>,
        since: Instant,
        deadline: Option<Instant>,
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
        Reached::new(self.gate(), phase)
    }

    /// Returns a future that resolves once the server should close: [`close`](Self::close) or
    /// [`start_draining`](Self::start_draining) was called.
    ///
    /// Pass it to a server's graceful shutdown, and use it to end loops that take new work.
    /// [`Shutdown::run`](crate::Shutdown::run) passes it to the server for you. Work that clients resume elsewhere ends
    /// on [`goodbye`](Self::goodbye) instead.
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

    /// Returns a future that resolves when one piece of long-lived work should end: a WebSocket, an event stream, a long
    /// poll, a job that holds a [`Permit`](crate::Permit).
    ///
    /// If a thousand of them end together, a thousand clients reconnect together. So each future, and each clone, resolves
    /// at a random time of its own in the second half of the lame duck, when the load balancer sends those who come back
    /// to another server. If the work begins later, it is a time in what is left. Once the port settles, it is
    /// [`Phase::Closing`], which is the latest for all. So call it once for each piece of work, before any loop.
    ///
    /// If no load balancer sends new connections elsewhere, a client that reconnects in the lame duck reaches the same
    /// server, and gets another goodbye soon. Let such clients wait before they reconnect, or refuse them while the server
    /// is not [ready](Self::is_ready).
    ///
    /// Only a running [`Shutdown`](crate::Shutdown) knows when the lame duck ends, and says the goodbyes. Without one, or
    /// on [`Signal::Interrupt`](crate::Signal), they all come with closing. If
    /// [`quiet_period`](crate::Shutdown::quiet_period) or [`min_failed_probes`](crate::Shutdown::min_failed_probes) ends
    /// the lame duck early, those that are left come with closing too.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(drain: tower_drain::Drain, mut news: tokio::sync::watch::Receiver<u32>) -> Option<u32> {
    /// // A long poll. A client without an answer asks again, and reaches another server.
    /// tokio::select! {
    ///     changed = news.changed() => changed.ok().map(|()| *news.borrow()),
    ///     () = drain.goodbye() => None,
    ///     () = tokio::time::sleep(Duration::from_secs(60)) => None,
    /// }
    /// # }
    /// ```
    pub fn goodbye(&self) -> Goodbye {
        Goodbye::new(self.gate())
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

    /// [Starts draining](Self::start_draining) and waits until nothing is in flight, at most for `timeout`.
    ///
    /// Draining and the timeout start with this call, not with the first poll of the future. Several waits
    /// may run, each with its own deadline. With a `timeout` of zero, the future resolves at once. A timeout
    /// that is too long for the clock, such as [`Duration::MAX`], means no deadline.
    ///
    /// # Errors
    ///
    /// The future returns [`Unfinished`](crate::Unfinished) if something is in flight at the deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let drain = tower_drain::Drain::new();
    /// match drain.drain(Duration::from_secs(30)).await {
    ///     Ok(report) => println!("drained in {:?}", report.elapsed()),
    ///     Err(unfinished) => eprintln!("{unfinished}"),
    /// }
    /// # }
    /// ```
    pub fn drain(&self, timeout: Duration) -> DrainWait {
        let now = Instant::now();
        self.wait(now, now.checked_add(timeout))
    }

    /// Like [`drain`](Self::drain), with an absolute deadline. A past deadline is a timeout of zero.
    ///
    /// # Errors
    ///
    /// Like [`drain`](Self::drain).
    pub fn drain_until(&self, deadline: Instant) -> DrainWait {
        self.wait(Instant::now(), Some(deadline))
    }

    fn wait(&self, now: Instant, deadline: Option<Instant>) -> DrainWait {
        self.start_draining();
        let mut history = self.gate().history();
        history.set_deadline(Phase::Draining, deadline);
        drop(history);
        DrainWait {
            drain: self.clone(),
            drained: self.drained(),
            sleep: None,
            since: now,
            deadline,
        }
    }
}

impl Future for DrainWait {
    type Output = Result<DrainReport, Unfinished>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if Pin::new(this.drained).poll(cx).is_ready() {
            return Poll::Ready(Ok(DrainReport::new(this.drain, *this.since)));
        }
        let Some(deadline) = *this.deadline else {
            return Poll::Pending;
        };
        // Timers have a resolution of a millisecond. A deadline that has passed needs none.
        if Instant::now() < deadline {
            if this.sleep.is_none() {
                this.sleep.set(Some(sleep_until(deadline)));
            }
            if let Some(sleep) = this.sleep.as_pin_mut() {
                ready!(sleep.poll(cx));
            }
        }
        let unfinished = Unfinished::new(this.drain, *this.since);
        if unfinished.in_flight() == 0 {
            // Another thread is dropping the last permit, and then wakes this task.
            return Poll::Pending;
        }
        unfinished.log("drain timed out");
        Poll::Ready(Err(unfinished))
    }
}

impl fmt::Debug for DrainWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainWait")
            .field("drain", &self.drain)
            .field("since", &self.since)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Statistics of a completed drain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainReport {
    elapsed: Duration,
    in_flight_at_start: usize,
    refused: u64,
}

impl DrainReport {
    /// Describes a wait that started at `since` and ends now.
    pub(super) fn new(drain: &Drain, since: Instant) -> Self {
        let draining = drain.gate().history().draining;
        Self {
            elapsed: since.elapsed(),
            in_flight_at_start: draining.map_or(0, |draining| draining.in_flight_at_start),
            // Nothing is refused before draining starts.
            refused: drain.refused(),
        }
    }

    /// Returns how long this wait took, from the call to [`Drain::drain`] until it saw that nothing was
    /// in flight.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the number of permits when draining started.
    pub fn in_flight_at_start(&self) -> usize {
        self.in_flight_at_start
    }

    /// Returns the number of requests and [`try_acquire`](Drain::try_acquire) calls refused since draining
    /// started.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
