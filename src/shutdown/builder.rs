use std::fmt;
use std::future::{Future, Pending, pending};
use std::time::Duration;

use super::port::Port;
use super::signal::Signal;
#[cfg(feature = "signal")]
use super::signal::{ForceSignal, ShutdownSignal, shutdown};
use crate::drain::Drain;

/// Runs a server and shuts it down gracefully: signal, lame duck, close, drain.
///
/// ```no_run
/// # use std::time::Duration;
/// # use axum::{Router, routing::get};
/// # use tokio::net::TcpListener;
/// use tower_drain::{Drain, Shutdown};
///
/// # #[cfg(all(feature = "signal", feature = "listener"))]
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drain = Drain::new();
/// let shutdown = Shutdown::on_signal(&drain)
///     .lame_duck(Duration::from_secs(10))
///     .timeout(Duration::from_secs(20));
///
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let listener = TcpListener::bind("0.0.0.0:8080").await?;
/// shutdown
///     .listener(&listener)?
///     .run(|closing| {
///         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
///     })
///     .await?;
/// # Ok(())
/// # }
/// # #[cfg(not(all(feature = "signal", feature = "listener")))]
/// # fn main() {}
/// ```
///
/// # Sequence
///
/// ```text
///  SIGTERM                              port closed                                exit
///     │ lame_duck         settle             │◀─────────────── timeout ──────────────▶│
///     │                                      │ closing                        flush   │
/// ────┼──────────────────┬───────────────────┼──────────────┬───────────────┬─────────┼──▶
///     │ LameDuck         │                   │ Closing      │ Draining      │ Drained │
///     │ readiness 503    │ no new            │ GOAWAY sent; │ new requests  │ last    │
///     │ requests served  │ handshakes;       │ new requests │ get 503, old  │ bytes   │
///     │ HTTP/1 responses │ what has arrived  │ on open      │ ones finish   │ are     │
///     │ ask to close     │ is accepted       │ connections  │               │ sent    │
///     │                  │ and read          │ are served   │               │         │
/// ```
///
/// 1. **Serving**, until the trigger fires: the future passed to [`new`](Self::new), or a signal with
///    [`on_signal`](Self::on_signal).
/// 2. **Lame duck**, on [`Signal::Terminate`], for at most [`lame_duck`](Self::lame_duck). Readiness fails
///    and all requests are served, so that a load balancer stops sending requests before any is refused.
///    [`min_failed_probes`](Self::min_failed_probes) and [`quiet_period`](Self::quiet_period) end it early.
///    With `listener`, new handshakes then get no answer, and the port settles: what has reached it is accepted
///    and read before the server is asked to close.
/// 3. **Closing**, for at most [`closing`](Self::closing), or until the server has ended. The server closes
///    its port and its connections. HTTP/2 clients learn of it one round trip late; requests that they send
///    until then are served. Watched connections ([`Drain::watch`], with the feature `hyper-util`) are part of
///    the server: it has not ended while one of them is open.
/// 4. **Draining**, until nothing is in flight. New requests are refused. Then the server sends the last
///    bytes and closes its connections. With `listener` on Linux, the shutdown also waits until the clients' systems have
///    acknowledged what they were sent. [`flush`](Self::flush) bounds how long the connections may stand still
///    meanwhile, and [`timeout`](Self::timeout) bounds everything from closing on.
/// 5. At the deadline, [tracked](crate::DrainLayer::track_requests) requests are [cancelled](Drain::cancel),
///    and the server has one more second to send the answers. Other
///    requests are not stopped; they end with the process. Finally, watched connections are closed, and the
///    server has another second to end.
///
/// If something else closes the drain, or the server ends by itself, the shutdown starts at that point. Once
/// started, it cannot be undone: [`Drain::resume`] returns false. A lame duck that began earlier counts.
///
/// # How long it takes
///
/// At most:
///
/// | | time |
/// |---|---|
/// | always | `lame_duck` + `timeout` + 1 s |
/// | with `listener` | + `settle` + 5 s |
/// | with watched connections | + 1 s |
///
/// Set the supervisor's grace period higher than that: `terminationGracePeriodSeconds` in Kubernetes,
/// `TimeoutStopSec` in systemd. The example above takes at most 10 + 20 + 1 + 0.3 + 5 = 36.3 s.
#[must_use = "a shutdown does nothing unless it is run"]
pub struct Shutdown<O, F = Pending<()>> {
    pub(super) drain: Drain,
    pub(super) on: O,
    pub(super) force: F,
    pub(super) config: Config,
    pub(super) port: Port,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    pub(super) lame_duck: Duration,
    pub(super) quiet_period: Option<Duration>,
    pub(super) min_failed_probes: Option<u32>,
    pub(super) settle: Duration,
    pub(super) closing: Duration,
    pub(super) timeout: Duration,
    pub(super) flush: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lame_duck: Duration::ZERO,
            quiet_period: None,
            min_failed_probes: None,
            settle: Duration::from_millis(300),
            closing: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            flush: Duration::from_secs(5),
        }
    }
}

