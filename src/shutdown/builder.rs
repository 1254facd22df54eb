use std::fmt;
use std::future::{Future, IntoFuture};
use std::time::Duration;

use super::defaults::{DefaultForce, DefaultOn};
use super::plan::Plan;
use super::run::Run;
use super::trigger::Signal;
use crate::drain::Drain;

/// The whole way out of a process that serves: from the signal, by way of the lame duck and the
/// drain, to the last connection closed.
///
/// ```no_run
/// use std::time::Duration;
///
/// use axum::{Router, routing::get};
/// use tokio::net::TcpListener;
/// use tower_drain::{Drain, Shutdown};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drain = Drain::new();
/// let app = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(drain.layer())
///     .route_service("/readyz", drain.readiness());
/// let listener = TcpListener::bind("0.0.0.0:8080").await?;
/// let server = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
///
/// # #[cfg(feature = "signal")]
/// let report = Shutdown::new(&drain)
///     .lame_duck(Duration::from_secs(10)) // at most: it ends once
///     .probes(3) //                          the balancer has seen so many 503,
///     .quiet(Duration::from_secs(1)) //      and nobody has come for so long
///     .timeout(Duration::from_secs(15))
///     .run(server)
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// # What happens when
///
/// 1. The server serves, until what is [`on`](Self::on) starts the shutdown: by default, with the
///    feature `signal`, SIGTERM or SIGINT.
/// 2. On [`Signal::Terminate`] the drain becomes a [lame duck](Drain::lame_duck) for as long as
///    [`lame_duck`](Self::lame_duck) says: readiness fails, and requests are served, so that a
///    balancer can take notice before anyone is refused. [`probes`](Self::probes) and
///    [`quiet`](Self::quiet) end it early. On [`Signal::Interrupt`] there is none.
/// 3. The drain is [started](Drain::start), by which the server closes its port (it has
///    [`Drain::draining`]). Within the [`timeout`](Self::timeout) first the requests in flight end, and
///    then the server flushes and closes its connections.
/// 4. If the time is up before that, the requests that a layer
///    [tracks](crate::DrainLayer::track_requests) are [cancelled](Drain::cancel), and the server has one
///    second more to tell their clients and to close. By that even a server ends that has an endless
///    stream open.
/// 5. [`run`](Self::run) gives the [`Report`](crate::Report), or says what was late.
///
/// If anything else starts the drain, or the server ends by itself, the shutdown goes on from there.
/// From step 2 on, what is to [`force`](Self::force) it ends every wait: by default the next signal.
/// Requests are cancelled then, too.
///
/// The longest it takes is `lame_duck` plus `timeout`, and with tracked requests that one second. Whoever
/// stops the process (Kubernetes' `terminationGracePeriodSeconds`, systemd's `TimeoutStopSec`) has to
/// grant it more than that.
#[must_use = "a shutdown does nothing unless run"]
pub struct Shutdown<O = DefaultOn, F = DefaultForce> {
    drain: Drain,
    on: O,
    force: F,
    plan: Plan,
}

impl Shutdown {
    /// A shutdown of what counts into `drain`, with the defaults.
    pub fn new(drain: &Drain) -> Self {
        Self {
            drain: drain.clone(),
            on: DefaultOn::new(),
            force: DefaultForce::new(),
            plan: Plan::default(),
        }
    }
}

impl<O, F> Shutdown<O, F> {
    /// What starts it. The default, with the feature `signal`, is the first SIGINT or SIGTERM
    /// (`signal::shutdown()`). Without that feature there is no default, and a shutdown without this
    /// does not compile when it is [`run`](Self::run).
    pub fn on<N>(self, on: N) -> Shutdown<N, F>
    where
        N: Future<Output = Signal>,
    {
        Shutdown {
            drain: self.drain,
            on,
            force: self.force,
            plan: self.plan,
        }
    }

    /// What ends every wait at once, with [`ShutdownError::Forced`](crate::ShutdownError::Forced);
    /// which signal it is makes no difference. Only if there are tracked requests to cancel does it
    /// leave them their second. It is first polled when the shutdown starts, before anyone can see that.
    ///
    /// The default, with the feature `signal`, is the next signal; without it, nothing. To have
    /// nothing, give it [`std::future::pending()`].
    pub fn force<N>(self, force: N) -> Shutdown<O, N>
    where
        N: Future<Output = Signal>,
    {
        Shutdown {
            drain: self.drain,
            on: self.on,
            force,
            plan: self.plan,
        }
    }

    /// The longest lame duck. It should be longer than a balancer takes to notice: its interval
    /// between probes, times the failures that it wants to see. The default is zero: no lame duck.
    ///
    /// It is skipped on [`Signal::Interrupt`]: nobody waits at a terminal.
    pub fn lame_duck(mut self, longest: Duration) -> Self {
        self.plan.lame_duck = longest;
        self
    }

    /// Leaves the lame duck early, once this long has passed with no new request. Requests that the
    /// layer exempts do not count, nor does [`Drain::try_enter`].
    ///
    /// With [`probes`](Self::probes) too, both have to come true. Behind a balancer use both: where
    /// requests are rare, a quiet second says nothing.
    pub fn quiet(mut self, quiet: Duration) -> Self {
        self.plan.quiet = Some(quiet);
        self
    }

    /// Leaves the lame duck early, but not before [`readiness`](Drain::readiness) has answered 503
    /// this often: by then the balancer has noticed. Several balancers, or a kubelet and a balancer,
    /// add up; so does a curious colleague.
    ///
    /// Alone it leaves upon the last of them. That request of a balancer's which is just under way is
    /// then refused; add [`quiet`](Self::quiet) for it.
    pub fn probes(mut self, times: u32) -> Self {
        self.plan.probes = Some(times);
        self
    }

    /// How long draining may take: for the requests in flight, and for the server to flush and close
    /// after them. The lame duck comes before and is not in it, and the second for those that were
    /// cancelled comes after. The default is 30 s; one too long for the clock (such as
    /// `Duration::MAX`) means no deadline.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.plan.timeout = timeout;
        self
    }

    /// Runs `server`, and shuts it down when it is time.
    ///
    /// The server is any future that ends gracefully once [`Drain::draining`] resolves:
    /// `axum::serve(..).with_graceful_shutdown(drain.draining())`, tonic's
    /// `serve_with_shutdown(address, drain.draining())`, or an accept loop of your own that ends with
    /// hyper-util's `GracefulShutdown`; see the examples. One that does not know of the drain never
    /// ends, and is late in the end.
    ///
    /// A server that ends by itself starts the drain: what is still in flight (work that holds a
    /// [`Permit`](crate::Permit), connections that the server has given away) is waited for, with the
    /// same timeout.
    ///
    /// # Errors
    ///
    /// The future's output is an error if the time was up or somebody forced it, with requests in
    /// flight or connections open; or if the server failed, which goes before the other two.
    ///
    /// # Panics
    ///
    /// This call never does. The future panics when polled outside a tokio runtime that has what it
    /// needs: time, and for the feature `signal` I/O.
    pub fn run<S, E>(self, server: S) -> Run<S::IntoFuture, E, O, F>
    where
        S: IntoFuture<Output = Result<(), E>>,
        O: Future<Output = Signal>,
        F: Future<Output = Signal>,
    {
        Run::new(
            self.drain,
            self.plan,
            self.on,
            self.force,
            server.into_future(),
        )
    }
}

impl<O, F> fmt::Debug for Shutdown<O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shutdown")
            .field("drain", &self.drain)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
