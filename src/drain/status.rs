use std::time::Duration;

use super::{Drain, InFlightRequest, Phase};

/// Snapshot of a drain, for a status page or a log.
///
/// Returned by [`Drain::status`].
///
/// # Examples
///
/// ```
/// let drain = tower_drain::Drain::new();
/// let status = drain.status();
/// let json = format!(
///     r#"{{"phase":"{:?}","in_flight":{},"refused":{}}}"#,
///     status.phase(),
///     status.in_flight(),
///     status.refused(),
/// );
/// assert_eq!(json, r#"{"phase":"Serving","in_flight":0,"refused":0}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainStatus {
    phase: Phase,
    in_flight: usize,
    refused: u64,
    time_left: Option<Duration>,
    #[cfg(feature = "hyper-util")]
    connections: usize,
    oldest: Vec<InFlightRequest>,
}

/// The maximum number of requests in a status, enough for a page.
const MAX_OLDEST: usize = 20;

impl Drain {
    /// Returns a snapshot of the drain, for a status page or a log.
    pub fn status(&self) -> DrainStatus {
        DrainStatus::new(self)
    }
}

impl DrainStatus {
    pub(super) fn new(drain: &Drain) -> Self {
        // The phase first: if it is `Drained`, the count that is read later is zero.
        let phase = drain.phase();
        // On its own, so that the lock is released before the requests are listed.
        let time_left = drain.gate().history().time_left(phase);
        Self {
            phase,
            in_flight: drain.in_flight(),
            refused: drain.refused(),
            time_left,
            #[cfg(feature = "hyper-util")]
            connections: drain.open_connections(),
            oldest: drain.oldest(MAX_OLDEST),
        }
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns the number of permits; see [`Drain::in_flight`].
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the number of refusals; see [`Drain::refused`].
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Returns how much longer the phase can last, or `None` if it has no deadline.
    ///
    /// In a lame duck and while closing, a [`Shutdown`](crate::Shutdown) sets the deadline. While draining,
    /// it is the latest deadline of the waits.
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }

    /// Returns the number of watched connections that are open; see [`Drain::connections`].
    #[cfg(feature = "hyper-util")]
    pub fn connections(&self) -> usize {
        self.connections
    }

    /// Returns the oldest requests in flight, oldest first, at most 20.
    ///
    /// Empty unless a layer [tracks requests](crate::DrainLayer::track_requests).
    pub fn oldest(&self) -> &[InFlightRequest] {
        &self.oldest
    }
}
