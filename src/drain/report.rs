use std::time::Duration;

use tokio::time::Instant;

use super::Drain;

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