impl<O> Shutdown<O>
where
    O: Future<Output: Into<Signal>>,
{
    /// Creates a shutdown of the server whose requests `drain` counts. It starts when `on` resolves.
    ///
    /// `on` resolves to a [`Signal`], or to `()` for [`Signal::Terminate`]: for example the `cancelled()` of
    /// a token, or an existing `shutdown_signal()`. Nothing forces the shutdown unless
    /// [`force_on`](Self::force_on) is set; `force_on(tokio::signal::ctrl_c())` forces it on Ctrl-C, also within the 100 ms
    /// in which [`on_signal`](Self::on_signal) ignores a second one.
    pub fn new(drain: &Drain, on: O) -> Self {
        Self {
            drain: drain.clone(),
            on,
            force: pending(),
            config: Config::default(),
            port: Port::new(),
        }
    }
}

#[cfg(feature = "signal")]
impl Shutdown<ShutdownSignal, ForceSignal> {
    /// Creates a shutdown that starts on SIGINT or SIGTERM. On Windows: on Ctrl-C, or on Ctrl-Break, close, logoff and
    /// shutdown; see [`signal::shutdown`](crate::signal::shutdown()) for the time that Windows allows.
    ///
    /// Its type is `Shutdown<signal::ShutdownSignal, signal::ForceSignal>`.
    ///
    /// SIGINT, as the first signal, skips the lame duck and settling. A later SIGINT forces the shutdown in any stage, also
    /// in a lame duck: what is in flight is cut off. One within 100 ms of the first signal does not. SIGTERM never forces,
    /// because supervisors and process groups send it twice.
    ///
    /// Call it first. From this call on, signals no longer end the process, also if it has PID 1 in a container; one that
    /// arrives during start-up takes effect in [`run`](Self::run). So bound every wait before that, such as the one for a
    /// database.
    ///
    /// # Panics
    ///
    /// On Unix, panics if it is called outside a tokio runtime with I/O enabled. On Windows it needs no runtime.
    pub fn on_signal(drain: &Drain) -> Self {
        Self {
            drain: drain.clone(),
            on: shutdown(),
            force: ForceSignal::new(),
            config: Config::default(),
            port: Port::new(),
        }
    }
}

impl<O, F> Shutdown<O, F> {
    /// Sets a future that ends every wait at once, with
    /// [`ShutdownError::Forced`](crate::ShutdownError::Forced).
    ///
    /// It is first polled once the shutdown has started. Its output is ignored. Tracked requests are
    /// cancelled as at the deadline.
    ///
    /// # Examples
    ///
    /// ```
    /// use tokio::sync::oneshot;
    /// use tower_drain::{Drain, Shutdown};
    ///
    /// let drain = Drain::new();
    /// let (_stop, stopped) = oneshot::channel::<()>();
    /// let (_kill, killed) = oneshot::channel::<()>();
    /// let stopped = async { drop(stopped.await) };
    /// let shutdown = Shutdown::new(&drain, stopped).force_on(killed);
    /// # let _ = shutdown;
    /// ```
    pub fn force_on<N>(self, force: N) -> Shutdown<O, N>
    where
        N: Future,
    {
        Shutdown {
            drain: self.drain,
            on: self.on,
            force,
            config: self.config,
            port: self.port,
        }
    }

    /// Sets the maximum duration of the lame duck. The default is zero: no lame duck.
    ///
    /// Set it if clients come through a load balancer: without a lame duck no readiness probe fails before
    /// the port closes. It should be longer than the load balancer takes to notice: its probe interval, times
    /// its failure threshold. It counts from the beginning of the lame duck, even if that was before the
    /// signal. The lame duck is skipped on [`Signal::Interrupt`]. A duration that is too long for the clock
    /// means no maximum. [Long-lived work](Drain::goodbye) ends in its second half.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// # use tower_drain::{Drain, Shutdown};
    ///
    /// # let (drain, stop) = (Drain::new(), async {});
    /// let shutdown = Shutdown::new(&drain, stop)
    ///     .lame_duck(Duration::from_secs(10)) // at most, and less once
    ///     .min_failed_probes(3) //               three probes have failed
    ///     .quiet_period(Duration::from_secs(1)); // and no request has arrived for a second
    /// # let _ = shutdown;
    /// ```
    pub fn lame_duck(mut self, longest: Duration) -> Self {
        self.config.lame_duck = longest;
        self
    }

