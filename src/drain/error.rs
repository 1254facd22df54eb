use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use super::{Drain, InFlightRequest, OldestRequests};
#[cfg(feature = "tracing")]
use crate::trace::nonzero;

/// A boxed error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Error returned by [`Drain::try_acquire`](crate::Drain::try_acquire): draining has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TryAcquireError;

/// Error returned when a wait ends with work still in flight.
///
/// After [`Drain::drain`](crate::Drain::drain), work in flight continues, new requests are still refused, and
/// you may wait again.
///
/// [`Shutdown::run`](crate::Shutdown::run) counts and names the requests before it
/// [cancels](crate::Drain::cancel) them. If [`in_flight`](Self::in_flight) is zero, only the server had not
/// ended: it still had connections to flush and close. If they are watched, `Display` counts them:
/// `1 connection still open after 3.0s`.
///
/// `Display` writes one line, with the oldest requests if a layer tracks them:
/// `1 still in flight after 3.0s: GET /export (body, 64.1s)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Unfinished {
    in_flight: usize,
    elapsed: Duration,
    connections: usize,
    tracks_requests: bool,
    requests: Vec<InFlightRequest>,
}

// === impl TryAcquireError ===

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("draining has started, nothing new is admitted")
    }
}

impl Error for TryAcquireError {}

// === impl Unfinished ===

impl Unfinished {
    /// Describes a wait that started at `since` and ends now.
    pub(crate) fn new(drain: &Drain, since: Instant) -> Self {
        Self {
            in_flight: drain.in_flight(),
            elapsed: since.elapsed(),
            connections: drain.open_connections(),
            tracks_requests: drain.tracks_requests(),
            requests: drain.requests(),
        }
    }

    /// Logs that `_what` has happened with this still in flight.
    pub(crate) fn log(&self, _what: &str) {
        #[cfg(feature = "tracing")]
        let oldest = (!self.requests.is_empty())
            .then(|| tracing::field::display(OldestRequests(&self.requests)));
        event!(
            warn,
            in_flight = self.in_flight,
            connections = nonzero(self.connections),
            elapsed = ?self.elapsed,
            oldest,
            "{_what}"
        );
    }

    /// Returns the number of permits when the wait ended, including those of requests that waited until the inner
    /// service was ready.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the number of watched connections that were open when the wait ended.
    ///
    /// Zero without the feature `hyper-util`.
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Returns how long the wait took.
    ///
    /// For a [`Shutdown`](crate::Shutdown) this is the time since [`close`](crate::Drain::close), or since
    /// the signal if the shutdown was forced before that.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the requests in flight when the wait ended, oldest first.
    ///
    /// Empty unless a layer [tracks requests](crate::DrainLayer::track_requests). A request that waited until the inner
    /// service was ready has no name, and is not among them.
    pub fn requests(&self) -> &[InFlightRequest] {
        &self.requests
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed;
        match (self.in_flight, self.connections) {
            (0, 0) => return write!(f, "nothing in flight after {elapsed:.1?}"),
            (0, 1) => return write!(f, "1 connection still open after {elapsed:.1?}"),
            (0, open) => return write!(f, "{open} connections still open after {elapsed:.1?}"),
            _ => {}
        }
        write!(f, "{} still in flight after {elapsed:.1?}", self.in_flight)?;
        if self.requests.is_empty() {
            // For example jobs, or upgraded connections.
            let none = if self.tracks_requests {
                ", none of them a tracked request"
            } else {
                ""
            };
            return f.write_str(none);
        }
        write!(f, ": {}", OldestRequests(&self.requests))?;
        let shown = self.requests.len().min(OldestRequests::MAX_SHOWN);
        match self.in_flight.saturating_sub(shown) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// Shows only as many requests as `Display`, because there may be thousands.
impl fmt::Debug for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unfinished")
            .field("in_flight", &self.in_flight)
            .field("elapsed", &self.elapsed)
            .field("connections", &self.connections)
            .field(
                "oldest",
                &format_args!("[{}]", OldestRequests(&self.requests)),
            )
            .finish_non_exhaustive()
    }
}

impl Error for Unfinished {}
