use std::time::Duration;

use super::{Drain, InFlightRequest, Phase};

/// How a drain stood when somebody looked: what a status page shows, in plain values to be written in
/// whatever format it is wanted.
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
pub struct Status {
    phase: Phase,
    in_flight: usize,
    refused: u64,
    time_left: Option<Duration>,
    oldest: Vec<InFlightRequest>,
}

/// Enough for a page to show.
const OLDEST: usize = 20;

impl Status {
    pub(super) fn of(drain: &Drain) -> Self {
        // The phase first: it only goes on, so that none in flight is what a later look finds too.
        let phase = drain.phase();
        Self {
            phase,
            in_flight: drain.in_flight(),
            refused: drain.refused(),
            time_left: drain.time_left(phase),
            oldest: drain.oldest(OLDEST),
        }
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// How many permits lived, as [`Drain::in_flight`] has it.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many newcomers had been turned away, as [`Drain::refused`] has it.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How long the phase can last: while draining, until the latest deadline of those that wait; as a
    /// lame duck, until a [`Shutdown`](crate::Shutdown) ends it. `None` if nothing bounds it.
    pub fn time_left(&self) -> Option<Duration> {
        self.time_left
    }

    /// The oldest requests in flight, oldest first, 20 at the most; if the layer
    /// [tracks](crate::DrainLayer::track_requests) them.
    pub fn oldest(&self) -> &[InFlightRequest] {
        &self.oldest
    }
}
