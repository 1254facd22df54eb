//! The state that the handles of a drain share, and its methods for other modules of the crate.

use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connections::Connections;
use super::registry::RegistryOwner;
use super::{Drain, InFlightRequest, Phase, Registry};
use crate::gate::{GateOwner, GateRef, lock};

/// State shared by the handles of a drain.
pub(super) struct Shared {
    pub(super) gate: GateOwner,
    pub(super) registry: RegistryOwner,
    pub(super) connections: Connections,
    /// When the current lame duck began. The lock also serializes the changes of phase before draining.
    pub(super) lame_duck_since: Mutex<Option<Instant>>,
    /// How draining started. Makes concurrent callers of `start_draining` wait until all of the gate is
    /// closed.
    pub(super) drain_start: OnceLock<DrainStart>,
    /// How often readiness has failed since the lame duck began.
    pub(super) failed_probes: watch::Sender<u32>,
    /// Set by the first waiter that sees the end of the drain, and logs it.
    pub(super) drained_logged: OnceLock<()>,
    /// The latest deadline of the latest phase that has one.
    pub(super) deadline: Mutex<Option<(Phase, Instant)>>,
}

#[derive(Clone, Copy)]
pub(super) struct DrainStart {
    #[cfg_attr(not(feature = "tracing"), expect(dead_code))]
    pub(super) at: Instant,
    pub(super) in_flight: usize,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self {
            gate: GateOwner::new(),
            registry: RegistryOwner::default(),
            connections: Connections::default(),
            lame_duck_since: Mutex::new(None),
            drain_start: OnceLock::new(),
            failed_probes: watch::Sender::new(0),
            drained_logged: OnceLock::new(),
            deadline: Mutex::new(None),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.gate.release() {
            self.registry.recycle();
        }
    }
}

impl Drain {
    pub(crate) fn gate(&self) -> GateRef {
        self.shared.gate.gate_ref()
    }

    pub(crate) fn registry(&self) -> &'static Registry {
        self.shared.registry.get_or_init()
    }

    pub(crate) fn oldest(&self, limit: usize) -> Vec<InFlightRequest> {
        let registry = self.shared.registry.get();
        registry.map_or_else(Vec::new, |registry| registry.oldest(limit))
    }

    /// Whether a layer has asked for tracking.
    pub(super) fn tracks_requests(&self) -> bool {
        self.shared.registry.get().is_some()
    }

    /// Makes the current or any later lame duck final, because a shutdown has started.
    pub(crate) fn commit(&self) {
        self.shared.gate.commit();
    }

    /// Returns how often readiness has failed since the lame duck began.
    pub(crate) fn failed_probes(&self) -> watch::Receiver<u32> {
        self.shared.failed_probes.subscribe()
    }

    /// Returns when the lame duck began. `None` before it.
    pub(crate) fn lame_duck_since(&self) -> Option<Instant> {
        *lock(&self.shared.lame_duck_since)
    }

    /// Returns when a request last arrived in the lame duck, or else when it began. `None` before it.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        let since = self.lame_duck_since()?;
        Some(
            self.shared
                .gate
                .last_arrival()
                .map_or(since, |last| last.max(since)),
        )
    }

    /// Records a deadline of `phase`. `None` has no effect.
    pub(crate) fn set_deadline(&self, phase: Phase, at: Option<Instant>) {
        if let Some(at) = at {
            let mut deadline = lock(&self.shared.deadline);
            // A later phase takes precedence, and in the same phase the later deadline.
            *deadline = (*deadline).max(Some((phase, at)));
        }
    }

    /// Announces the end of the lame duck. `None` has no effect.
    pub(crate) fn announce_lame_duck_end(&self, at: Option<Instant>) {
        self.set_deadline(Phase::LameDuck, at);
        if let Some(at) = at {
            self.shared.connections.announce_lame_duck_end(at);
        }
    }

    /// Returns the number of watched connections that are open.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.connections.len()
    }

    /// Closes the watched connections that are open, and returns how many this call closed.
    pub(crate) fn close_open_connections(&self) -> usize {
        self.shared.connections.close()
    }

    /// Waits until no watched connection is open.
    pub(crate) async fn no_connection_open(&self) {
        self.shared.connections.none_open().await;
    }

    pub(super) fn remaining_time(&self, phase: Phase) -> Option<Duration> {
        let (bounded, at) = (*lock(&self.shared.deadline))?;
        (bounded == phase).then(|| at.saturating_duration_since(Instant::now()))
    }

    /// Returns how draining started. `None` before it.
    pub(super) fn drain_start(&self) -> Option<DrainStart> {
        self.shared.drain_start.get().copied()
    }

    /// Returns how draining started, but only to the first caller. Call it once the drain has finished.
    pub(super) fn first_to_see_drained(&self) -> Option<DrainStart> {
        self.drain_start()
            .filter(|_| self.shared.drained_logged.set(()).is_ok())
    }
}
