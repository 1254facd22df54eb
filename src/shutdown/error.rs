use std::error::Error;
use std::fmt;

use crate::drain::TimedOut;

/// How a [`Shutdown`](crate::Shutdown) ended that did not end well. A process should then exit with
/// a code other than zero.
#[derive(Debug)]
pub enum ShutdownError<E> {
    /// The server failed, with an error of its own. The requests that it had in flight were waited
    /// for all the same.
    Server(E),
    /// The time was up. [`TimedOut`] says what was late: requests, or the server.
    TimedOut(TimedOut),
    /// A second signal ended the wait. What was in flight by then is in the [`TimedOut`].
    Forced(TimedOut),
}

impl<E: fmt::Display> fmt::Display for ShutdownError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => write!(f, "server failed: {error}"),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::Forced(left) => {
                write!(f, "forced to stop after {:.1?}: ", left.elapsed())?;
                left.fmt_left(f)
            }
        }
    }
}

impl<E: Error> Error for ShutdownError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Not the error itself, whose words are in this one's already.
            Self::Server(error) => error.source(),
            Self::TimedOut(_) | Self::Forced(_) => None,
        }
    }
}
