use std::error::Error;
use std::fmt;
use std::io;

use crate::drain::{BoxError, Unfinished};

/// Error returned by [`Shutdown::run`](crate::Shutdown::run). The process should exit with a code other
/// than zero.
///
/// `Display` writes one line:
/// `drain timed out: 1 still in flight after 20.0s: GET /export (body, 64.1s)`.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShutdownError {
    /// The server failed. `run` then waited for what was in flight, at most for the timeout.
    Server(BoxError),
    /// The timeout has passed with requests in flight, or, without [`flush`](crate::Shutdown::flush), with a
    /// server that had not ended.
    TimedOut(Unfinished),
    /// The shutdown was forced to stop.
    Forced(Unfinished),
}

impl fmt::Display for ShutdownError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => write!(f, "server failed: {error}"),
            Self::TimedOut(unfinished)
                if unfinished.in_flight() == 0 && unfinished.connections() == 0 =>
            {
                write!(
                    f,
                    "drain timed out: {unfinished}, but the server has not ended: \
                 connections are still open, or it was not given `closing`"
                )
            }
            Self::TimedOut(unfinished) => write!(f, "drain timed out: {unfinished}"),
            Self::Forced(unfinished) => write!(f, "forced to stop: {unfinished}"),
        }
    }
}

impl Error for ShutdownError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Not the error itself, because its words are in this one's.
            Self::Server(error) => error.source(),
            Self::TimedOut(_) | Self::Forced(_) => None,
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
            ShutdownError::Forced(_) => Self::other(error),
        }
    }
}
