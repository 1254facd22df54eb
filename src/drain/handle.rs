use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::shared::{DrainStart, Shared};
use super::{Phase, TryAcquireError, log};
use crate::gate::{Admission, Permit, lock};

/// A handle to a drain, which changes its phase, observes it and waits for it.
///
/// Cloning is cheap and gives another handle of the same drain. Handles may be used by any number of
/// tasks and threads at once, inside or outside a runtime.
///
/// Only [`Permit`]s keep a drain from finishing; handles, layers and services do not. If the last handle of a
/// drain is dropped before draining starts, it never starts, and the services continue to serve and count. A
/// [`DrainLayer`], a [`Readiness`], a [`Shutdown`](crate::Shutdown) and the futures of a drain hold a handle, a
/// [`DrainService`] does not.
///
/// A program that makes many drains, such as one per tenant, should drain each before it drops the last handle:
/// later drains then reuse its memory. Otherwise the memory is leaked: 320 bytes with 2 cores, 8,256 with 64,
/// and that of tracked requests.
///
/// [`DrainLayer`]: crate::DrainLayer
/// [`DrainService`]: crate::DrainService
/// [`Readiness`]: crate::Readiness
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_drain::{Drain, Phase};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drain = Drain::new();
/// let job = drain.try_acquire()?;
///
/// let wait = drain.drain(Duration::from_secs(30));
/// assert_eq!(drain.phase(), Phase::Draining);
/// assert!(drain.try_acquire().is_err());
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
    pub(super) shared: Arc<Shared>,
}

