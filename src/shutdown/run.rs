//! Runs the sequence.

use std::future::{Future, IntoFuture};
use std::mem;
use std::pin::pin;

use tokio::time::Instant;

use super::builder::Shutdown;
use super::outcome::{Cut, ShutdownError, ShutdownReport};
use super::port::Left;
use super::server::{Server, ServerEnd, ServerOutput, serve};
use super::session::{
    FLUSH_GRACE, SHORTEST_CLOSING, Session, beside, close_connections, closed, earlier, first,
    is_ready, lame_duck_over, progress, reached, say_last_goodbyes,
};
use super::signal::Signal;
use crate::drain::{Drain, Phase, Reached};
#[cfg(feature = "tracing")]
use crate::trace::nonzero;

/// A shutdown that runs. A drain has one at a time, because two would end each other's phases.
struct Running<'a>(&'a Drain);

impl<'a> Running<'a> {
    fn start(drain: &'a Drain) -> Option<Self> {
        let was_running = mem::replace(&mut drain.gate().history().is_running, true);
        (!was_running).then_some(Self(drain))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let gate = self.0.gate();
        gate.history().shutdown_dropped();
        if gate.phase() >= Phase::Closing {
            gate.say_all_goodbyes();
        } else {
            gate.restart_goodbyes();
        }
    }
}

