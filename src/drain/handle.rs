use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{Closed, DrainWait, InFlightRequest, Phase, Reached, Status, events, tracker};
use crate::gate::{Admission, Entrance, Lease, Permit};

/// The handle of a drain: starts it, watches it, waits for it.
///
/// A clone is a second handle of the same drain. Clones are cheap, and any number of tasks and
/// threads may use them at once; every method may be called inside or outside a runtime.
///
/// Handles, layers and services do not keep a drain from finishing; only [`Permit`]s do. If the
/// last handle of a drain that was never started is dropped (a [`DrainLayer`] counts as one, a
/// service made from it does not), nobody can start it any more: its services then serve for ever
/// as if the layer were not there.
///
/// [`DrainLayer`]: crate::DrainLayer
///
/// ```
/// use std::time::Duration;
/// use tower_drain::{Drain, Phase};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drain = Drain::new();
/// let job = drain.try_enter()?;
///
/// let wait = drain.drain(Duration::from_secs(30));
/// assert_eq!(drain.phase(), Phase::Draining);
/// assert!(drain.try_enter().is_err());
///
/// tokio::spawn(async move {
///     // ... the job ends ...
///     drop(job);
/// });
/// let report = wait.await?;
/// assert_eq!(report.in_flight_at_start(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Drain {
    shared: Arc<Shared>,
}

struct Shared {
    lease: Lease,
    /// How draining started. Also what makes a second caller of `start` wait until the first has
    /// closed all of the gate.
    started: OnceLock<Started>,
    /// How often readiness has failed since the lame duck began.
    probes: watch::Sender<u32>,
    /// Set by the first to see that all have left, who tells it.
    drained_told: OnceLock<()>,
    /// The latest end of a phase that anyone has set, for those who want to know how long it can last.
    ends: Mutex<Option<(Phase, Instant)>>,
}

#[derive(Clone, Copy)]
pub(super) struct Started {
    #[cfg_attr(not(feature = "tracing"), expect(dead_code))]
    pub(super) at: Instant,
    pub(super) in_flight: usize,
}

