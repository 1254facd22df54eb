use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Drain, Phase, Reached, Unfinished, log};

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
        #[pin]
        drained: Reached,
        // Created by the first poll that has to wait, so that a wait can be made outside a runtime.
        #[pin]
        sleep: Option<Sleep>,
        since: Instant,
        deadline: Option<Instant>,
    }
}

impl Drain {
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
        self.set_deadline(Phase::Draining, deadline);
        DrainWait::new(self.drained(), now, deadline)
    }
}

impl DrainWait {
    pub(super) fn new(drained: Reached, since: Instant, deadline: Option<Instant>) -> Self {
        Self {
            drained,
            sleep: None,
            since,
            deadline,
        }
    }
}

impl Future for DrainWait {
    type Output = Result<DrainReport, Unfinished>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.drained.as_mut().poll(cx).is_pending() {
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
        }
        let drain = this.drained.drain();
        let unfinished = Unfinished::new(drain, *this.since);
        if drain.phase() == Phase::Drained {
            log::drained(drain);
            return Poll::Ready(Ok(DrainReport::new(drain, *this.since)));
        }
        if unfinished.in_flight() == 0 {
            // Another thread is dropping the last permit, and then wakes this task.
            return Poll::Pending;
        }
        log::timed_out(&unfinished);
        Poll::Ready(Err(unfinished))
    }
}

impl fmt::Debug for DrainWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainWait")
            .field("drain", self.drained.drain())
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
        Self {
            elapsed: since.elapsed(),
            in_flight_at_start: drain.drain_start().map_or(0, |start| start.in_flight),
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