impl<O, F> Shutdown<O, F> {
    /// Runs a server and shuts it down gracefully.
    ///
    /// `server` is called with a future that resolves in [`Phase::Closing`], and returns the server:
    /// `axum::serve(..).with_graceful_shutdown(closing)`, tonic's `serve_with_shutdown(address, closing)`, or
    /// an accept loop of your own. The server's output is `Result<(), E>` or `()`, where `E` is `Send` and
    /// `Sync`: map an error that is not `Send` to a `String` first. A server that ignores `closing` never ends. It is
    /// abandoned with a warning once nothing is in flight and its connections have stood still for
    /// [`flush`](Self::flush).
    ///
    /// If the server ends by itself, the shutdown starts. It waits, with the same timeout, for anything still
    /// in flight: work that holds a [`Permit`](crate::Permit), or connections that the server has handed off.
    /// If another handle closes the drain, the shutdown continues from there. If the drain is closed when this is
    /// called, the server is started and asked to close at once, and a warning is logged.
    ///
    /// After `main` returns, `#[tokio::main]` waits for blocking tasks without a limit. To bound this, call
    /// [`std::process::exit`]. If you wait for anything before that, set a timeout; see [what comes after
    /// `run`](crate::recipes::process#what-comes-after-run).
    ///
    /// # Errors
    ///
    /// - [`ShutdownError::Server`] if the server failed. `run` then waits until nothing is in flight, at most
    ///   for the timeout. This takes precedence over the other two;
    ///   [`Drain::requests`](crate::Drain::requests) still lists the requests that are left.
    /// - [`ShutdownError::TimedOut`] if requests, or permits, were in flight at the deadline.
    /// - [`ShutdownError::Forced`] if the [`force_on`](Self::force_on) future resolved, or a later SIGINT
    ///   arrived, before the shutdown finished.
    /// - [`ShutdownError::DrainInUse`] if another shutdown of the same drain is running. The server is not
    ///   started.
    ///
    /// # Panics
    ///
    /// Panics if it is polled outside a tokio runtime with its timer enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, but not the connection tasks that it has spawned. The phase does
    /// not change, and another shutdown of the drain may run.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// use tower_drain::{Drain, Shutdown};
    ///
    /// # async fn example(listener: tokio::net::TcpListener, app: axum::Router) {
    /// let drain = Drain::new();
    /// let stop = async { /* a token, a channel, an API call */ };
    /// let outcome = Shutdown::new(&drain, stop)
    ///     .lame_duck(Duration::from_secs(10))
    ///     .run(|closing| {
    ///         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
    ///     })
    ///     .await;
    /// let code = match outcome {
    ///     Ok(report) => {
    ///         println!("{} were in flight", report.in_flight_at_close());
    ///         0
    ///     }
    ///     Err(error) => {
    ///         eprintln!("{error}");
    ///         1
    ///     }
    /// };
    /// std::process::exit(code);
    /// # }
    /// ```
    pub async fn run<S>(
        self,
        server: impl FnOnce(Reached) -> S,
    ) -> Result<ShutdownReport, ShutdownError>
    where
        O: Future<Output: Into<Signal>>,
        F: Future,
        S: IntoFuture<Output: ServerOutput>,
    {
        let Self {
            drain,
            on,
            force,
            config,
            mut port,
        } = self;
        let Some(_running) = Running::start(&drain) else {
            return Err(ShutdownError::DrainInUse);
        };
        if drain.phase() >= Phase::Closing {
            event!(
                warn,
                "the drain is closed already: the server is asked to close at once"
            );
        }
        let force = pin!(force);
        let ended = ServerEnd::default();
        let server = serve(server(drain.closing()).into_future(), &drain, &ended);
        let mut session = Session {
            drain: &drain,
            server: pin!(Server::new(server, &ended)),
            force,
            ended: &ended,
        };

        // Serving, until the trigger fires, something else closes the drain, or the server ends.
        let triggered = async { Some(on.await.into()) };
        let condition = first(triggered, closed(&drain, &ended));
        let signal = session.server.as_mut().serve_until(condition).await;
        drain.gate().history().is_committed = true;
        // Polled before the shutdown has any visible effect, which may cause someone to force it.
        let forced = is_ready(session.force.as_mut()).await;
        event!(
            info,
            signal = signal.map(tracing::field::debug),
            "shutdown started"
        );
        let mut report = ShutdownReport {
            signal,
            ..ShutdownReport::default()
        };
        let mut since = Instant::now();
        let mut left = Left::default();

        let completed = async {
            if forced {
                return Err(Cut::Forced);
            }

            // Lame duck, until its maximum has passed, or early if the load balancer has noticed.
            let skipped = signal != Some(Signal::Terminate) || config.lame_duck.is_zero();
            if !skipped && ended.get().is_none() {
                drain.lame_duck();
                session
                    .until_closed(lame_duck_over(&drain, &config))
                    .await?;
            }

            // Settling the port, before the server is asked to close.
            if !port.is_empty() && ended.get().is_none() && drain.phase() < Phase::Closing {
                let settles = signal == Some(Signal::Terminate);
                if settles {
                    drain.begin_lame_duck();
                    let settled = Instant::now().checked_add(config.settle);
                    set_deadline(&drain, Phase::LameDuck, settled);
                }
                port.refuse_handshakes();
                if settles {
                    session.until_closed(port.settle(config.settle)).await?;
                }
            }

            // Closing, until the server has ended, or its maximum has passed.
            report.lame_duck = since.elapsed();
            since = Instant::now();
            report.in_flight_at_close = drain.in_flight();
            drain.begin_closing();
            let deadline = since.checked_add(config.timeout);
            let closing = earlier(deadline, since.checked_add(config.closing));
            set_deadline(&drain, Phase::Closing, closing);
            let mut traffic = port.traffic(&drain, config.flush);
            let background = first(port.hold(&ended), progress(&drain, &ended, since, deadline));
            let mut background = pin!(first(background, say_last_goodbyes(&drain)));
            let still = traffic.stood_still(since.checked_add(SHORTEST_CLOSING));
            let condition = first(drain.draining(), first(ended.reached(), still));
            let condition = first(reached(closing), condition);
            session
                .until(beside(background.as_mut(), condition))
                .await?;

            // Draining, until nothing is in flight.
            traffic.look_at_requests();
            drain.begin_draining();
            traffic.look_at_requests();
            set_deadline(&drain, Phase::Draining, deadline);
            let condition = first(drain.drained(), reached(deadline));
            session
                .until(beside(background.as_mut(), condition))
                .await?;
            // The last request may have ended at the deadline, or before it if this task was polled late.
            if drain.phase() != Phase::Drained {
                return Err(Cut::TimedOut);
            }

            // Flushing, until the server has ended and the clients have everything, or nothing moves any more.
            report.drained_after = since.elapsed();
            traffic.look_at_requests();
            let longest = deadline.map(|at| at.max(Instant::now() + FLUSH_GRACE));
            let flushed = async {
                first(ended.reached(), traffic.stood_still(None)).await;
                if ended.get().is_some() {
                    traffic.delivered().await;
                }
            };
            let condition = first(flushed, reached(longest));
            session.until(beside(background, condition)).await?;
            report.ended_after = ended.get().map(|at| at.saturating_duration_since(since));
            left = traffic.left();
            // The kernel may not say.
            left.open = left.open.max(drain.open_connections());
            session.until(close_connections(&drain, &ended)).await
        }
        .await;

        let outcome = match completed {
            Ok(()) => {
                report.refused = drain.refused();
                Ok(report)
            }
            Err(cut) => Err(session.cut_short(cut, since, &mut port).await),
        };
        if let Ok(report) = &outcome {
            log_finished(report, left, drain.gate().is_used());
        }
        match ended.take_error() {
            Some(error) => Err(ShutdownError::Server(error)),
            None => outcome,
        }
    }
}

fn set_deadline(drain: &Drain, phase: Phase, at: Option<Instant>) {
    drain.gate().history().set_deadline(phase, at);
}

/// An error was logged when it happened.
fn log_finished(_report: &ShutdownReport, _left: Left, _is_used: bool) {
    #[cfg(feature = "tracing")]
    if _report.ended_after.is_none() {
        event!(
            warn,
            connections = nonzero(_left.open),
            undelivered = nonzero(_left.undelivered),
            "nothing in flight, but connections were still open: abandoned{}",
            if _is_used {
                ""
            } else {
                ". No request was ever counted: did none come, or is the layer not around the routes?"
            }
        );
    } else if _left.undelivered > 0 {
        event!(
            warn,
            undelivered = _left.undelivered,
            "the server has ended, but some clients have not acknowledged everything"
        );
    }
    event!(
        info,
        lame_duck = ?_report.lame_duck,
        drained_after = ?_report.drained_after,
        ended_after = _report.ended_after.map(tracing::field::debug),
        in_flight_at_close = _report.in_flight_at_close,
        refused = _report.refused,
        "shutdown finished"
    );
}
