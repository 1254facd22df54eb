//! What the feature `tracing` tells of a shutdown; without it, nothing and at no cost.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use std::time::Duration;

use tokio::time::Instant;

use super::error::ShutdownError;
use super::trigger::Signal;
#[cfg(feature = "tracing")]
use crate::drain::Names;
use crate::drain::{Drain, Report};

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
        oldest = (!oldest.is_empty()).then(|| tracing::field::display(Names(&oldest))),
        "still draining"
    );
}

pub(super) fn ended<E>(outcome: &Result<Report, ShutdownError<E>>) {
    #[cfg(feature = "tracing")]
    match outcome {
        Ok(report) => tracing::info!(
            target: "tower_drain",
            requests = ?report.elapsed(),
            server = ?report.server_elapsed().unwrap_or_default(),
            "shut down: nothing in flight, and the server has closed"
        ),
        Err(ShutdownError::TimedOut(left)) => tracing::warn!(
            target: "tower_drain",
            elapsed = ?left.elapsed(),
            in_flight = left.in_flight(),
            "{left}"
        ),
        Err(ShutdownError::Forced(left)) => tracing::warn!(
            target: "tower_drain",
            elapsed = ?left.elapsed(),
            in_flight = left.in_flight(),
            oldest = %Names(left.requests()),
            "forced to stop"
        ),
        // No bound on it, so that any will do: whoever gets it has it to tell.
        Err(ShutdownError::Server(_)) => {
            tracing::error!(target: "tower_drain", "the server failed")
        }
    }
}
