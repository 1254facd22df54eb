use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Reached;

pin_project! {
    /// A future that resolves once nothing is in flight or the time is up.
    ///
    /// Made by [`Drain::drain`](crate::Drain::drain) and
    /// [`Drain::drain_until`](crate::Drain::drain_until), which have started the drain already.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: draining goes on, and another call gives another wait.
    #[must_use = "draining has started, but nothing waits for it unless this is polled"]
    pub struct DrainWait {
        #[pin]
        drained: Reached,
        // Made by the first poll that has to wait, so that a wait can be made outside a runtime.
        #[pin]
        sleep: Option<Sleep>,
        since: Instant,
        deadline: Option<Instant>,
    }
}

/// What a drain that ended in time has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    elapsed: Duration,
    in_flight_at_start: usize,
    refused: u64,
}

/// The error of a drain whose time was up before everything had left.
///
/// What is still in flight goes on: nothing was cut off. Newcomers are refused as before, and
/// another wait may be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedOut {
    in_flight: usize,
    elapsed: Duration,
}

// === impl DrainWait ===

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
    type Output = Result<Report, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let drained = this.drained.as_mut().poll(cx).is_ready();
        if !drained {
            let Some(deadline) = *this.deadline else {
                return Poll::Pending;
            };
            // A timer resolves milliseconds; a time that is up already is not to wait for one.
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
        let elapsed = this.since.elapsed();
        // The gate is closed, so none in flight is final: the last may have left just now.
        Poll::Ready(match drain.in_flight() {
            0 => Ok(Report {
                elapsed,
                in_flight_at_start: drain.in_flight_at_start(),
                refused: drain.refused(),
            }),
            in_flight => Err(TimedOut { in_flight, elapsed }),
        })
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

// === impl Report ===

impl Report {
    /// How long this wait took: from the call that made it until it saw that nothing was in flight.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many permits lived when draining started.
    pub fn in_flight_at_start(&self) -> usize {
        self.in_flight_at_start
    }

    /// How many newcomers were turned away since draining started.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

// === impl TimedOut ===

impl TimedOut {
    /// How many permits lived when the time was up.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How long this wait took: from the call that made it until it gave up.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, elapsed } = self;
        write!(
            f,
            "drain timed out after {elapsed:.1?}: {in_flight} still in flight"
        )
    }
}

impl Error for TimedOut {}
