//! Events of a drain, with the feature `tracing`. Without it these functions are empty.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use super::{Drain, Unfinished};

pub(super) fn lame_duck(drain: &Drain) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.in_flight(),
        "entering lame duck"
    );
}

pub(super) fn resumed(drain: &Drain) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.in_flight(),
        "serving again"
    );
}

pub(super) fn closing(in_flight: usize) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_drain", in_flight, "closing");
}

pub(super) fn draining(drain: &Drain) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.drain_start().map_or(0, |start| start.in_flight),
        "draining"
    );
}

/// Logs once per drain, in the first waiter that sees it. Not in the task that drops the last permit, which
/// should not have to run a subscriber.
pub(super) fn drained(drain: &Drain) {
    let Some(start) = drain.first_to_see_drained() else {
        return;
    };
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        elapsed = ?start.at.elapsed(),
        in_flight_at_start = start.in_flight,
        refused = drain.refused(),
        "drained"
    );
}

pub(super) fn timed_out(unfinished: &Unfinished) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "tower_drain",
        elapsed = ?unfinished.elapsed(),
        in_flight = unfinished.in_flight(),
        "drain timed out: {unfinished}"
    );
}