    /// Lets the lame duck end early, once no new request has arrived for this long, counted from the last
    /// request or from the beginning of the lame duck.
    ///
    /// Exempt requests and [`Drain::try_acquire`] do not count. With
    /// [`min_failed_probes`](Self::min_failed_probes), both conditions must hold. Behind a load balancer, set
    /// both: if requests are rare, a quiet second does not show that the load balancer has noticed. In Kubernetes, set
    /// neither: the port would close while an ingress still sends connections to it. With WebSockets or event streams, set
    /// neither, too: those that are left when the lame duck ends early end together. HTTP/2 clients are not asked to leave
    /// in a lame duck, so while they send requests, it lasts for its maximum.
    pub fn quiet_period(mut self, quiet: Duration) -> Self {
        self.config.quiet_period = Some(quiet);
        self
    }

    /// Lets the lame duck end early, once this many readiness probes have failed. Its maximum still applies.
    ///
    /// [`Drain::readiness`] counts its 503s, and [`Drain::record_failed_probe`] counts others. All of them
    /// add up, whether from load balancers, kubelets or people.
    pub fn min_failed_probes(mut self, probes: u32) -> Self {
        self.config.min_failed_probes = Some(probes);
        self
    }

    /// Sets the maximum duration of closing, during which requests are still served. The default is 5 s.
    ///
    /// It bounds how long HTTP/2 clients may take to notice the server's GOAWAY: usually one round trip, more if
    /// segments are lost or the GOAWAY waits behind a large response. What they send after it is refused. Closing ends
    /// as soon as the server has ended, and, after a second at the earliest, when nothing is in flight and the
    /// connections have stood still for [`flush`](Self::flush). With zero, requests that cross the GOAWAY are refused.
    pub fn closing(mut self, longest: Duration) -> Self {
        self.config.closing = longest;
        self
    }

    /// Sets the timeout for closing and draining together, from the moment at which the port closes. The default is 30 s.
    ///
    /// [In total](#how-long-it-takes), a shutdown takes longer. Kubernetes allows 30 s for all of it, unless
    /// `terminationGracePeriodSeconds` says otherwise.
    ///
    /// A timeout that is too long for the clock, such as [`Duration::MAX`], means no deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.config.timeout = timeout;
        self
    }

    /// Sets how long connections may stand still, once nothing is in flight. The default is 5 s.
    ///
    /// The last bytes of responses may then still be in the server's buffers and in the kernel's. With
    /// `listener`, on Linux, the kernel is asked what the clients have acknowledged: each new byte starts this
    /// time anew, so that a slow reader gets everything, within [`timeout`](Self::timeout). Elsewhere this is how
    /// long the clients have in total, so set a time in which a slow one can read what is buffered.
    ///
    /// It bounds what a peer that is asleep costs: one that has sent half a request head or half a TLS handshake,
    /// an HTTP/2 client that answers no ping, a reader that has stopped. Such peers are no failure. Connections
    /// that are still open afterwards, or when `timeout` has passed, are abandoned with a warning; watched ones are closed.
    /// [`run`](Self::run) returns `Ok`, and [`ShutdownReport::ended_after`](crate::ShutdownReport::ended_after) is
    /// `None`. The same applies to a server that was not given `closing`.
    ///
    /// The time counts from closing, from the end of the last request, or from the last byte, whichever comes last.
    /// So a peer that is asleep costs `flush` once, in [`closing`](Self::closing) or after it.
    ///
    /// An abandoned connection keeps its clone of the app until the process ends. If a task waits for the
    /// last clone to be dropped, such as a worker on a channel, that wait needs its own timeout. See [what
    /// comes after `run`](crate::recipes::process#what-comes-after-run).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_drain::{Drain, Shutdown};
    ///
    /// # let stop = async {};
    /// let drain = Drain::new();
    /// let shutdown = Shutdown::new(&drain, stop)
    ///     .timeout(Duration::from_secs(20))
    ///     .flush(Duration::from_secs(2));
    /// # let _ = shutdown;
    /// ```
    pub fn flush(mut self, flush: Duration) -> Self {
        self.config.flush = flush;
        self
    }
}

impl<O, F> fmt::Debug for Shutdown<O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("drain", &self.drain)
            .field("config", &self.config)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}
