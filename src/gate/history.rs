//! What has happened to a drain: changes of phase, failed probes, deadlines. Requests do not use it.

use std::time::Duration;

use tokio::time::Instant;

use super::word::Phase;

#[derive(Default)]
pub(crate) struct History {
    /// When the current lame duck began.
    pub(crate) lame_duck_since: Option<Instant>,
    /// How often readiness has failed since it began.
    pub(crate) failed_probes: u32,
    /// Whether a shutdown has started, so that a lame duck can no longer be left.
    pub(crate) is_committed: bool,
    /// Whether a shutdown runs.
    pub(crate) is_running: bool,
    /// How draining started.
    pub(crate) draining: Option<Draining>,
    /// Whether the end of draining has been logged.
    pub(crate) drained_logged: bool,
    /// The latest deadline of the latest phase that has one.
    deadline: Option<(Phase, Instant)>,
}

#[derive(Clone, Copy)]
pub(crate) struct Draining {
    #[cfg_attr(not(feature = "tracing"), expect(dead_code))]
    pub(crate) since: Instant,
    pub(crate) in_flight_at_start: usize,
}

impl History {
    /// Records a deadline of `phase`. `None` has no effect.
    pub(crate) fn set_deadline(&mut self, phase: Phase, at: Option<Instant>) {
        let deadline = at.map(|at| (phase, at));
        // A later phase takes precedence, and in the same phase the later deadline.
        self.deadline = self.deadline.max(deadline);
    }

    /// A shutdown has ended or was dropped: its deadlines before draining no longer count.
    pub(crate) fn shutdown_dropped(&mut self) {
        self.is_running = false;
        self.deadline = self.deadline.filter(|(phase, _)| *phase >= Phase::Draining);
    }

    /// Returns how much longer `phase` can last, if it has a deadline.
    pub(crate) fn time_left(&self, phase: Phase) -> Option<Duration> {
        let (bounded, at) = self.deadline?;
        (bounded == phase).then(|| at.saturating_duration_since(Instant::now()))
    }
}
