//! The handle of a drain: reads its state and changes its phase.

use std::fmt;
use std::sync::Arc;

use tokio::time::Instant;

use super::connections::Connections;
use super::registry::RegistryOwner;
use super::{Phase, TryAcquireError};
use crate::gate::{Draining, GateRef, Permit};

/// Handle to a drain: changes its phase, observes it, and waits for the work in flight.
///
/// Cloning is cheap and gives another handle of the same drain. Handles may be used by any number of
/// tasks and threads at once, inside or outside a runtime.
///
/// Only [`Permit`]s keep a drain from finishing; handles, layers and services do not. If all handles are dropped
/// before draining starts, draining can no longer start; services keep serving and counting. A [`DrainLayer`], a
/// [`Readiness`], a [`Shutdown`](crate::Shutdown), a [`DrainWait`](crate::DrainWait) and a watched connection hold a handle. A
/// [`DrainService`], a [`Reached`](crate::Reached) and a [`Goodbye`](crate::Goodbye) do not.
///
/// A program that makes many drains, such as one per tenant, should drain each before it drops the last handle:
/// later drains then reuse its memory. Otherwise the memory is leaked: 512 bytes with 2 cores, 8,448 with 64,
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

/// What the handles of a drain share.
pub(super) struct Shared {
    pub(super) gate: GateRef,
    pub(super) registry: RegistryOwner,
    pub(super) connections: Connections,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Services of a drained gate no longer write to the registry.
        if self.gate.recycle() {
            self.registry.recycle();
        }
    }
}

impl Drain {
    /// Creates a drain in [`Phase::Serving`].
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                gate: GateRef::open(),
                registry: RegistryOwner::default(),
                connections: Connections::default(),
            }),
        }
    }

    pub(crate) fn gate(&self) -> GateRef {
        self.shared.gate
    }

    /// Returns the current phase.
    pub fn phase(&self) -> Phase {
        self.gate().phase()
    }

    /// Returns whether the server should get new traffic: the phase is [`Phase::Serving`].
    pub fn is_ready(&self) -> bool {
        self.phase() == Phase::Serving
    }

    /// Returns the number of permits, including clones: one per request in flight, plus those from
    /// [`try_acquire`](Self::try_acquire).
    ///
    /// A request that waits until the inner service is ready is in flight too. While requests come and go, this is a
    /// snapshot. Once [`Phase::Drained`] is reached, it stays zero.
    pub fn in_flight(&self) -> usize {
        self.gate().in_flight()
    }

    /// Returns the number of refusals since [`new`](Self::new): requests that the layer refused, and calls
    /// of [`try_acquire`](Self::try_acquire) that failed.
    pub fn refused(&self) -> u64 {
        self.gate().refused()
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
        let count = self.gate().try_acquire().ok_or(TryAcquireError)?;
        Ok(Permit::new(count, None))
    }

    /// Enters the lame duck: readiness fails and HTTP/1 responses carry `Connection: close`, while every
    /// request is served.
    ///
    /// Returns true if this call made the change, false in any phase but [`Phase::Serving`].
    pub fn lame_duck(&self) -> bool {
        let has_begun = self.begin_lame_duck();
        if has_begun {
            event!(info, in_flight = self.in_flight(), "entering lame duck");
        }
        has_begun
    }

    /// Like [`lame_duck`](Self::lame_duck), but logs nothing: no lame duck was asked for, and a port settles.
    pub(crate) fn begin_lame_duck(&self) -> bool {
        let mut history = self.gate().history();
        if self.phase() != Phase::Serving {
            return false;
        }
        // Before the change, so that no failed probe is lost.
        history.lame_duck_since = Some(Instant::now());
        history.failed_probes = 0;
        self.gate().set_phase(&mut history, Phase::LameDuck);
        drop(history);
        self.gate().wake(Phase::Serving, Phase::LameDuck);
        true
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
        let mut history = self.gate().history();
        if self.phase() != Phase::LameDuck || history.is_committed {
            return false;
        }
        history.lame_duck_since = None;
        self.gate().set_phase(&mut history, Phase::Serving);
        drop(history);
        event!(info, in_flight = self.in_flight(), "serving again");
        true
    }

    /// Asks the server to close: [`closing`](Self::closing) resolves, readiness fails, and HTTP/1 responses
    /// carry `Connection: close`. Requests that still arrive on open connections are served until
    /// [`start_draining`](Self::start_draining).
    ///
    /// An HTTP/2 client learns one round trip late that the server is leaving, and sends requests until then.
    /// So wait until the server has ended, or for some seconds, before you start draining.
    ///
    /// All [goodbyes](Self::goodbye) that are left are said before it returns. A [`Shutdown`](crate::Shutdown) says some at
    /// a time.
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
        let is_closing = self.begin_closing();
        if is_closing {
            self.gate().say_all_goodbyes();
        }
        is_closing
    }

    /// Like [`close`](Self::close), but leaves the goodbyes to the caller, who says some at a time.
    pub(crate) fn begin_closing(&self) -> bool {
        let mut history = self.gate().history();
        let before = self.phase();
        if before >= Phase::Closing {
            return false;
        }
        history.is_committed = true;
        // Counted before the waiters are woken, because their requests may end at once.
        let _in_flight = self.in_flight();
        self.gate().set_phase(&mut history, Phase::Closing);
        drop(history);
        self.gate().wake(before, Phase::Closing);
        event!(info, in_flight = _in_flight, "closing");
        true
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
        let is_draining = self.begin_draining();
        if is_draining {
            self.gate().say_all_goodbyes();
        }
        is_draining
    }

    /// Like [`start_draining`](Self::start_draining), but leaves the goodbyes to the caller.
    pub(crate) fn begin_draining(&self) -> bool {
        let mut history = self.gate().history();
        if history.draining.is_some() {
            return false;
        }
        let before = self.phase();
        let in_flight_at_start = self.gate().start_draining(&mut history);
        history.draining = Some(Draining {
            since: Instant::now(),
            in_flight_at_start,
        });
        drop(history);
        // Connections that wait for closing are woken once more: they need not wait for a first request any longer.
        // `Drained`, because nothing may be in flight.
        self.gate()
            .wake(before.min(Phase::LameDuck), Phase::Drained);
        event!(info, in_flight = in_flight_at_start, "draining");
        true
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
        let mut history = self.gate().history();
        history.failed_probes = history.failed_probes.saturating_add(1);
        drop(history);
        self.gate().wake_others();
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
