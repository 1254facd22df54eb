//! What the feature `tracing` tells of a drain; without it, nothing and at no cost.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use super::{Drain, TimedOut};

pub(super) fn lame_duck(drain: &Drain) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.in_flight(),
        "lame duck: not ready any more, still serving"
    );
}

pub(super) fn resumed(drain: &Drain) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.in_flight(),
        "serving: ready again"
    );
}

pub(super) fn draining(drain: &Drain) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.started().map_or(0, |started| started.in_flight),
        "draining: newcomers are refused"
    );
}

/// Once for a drain: by the first to see it, and not by the last request to leave, whose task is not
/// to run a subscriber.
pub(super) fn drained(drain: &Drain) {
    let Some(started) = drain.first_to_see_drained() else {
        return;
    };
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        elapsed = ?started.at.elapsed(),
        in_flight_at_start = started.in_flight,
        refused = drain.refused(),
        "drained: nothing is in flight"
    );
}

pub(super) fn timed_out(timed_out: &TimedOut) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "tower_drain",
        elapsed = ?timed_out.elapsed(),
        in_flight = timed_out.in_flight(),
        "{timed_out}"
    );
}
