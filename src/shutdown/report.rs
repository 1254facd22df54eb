use std::time::Duration;

use super::signal::Signal;

/// Statistics of a completed shutdown, returned by [`Shutdown::run`](crate::Shutdown::run).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    pub(super) signal: Option<Signal>,
    pub(super) lame_duck: Duration,
    pub(super) in_flight_at_close: usize,
    pub(super) refused: u64,
    pub(super) requests: Duration,
    pub(super) server: Option<Duration>,
}

impl ShutdownReport {
    /// Returns what started the shutdown. `None` if the server ended by itself, or if another handle
    /// closed the drain.
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// Returns the time from the signal until the server was asked to close: the lame duck, and what the port
    /// took to settle. A lame duck that began before the signal is not included.
    pub fn lame_duck(&self) -> Duration {
        self.lame_duck
    }

    /// Returns the number of permits when the server was asked to close.
    pub fn in_flight_at_close(&self) -> usize {
        self.in_flight_at_close
    }

    /// Returns the number of requests and [`try_acquire`](crate::Drain::try_acquire) calls that were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns the time from telling the server to close until nothing was in flight.
    pub fn requests(&self) -> Duration {
        self.requests
    }

    /// Returns the time from telling the server to close until the server ended. Zero if it had ended
    /// before. `None` if it had not ended when [`flush`](crate::Shutdown::flush) was over: connections were
    /// still open, with nothing in flight, and were abandoned.
    pub fn server(&self) -> Option<Duration> {
        self.server
    }
}
