//! What the feature `tracing` tells of a shutdown; without it, nothing and at no cost.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use std::time::Duration;

use tokio::time::Instant;

use super::error::ShutdownError;
use super::trigger::Signal;
use crate::drain::{Drain, Report, TimedOut};
#[cfg(feature = "tracing")]
use crate::drain::{InFlightRequest, Names};

/// How often progress is told while draining, if it is.
pub(super) const PROGRESS: Option<Duration> = if cfg!(feature = "tracing") {
    Some(Duration::from_secs(1))
} else {
    None
};

pub(super) fn signalled(signal: Signal) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_drain", ?signal, "shutdown");
}

pub(super) fn progress(drain: &Drain, since: Instant, deadline: Option<Instant>) {
    #[cfg(feature = "tracing")]
    let oldest = drain.oldest(Names::MOST);
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        in_flight = drain.in_flight(),
        refused = drain.refused(),
        elapsed = ?since.elapsed(),
        time_left = deadline.map(|at| tracing::field::debug(at - Instant::now())),
        oldest = named(&oldest),
        "still draining"
    );
}

/// No field at all when nothing is tracked.
#[cfg(feature = "tracing")]
fn named(oldest: &[InFlightRequest]) -> Option<impl tracing::Value> {
    (!oldest.is_empty()).then(|| tracing::field::display(Names(oldest)))
}

/// The time is up, or somebody forced it; before anything is cancelled.
pub(super) fn late(left: &TimedOut, forced: bool) {
    #[cfg(feature = "tracing")]
    if forced {
        tracing::warn!(
            target: "tower_drain",
            elapsed = ?left.elapsed(),
            in_flight = left.in_flight(),
            oldest = named(left.requests()),
            "forced to stop"
        );
    } else {
        left.tell();
    }
}

pub(super) fn over<E>(outcome: &Result<Report, ShutdownError<E>>) {
    #[cfg(feature = "tracing")]
    match outcome {
        Ok(report) => tracing::info!(
            target: "tower_drain",
            requests = ?report.elapsed(),
            server = ?report.server_elapsed().unwrap_or_default(),
            "shut down: nothing in flight, and the server has closed"
        ),
        // No bound on it, so that any will do: whoever gets it has it to tell.
        Err(ShutdownError::Server(_)) => {
            tracing::error!(target: "tower_drain", "the server failed");
        }
        // Told when it was so.
        Err(ShutdownError::TimedOut(_) | ShutdownError::Forced(_)) => {}
    }
}
