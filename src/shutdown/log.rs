//! Events of a shutdown, with the feature `tracing`. Without it these functions do nothing.
#![cfg_attr(not(feature = "tracing"), allow(unused_variables))]

use std::convert::Infallible;
#[cfg(all(feature = "listener", unix))]
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::outcome::{Expired, ShutdownError, ShutdownReport};
use super::signal::Signal;
use crate::drain::{BoxError, Drain, Unfinished};
#[cfg(feature = "tracing")]
use crate::drain::{InFlightRequest, OldestRequests, Phase};

pub(super) fn started(signal: Option<Signal>) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        signal = signal.map(tracing::field::debug),
        "shutdown started"
    );
}

/// Logs that new connections still arrive while the port settles.
#[cfg(all(feature = "listener", unix))]
pub(super) fn no_filter(error: &io::Error) {
    #[cfg(feature = "tracing")]
    tracing::debug!(target: "tower_drain", %error, "no socket filter: new connections still arrive");
}

/// Logs why a lame duck ends: early, because its conditions hold, or because its maximum has passed.
pub(super) fn lame_duck_ended(early: bool) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        target: "tower_drain",
        "lame duck ended{}",
        if early { " early" } else { ": maximum reached" }
    );
}

pub(super) fn settling(settle: Duration) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_drain", ?settle, "settling the port");
}

/// Logs progress once a second, and never returns. Connections are those that are watched, if any.
pub(super) async fn progress(
    drain: &Drain,
    since: Instant,
    deadline: Option<Instant>,
) -> Infallible {
    #[cfg(feature = "tracing")]
    loop {
        // At whole seconds since `since`.
        let next = Duration::from_secs(since.elapsed().as_secs() + 1);
        tokio::time::sleep_until(since + next).await;
        let oldest = drain.oldest(OldestRequests::MAX_SHOWN);
        tracing::info!(
            target: "tower_drain",
            in_flight = drain.in_flight(),
            connections = Some(drain.open_connections()).filter(|open| *open > 0),
            refused = drain.refused(),
            since_close = ?since.elapsed(),
            time_left = deadline.map(|at| tracing::field::debug(at - Instant::now())),
            oldest = shown(&oldest),
            "still {}",
            match drain.phase() {
                Phase::Closing => "closing",
                // Nothing is in flight, but the server has not ended.
                Phase::Drained => "closing connections",
                _ => "draining",
            },
        );
    }
    #[cfg(not(feature = "tracing"))]
    std::future::pending().await
}

/// Returns `None`, and so no field, if no request is tracked.
#[cfg(feature = "tracing")]
fn shown(oldest: &[InFlightRequest]) -> Option<impl tracing::Value> {
    (!oldest.is_empty()).then(|| tracing::field::display(OldestRequests(oldest)))
}

pub(super) fn server_failed(error: &BoxError) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_drain", "server failed: {error}");
}

pub(super) fn expired(expired: Expired, unfinished: &Unfinished) {
    #[cfg(feature = "tracing")]
    tracing::warn!(
        target: "tower_drain",
        elapsed = ?unfinished.elapsed(),
        in_flight = unfinished.in_flight(),
        "{}: {unfinished}",
        match expired {
            Expired::TimedOut => "drain timed out",
            Expired::Forced => "forced to stop",
        },
    );
}

pub(super) fn finished(outcome: &Result<ShutdownReport, ShutdownError>) {
    // An error was logged when it happened.
    #[cfg(feature = "tracing")]
    if let Ok(report) = outcome {
        if report.server().is_none() {
            tracing::warn!(
                target: "tower_drain",
                "nothing in flight, but connections were still open: abandoned"
            );
        }
        tracing::info!(
            target: "tower_drain",
            lame_duck = ?report.lame_duck(),
            requests = ?report.requests(),
            server = report.server().map(tracing::field::debug),
            in_flight_at_close = report.in_flight_at_close(),
            refused = report.refused(),
            "shutdown finished"
        );
    }
}
