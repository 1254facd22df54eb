use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{DrainReport, Phase, Reached, Unfinished, log};

pin_project! {
    /// Future that resolves once nothing is in flight, or at its deadline.
    ///
    /// Returned by [`Drain::drain`](crate::Drain::drain) and
    /// [`Drain::drain_until`](crate::Drain::drain_until), which have started draining.
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
            // Another thread is dropping the last permit, and wakes this task when it has.
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
