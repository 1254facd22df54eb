use std::error::Error;
use std::fmt;

/// The error of [`Drain::try_enter`](crate::Drain::try_enter): draining has started, and nothing
/// new is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("draining has started: nothing new is admitted")
    }
}

impl Error for Closed {}
