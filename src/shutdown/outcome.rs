//! The outcome of a shutdown.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::signal::Signal;
use crate::drain::{BoxError, Unfinished};

/// Statistics of a completed shutdown, returned by [`Shutdown::run`](crate::Shutdown::run).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    pub(super) signal: Option<Signal>,
    pub(super) lame_duck: Duration,
    pub(super) in_flight_at_close: usize,
    pub(super) refused: u64,
    pub(super) drained_after: Duration,
    pub(super) ended_after: Option<Duration>,
}

/// What cut a sequence short.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    TimedOut,
    Forced,
}

impl ShutdownReport {
    /// Returns what started the shutdown. `None` if the server ended by itself, or if another handle
    /// closed the drain.
    pub fn signal(&self) -> Option<Signal> {
        self.signal
    }

    /// Returns the time from the signal until the server was asked to close: the lame duck, and the time that
    /// the port took to settle. A lame duck that began before the signal is not included.
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

    /// Returns the time from asking the server to close until new requests were refused and nothing was in flight. While
    /// the server is running, that is not before the end of [`closing`](crate::Shutdown::closing).
    pub fn drained_after(&self) -> Duration {
        self.drained_after
    }

    /// Returns the time from asking the server to close until the server had ended. Zero if it had ended
    /// before. `None` if it had not: connections were still open, with nothing in flight, and were abandoned, because
    /// they had stood still for [`flush`](crate::Shutdown::flush) or the timeout had passed.
    pub fn ended_after(&self) -> Option<Duration> {
        self.ended_after
    }
}

/// Error returned by [`Shutdown::run`](crate::Shutdown::run). The process should exit with a code other
/// than zero.
///
/// `Display` writes one line:
/// `drain timed out: 1 still in flight after 20.0s: GET /export (body, 64.1s)`. `Debug` writes the same, so that
/// a `main` that returns this error prints it for people.
#[non_exhaustive]
pub enum ShutdownError {
    /// The server failed. `run` then waited until nothing was in flight, at most for the timeout.
    Server(BoxError),
    /// The timeout has passed with requests in flight.
    TimedOut(Unfinished),
    /// The shutdown was forced to stop.
    Forced(Unfinished),
    /// Another shutdown of the same drain is running. The server was not started.
    DrainInUse,
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => write!(f, "server failed: {error}"),
            Self::TimedOut(unfinished) => write!(f, "drain timed out: {unfinished}"),
            Self::Forced(unfinished) => write!(f, "forced to stop: {unfinished}"),
            Self::DrainInUse => f.write_str("another shutdown of this drain is running"),
        }
    }
}

impl fmt::Debug for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for ShutdownError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Not the error itself, because `Display` already shows it.
            Self::Server(error) => error.source(),
            Self::TimedOut(_) | Self::Forced(_) | Self::DrainInUse => None,
        }
    }
}

/// Returns the I/O error of a server that failed with one. Wraps any other error.
impl From<ShutdownError> for io::Error {
    fn from(error: ShutdownError) -> Self {
        match error {
            ShutdownError::Server(inner) => match inner.downcast::<Self>() {
                Ok(inner) => *inner,
                Err(inner) => Self::other(ShutdownError::Server(inner)),
            },
            ShutdownError::TimedOut(_) => Self::new(io::ErrorKind::TimedOut, error),
            ShutdownError::DrainInUse => Self::new(io::ErrorKind::ResourceBusy, error),
            ShutdownError::Forced(_) => Self::other(error),
        }
    }
}