impl Drain {
    /// A drain of its own, in [`Phase::Serving`].
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                lease: Lease::new(),
                started: OnceLock::new(),
                probes: watch::Sender::new(0),
                drained_told: OnceLock::new(),
                ends: Mutex::new(None),
            }),
        }
    }

    /// The phase at this moment.
    pub fn phase(&self) -> Phase {
        let status = self.shared.lease.status();
        match (status.is_closed(), status.is_idle(), status.has_notice()) {
            (true, true, _) => Phase::Drained,
            (true, false, _) => Phase::Draining,
            (false, _, true) => Phase::LameDuck,
            (false, _, false) => Phase::Serving,
        }
    }

    /// Whether new traffic is welcome: the phase is [`Phase::Serving`].
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// How many permits live, clones included: requests in flight, and work that entered by
    /// [`try_enter`](Self::try_enter).
    ///
    /// While requests come and go it is a snapshot that may be out of date when you read it. Once
    /// [`Phase::Drained`] is reached it is zero, and stays so.
    pub fn in_flight(&self) -> usize {
        self.shared.lease.in_flight()
    }

    /// How many newcomers have been turned away since [`new`](Self::new): requests that were
    /// answered with the refusal, and [`try_enter`](Self::try_enter)s that failed.
    pub fn refused(&self) -> u64 {
        self.shared.lease.refused()
    }

    /// Enters work that is no HTTP request, such as a job from a queue or an upgraded connection:
    /// the drain waits for it until the [`Permit`] and all its clones are dropped.
    ///
    /// # Errors
    ///
    /// [`Closed`] once draining has started.
    pub fn try_enter(&self) -> Result<Permit, Closed> {
        match self.entrance().enter() {
            // A job is no sign that a balancer still sends requests here, so its arrival is not noted.
            Admission::Admitted(permit) | Admission::Noticed(permit) => Ok(permit),
            // `Unattended` takes the drop of the last handle, and here is one.
            Admission::Refused | Admission::Unattended => Err(Closed),
        }
    }

    /// Announces that this server will leave, and goes on serving: readiness fails, and HTTP/1
    /// responses carry `Connection: close`.
    ///
    /// Returns true if this call made the change; false in any phase but [`Phase::Serving`].
    pub fn lame_duck(&self) -> bool {
        let changed = self.announced(self.shared.lease.set_notice(true));
        if changed {
            self.shared.probes.send_replace(0);
            events::lame_duck(self);
        }
        changed
    }

    /// Takes [`lame_duck`](Self::lame_duck) back.
    ///
    /// Returns true if this call made the change; false in any phase but [`Phase::LameDuck`].
    pub fn resume(&self) -> bool {
        let changed = self.announced(self.shared.lease.set_notice(false));
        if changed {
            events::resumed(self);
        }
        changed
    }

    /// Starts draining: from now on newcomers are refused. There is no way back.
    ///
    /// When it returns, whether this call or another made the change, no request is admitted any
    /// more that [`drained`](Self::drained) does not wait for.
    ///
    /// Returns true if this call made the change.
    pub fn start(&self) -> bool {
        let mut made = false;
        self.shared.started.get_or_init(|| {
            made = true;
            let in_flight = self.shared.lease.close();
            let at = Instant::now();
            Started { at, in_flight }
        });
        // Outside of the cell: a waker may run anything, another `start` too.
        self.announced(made);
        if made {
            events::draining(self);
        }
        made
    }

    /// A future that resolves once `phase` or a later one is reached.
    ///
    /// Any number may wait, and they may be created before or after. A lame duck that is
    /// [taken back](Self::resume) before the future is polled is not seen by it; the later phases
    /// are final and never missed.
    pub fn reached(&self, phase: Phase) -> Reached {
        Reached::new(self.clone(), phase)
    }

    /// A future that resolves once draining has started. Hand it to the server's own graceful
    /// shutdown, which closes the port and the idle connections:
    /// `axum::serve(..).with_graceful_shutdown(drain.draining())`.
    pub fn draining(&self) -> Reached {
        self.reached(Phase::Draining)
    }

    /// A future that resolves once draining has started and nothing is in flight. It starts
    /// nothing and has no deadline; for both see [`drain`](Self::drain).
    pub fn drained(&self) -> Reached {
        self.reached(Phase::Drained)
    }

    /// [Starts](Self::start) draining, now and not when first polled, and waits until nothing is in
    /// flight, but `timeout` at the most, from now.
    ///
    /// To drop the wait reopens nothing. Several waits may run, each with its own deadline. A
    /// `timeout` of zero asks whether anything is in flight; one too long for the clock (such as
    /// `Duration::MAX`) means no deadline.
    ///
    /// # Errors
    ///
    /// The future's output is [`TimedOut`](crate::TimedOut) if something is in flight at the
    /// deadline.
    ///
    /// # Panics
    ///
    /// This call never does. The future, if it has to wait, panics when polled outside a tokio
    /// runtime with its timer enabled.
    pub fn drain(&self, timeout: Duration) -> DrainWait {
        let now = Instant::now();
        self.wait(now, now.checked_add(timeout))
    }

    /// As [`drain`](Self::drain), with an absolute deadline on the monotonic clock. One that has
    /// passed already is like a timeout of zero.
    ///
    /// # Errors
    ///
    /// As of [`drain`](Self::drain).
    ///
    /// # Panics
    ///
    /// As of [`drain`](Self::drain).
    pub fn drain_until(&self, deadline: Instant) -> DrainWait {
        self.wait(Instant::now(), Some(deadline))
    }

    fn wait(&self, now: Instant, deadline: Option<Instant>) -> DrainWait {
        self.start();
        self.set_end(Phase::Draining, deadline);
        DrainWait::new(self.drained(), now, deadline)
    }

    /// The requests in flight by name, oldest first: those of layers that
    /// [track](crate::DrainLayer::track_requests) them, and an empty list if none does.
    ///
    /// It takes time with their number, milliseconds for 100,000, and delays a request that comes or
    /// goes meanwhile by its part of that.
    pub fn requests(&self) -> Vec<InFlightRequest> {
        tracker::requests(self.entrance())
    }

    /// Ends the requests in flight that a layer [tracks](crate::DrainLayer::track_requests), in any
    /// phase, and returns how many: each of them once, for a second call finds them cancelled.
    ///
    /// A handler that still runs is dropped, and its client gets the default refusal: 503, or gRPC's
    /// status 14. A body that is still being sent ends with an error, so that it never looks complete:
    /// without a last chunk on HTTP/1, by a reset on HTTP/2; a gRPC response ends with trailers that
    /// carry status 14.
    ///
    /// It happens when the request's task runs next, for which it is woken, and not in this call: wait
    /// for [`drained`](Self::drained) afterwards. It reaches no handler that blocks its thread, no work
    /// that was spawned, no upgraded connection, and no body that hyper does not ask for more: because
    /// it has the last of it, or because the client does not read what has been sent already. These
    /// are for whoever closes connections, or ends the process.
    ///
    /// It starts nothing: newcomers are admitted or refused as before.
    pub fn cancel(&self) -> usize {
        tracker::cancel(self.entrance())
    }

    /// How it stands, in one snapshot for a status page or a log.
    pub fn status(&self) -> Status {
        Status::of(self)
    }

    /// The oldest of the [`requests`](Self::requests).
    pub(crate) fn oldest(&self, most: usize) -> Vec<InFlightRequest> {
        tracker::oldest(self.entrance(), most)
    }

    /// Notes when `phase` ends at the latest; `None` bounds nothing.
    pub(crate) fn set_end(&self, phase: Phase, at: Option<Instant>) {
        if let Some(at) = at {
            let mut ends = self.ends();
            // A later phase goes before, and of the same one the later end.
            *ends = (*ends).max(Some((phase, at)));
        }
    }

    pub(super) fn time_left(&self, phase: Phase) -> Option<Duration> {
        let (bounded, at) = (*self.ends())?;
        (bounded == phase).then(|| at.saturating_duration_since(Instant::now()))
    }

    fn ends(&self) -> std::sync::MutexGuard<'_, Option<(Phase, Instant)>> {
        self.shared
            .ends
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn announced(&self, changed: bool) -> bool {
        if changed {
            self.shared.lease.announce();
        }
        changed
    }

    pub(crate) fn entrance(&self) -> Entrance {
        self.shared.lease.entrance()
    }

    /// Notes that readiness has been answered with 503.
    pub(crate) fn note_probe(&self) {
        self.shared.probes.send_modify(|probes| *probes += 1);
    }

    /// How often readiness has been answered with 503, since the lame duck began.
    pub(crate) fn probes(&self) -> watch::Receiver<u32> {
        self.shared.probes.subscribe()
    }

    /// Since when no request has come, as a lame duck. `None` before that.
    pub(crate) fn quiet_since(&self) -> Option<Instant> {
        self.shared.lease.quiet_since()
    }

    /// `None` before draining has started.
    pub(super) fn started(&self) -> Option<Started> {
        self.shared.started.get().copied()
    }

    /// How draining started, for the first who asks after it has ended.
    pub(super) fn first_to_see_drained(&self) -> Option<Started> {
        self.started()
            .filter(|_| self.shared.drained_told.set(()).is_ok())
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("phase", &self.phase())
            .field("in_flight", &self.in_flight())
            .field("refused", &self.refused())
            .finish()
    }
}