impl Drain {
    /// Creates a drain in [`Phase::Serving`].
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared::new()),
        }
    }

    /// Returns the current phase.
    pub fn phase(&self) -> Phase {
        let state = self.shared.gate.state();
        if state.is_closed() {
            if state.is_idle() {
                Phase::Drained
            } else {
                Phase::Draining
            }
        } else if state.is_closing() {
            Phase::Closing
        } else if state.is_lame_duck() {
            Phase::LameDuck
        } else {
            Phase::Serving
        }
    }

    /// Returns whether the server should get new traffic: the phase is [`Phase::Serving`].
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// Returns the number of permits, clones included: requests in flight, and work that called
    /// [`try_acquire`](Self::try_acquire).
    ///
    /// While requests come and go, this is a snapshot. Once [`Phase::Drained`] is reached, it stays zero.
    pub fn in_flight(&self) -> usize {
        self.shared.gate.in_flight()
    }

    /// Returns the number of refusals since [`new`](Self::new): requests that the layer refused, and calls
    /// of [`try_acquire`](Self::try_acquire) that failed.
    pub fn refused(&self) -> u64 {
        self.shared.gate.refused()
    }

    /// Acquires a [`Permit`] for work that is not an HTTP request, such as a job from a queue or an
    /// upgraded connection.
    ///
    /// The drain waits until the permit and all its clones are dropped. Permits are available until draining
    /// starts. A loop that takes jobs from a queue outside of the process should stop earlier, on
    /// [`closing`](Self::closing). If handlers fill the queue, jobs may be in it then: send a permit with each
    /// job instead ([`DrainLayer::share_permit`](crate::DrainLayer::share_permit)), and let the loop run.
    ///
    /// # Errors
    ///
    /// Returns an error once draining has started.
    ///
    /// # Examples
    ///
    /// ```
    /// # use tower_drain::Drain;
    /// # async fn example(drain: Drain, mut jobs: tokio::sync::mpsc::Receiver<u32>) {
    /// let mut closing = std::pin::pin!(drain.closing());
    /// // Acquire the permit first, so that no job is taken without one.
    /// while let Ok(permit) = drain.try_acquire() {
    ///     let job = tokio::select! {
    ///         biased;
    ///         () = &mut closing => break,
    ///         job = jobs.recv() => job,
    ///     };
    ///     let Some(job) = job else { break };
    ///     tokio::spawn(async move {
    ///         println!("job {job}");
    ///         drop(permit);
    ///     });
    /// }
    /// # }
    /// ```
    pub fn try_acquire(&self) -> Result<Permit, TryAcquireError> {
        match self.gate().enter() {
            // Not recorded as an arrival: a job does not show that a load balancer still sends requests.
            Admission::Admitted(permit) | Admission::AdmittedInLameDuck(permit) => Ok(permit),
            Admission::Refused => {
                self.gate().count_refusal();
                Err(TryAcquireError)
            }
        }
    }

    /// Enters the lame duck: readiness fails and HTTP/1 responses carry `Connection: close`, while every
    /// request is served.
    ///
    /// Returns true if this call made the change, false in any phase but [`Phase::Serving`].
    pub fn lame_duck(&self) -> bool {
        let mut since = lock(&self.shared.lame_duck_since);
        let changed = self.phase() == Phase::Serving && {
            // Before the change, so that no failed probe is lost.
            self.shared.failed_probes.send_replace(0);
            self.shared.gate.set_lame_duck(true)
        };
        if changed {
            *since = Some(Instant::now());
        }
        drop(since);
        self.notify_if(changed, log::lame_duck)
    }

    /// Leaves the lame duck and becomes ready again.
    ///
    /// Returns true if this call made the change. Returns false in any phase but [`Phase::LameDuck`], and
    /// once a [`Shutdown`](crate::Shutdown) has started.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_drain::{Drain, Phase};
    ///
    /// let drain = Drain::new();
    /// assert!(drain.lame_duck());
    /// assert!(!drain.is_ready());
    /// assert!(drain.resume());
    /// assert_eq!(drain.phase(), Phase::Serving);
    /// ```
    pub fn resume(&self) -> bool {
        let mut since = lock(&self.shared.lame_duck_since);
        let changed = self.shared.gate.set_lame_duck(false);
        if changed {
            *since = None;
        }
        drop(since);
        self.notify_if(changed, log::resumed)
    }

    /// Tells the server to close: [`closing`](Self::closing) resolves, readiness fails, and HTTP/1 responses
    /// carry `Connection: close`. Requests that still arrive on open connections are served until
    /// [`start_draining`](Self::start_draining).
    ///
    /// An HTTP/2 client learns one round trip late that the server is leaving, and sends requests until then.
    /// So wait until the server has ended, or for longer than a round trip, before you start draining.
    ///
    /// Returns true if this call made the change, false if the drain is closing or draining already.
    ///
    /// # Examples
    ///
    /// Without a [`Shutdown`](crate::Shutdown), which does this and more:
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use axum::Router;
    /// # use tokio::net::TcpListener;
    /// use std::future::IntoFuture;
    ///
    /// use tokio::time::{Instant, timeout, timeout_at};
    /// # use tower_drain::Drain;
    /// # async fn example(drain: Drain, app: Router, listener: TcpListener)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let server = axum::serve(listener, app).with_graceful_shutdown(drain.closing());
    /// let mut server = tokio::spawn(server.into_future());
    /// tokio::select! {
    ///     ended = &mut server => return Ok(ended??), // it has failed
    ///     signal = tokio::signal::ctrl_c() => signal?,
    /// }
    ///
    /// let deadline = Instant::now() + Duration::from_secs(30);
    /// drain.close();
    /// // Requests are served until the server has ended, or for one second.
    /// let ended = timeout(Duration::from_secs(1), &mut server).await;
    /// // No request is left, ...
    /// drain.drain_until(deadline).await?;
    /// // ... and all bytes are sent.
    /// let ended = match ended {
    ///     Ok(ended) => ended,
    ///     Err(_) => timeout_at(deadline, server).await?,
    /// };
    /// ended??; // the task, and the server
    /// # Ok(())
    /// # }
    /// ```
    pub fn close(&self) -> bool {
        let turn = lock(&self.shared.lame_duck_since);
        // Counted before the waiters are woken, because their requests may end at once.
        let in_flight = self.in_flight();
        let changed = self.shared.gate.start_closing();
        drop(turn);
        if changed {
            self.shared.connections.wake();
        }
        self.notify_if(changed, |_| log::closing(in_flight))
    }

    /// Starts draining: new requests are refused from now on. This cannot be undone.
    ///
    /// Once it returns, [`drained`](Self::drained) waits for every request that was admitted, even if a
    /// concurrent call made the change. [`closing`](Self::closing) resolves too.
    ///
    /// Returns true if this call made the change.
    ///
    /// # Examples
    ///
    /// ```
    /// # let drain = tower_drain::Drain::new();
    /// assert!(drain.start_draining());
    /// assert!(drain.try_acquire().is_err());
    /// assert!(!drain.start_draining(), "it has started before");
    /// ```
    pub fn start_draining(&self) -> bool {
        let was_closing = self.phase() >= Phase::Closing;
        let mut changed = false;
        self.shared.drain_start.get_or_init(|| {
            changed = true;
            let in_flight = self.shared.gate.close();
            let at = Instant::now();
            DrainStart { at, in_flight }
        });
        // Outside of the cell: a waker may run any code, even another `start_draining`.
        if changed && !was_closing {
            self.shared.connections.wake();
        }
        self.notify_if(changed, log::draining)
    }

    /// Counts a failed readiness probe, for [`Shutdown::min_failed_probes`].
    ///
    /// [`readiness`](Self::readiness) does this for each 503. Call it if you answer readiness probes in
    /// another way. Only calls since the lame duck began count.
    ///
    /// [`Shutdown::min_failed_probes`]: crate::Shutdown::min_failed_probes
    ///
    /// # Examples
    ///
    /// ```
    /// # let drain = tower_drain::Drain::new();
    /// // In the handler of a health check of your own:
    /// if !drain.is_ready() {
    ///     drain.record_failed_probe();
    /// }
    /// ```
    pub fn record_failed_probe(&self) {
        self.shared
            .failed_probes
            .send_modify(|probes| *probes = probes.saturating_add(1));
    }

    fn notify_if(&self, changed: bool, log: impl FnOnce(&Self)) -> bool {
        if changed {
            self.shared.gate.notify();
            log(self);
        }
        changed
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
