//! Runs the sequence.

use std::future::{Future, IntoFuture};
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::Instant;

use super::builder::Shutdown;
use super::conditions::{beside, earlier, first, is_ready, reached};
use super::outcome::{Expired, ShutdownError, ShutdownReport};
use super::server::{Server, ServerEnd, ServerOutput, serve};
use super::signal::Signal;
use super::{lame_duck, log};
use crate::drain::{Drain, Phase, Reached, Unfinished};

/// How long the server has to answer cancelled requests, and then to close their connections.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// How long responses that ended at the deadline have to reach the network.
const FLUSH_GRACE: Duration = Duration::from_millis(100);
/// How long a server has to end once its watched connections are closed.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

impl<O, F> Shutdown<O, F> {
    /// Runs a server and shuts it down gracefully.
    ///
    /// `server` is called with a future that resolves in [`Phase::Closing`], and returns the server:
    /// `axum::serve(..).with_graceful_shutdown(closing)`, tonic's `serve_with_shutdown(address, closing)`, or
    /// an accept loop of your own. The server's output is `Result<(), E>` or `()`, where `E` is `Send` and
    /// `Sync`: convert a `Box<dyn Error>` into a string. A server that ignores `closing` never ends, and is
    /// reported as [`TimedOut`](ShutdownError::TimedOut) with nothing in flight, unless
    /// [`flush`](Self::flush) is set.
    ///
    /// If the server ends by itself, the shutdown starts. It waits, with the same timeout, for anything still
    /// in flight: work that holds a [`Permit`](crate::Permit), or connections that the server has handed off.
    /// If another handle closes the drain, the shutdown continues from there.
    ///
    /// After `main` returns, `#[tokio::main]` waits for blocking tasks without a limit. To bound this, call
    /// [`std::process::exit`]. If you wait for anything before that, set a timeout; see [what comes after
    /// `run`](crate::recipes#what-comes-after-run).
    ///
    /// # Errors
    ///
    /// - [`ShutdownError::Server`] if the server failed. `run` then waits until nothing is in flight, at most
    ///   for the timeout. This takes precedence over the other two;
    ///   [`Drain::requests`](crate::Drain::requests) still lists the requests that are left.
    /// - [`ShutdownError::TimedOut`] if requests were in flight at the deadline, or if the server had not
    ///   ended and [`flush`](Self::flush) was not set.
    /// - [`ShutdownError::Forced`] if the [`force_on`](Self::force_on) future resolved, or a later SIGINT
    ///   arrived, before the shutdown finished.
    ///
    /// # Panics
    ///
    /// Panics if it is polled outside a tokio runtime with its timer enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the server, but not the connection tasks that it has spawned. The phase does
    /// not change.
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
    ///     .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
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
        let mut force = pin!(force);
        let ended = ServerEnd::default();
        let server = serve(server(drain.closing()).into_future(), &drain, &ended);
        let mut server = pin!(Server::new(server, &ended));
        let closed_or_ended = || first(drain.closing(), ended.reached());

        // Serving, until the trigger fires, something else closes the drain, or the server ends.
        let signal = server
            .as_mut()
            .serve_until(first(async { Some(on.await.into()) }, async {
                closed_or_ended().await;
                None
            }))
            .await;
        drain.commit();
        // Polled before the shutdown has any visible effect, which may cause someone to force it.
        let forced = is_ready(force.as_mut()).await;
        log::started(signal);
        let mut report = ShutdownReport {
            signal,
            ..ShutdownReport::default()
        };
        let mut since = Instant::now();

        let completed = async {
            if forced {
                return Err(Expired::Forced);
            }

            // Lame duck, until its maximum has passed, or early if the load balancer has noticed.
            let skipped = signal != Some(Signal::Terminate) || config.lame_duck.is_zero();
            if !skipped && ended.get().is_none() {
                drain.lame_duck();
                let over = lame_duck::over(&drain, &config);
                let condition = first(over, closed_or_ended());
                until(server.as_mut(), force.as_mut(), condition).await?;
            }

            // Settling the port, before the server is asked to close.
            if !port.is_empty() && ended.get().is_none() && drain.phase() < Phase::Closing {
                let mut settle = Duration::ZERO;
                if signal == Some(Signal::Terminate) {
                    settle = config.settle;
                    drain.lame_duck();
                    drain.set_deadline(Phase::LameDuck, Instant::now().checked_add(settle));
                }
                let condition = first(port.settle(settle), closed_or_ended());
                until(server.as_mut(), force.as_mut(), condition).await?;
            }

            // Closing, until the server has ended, or its maximum has passed.
            report.lame_duck = since.elapsed();
            since = Instant::now();
            report.in_flight_at_close = drain.in_flight();
            drain.close();
            let deadline = since.checked_add(config.timeout);
            let closing = earlier(deadline, since.checked_add(config.closing));
            drain.set_deadline(Phase::Closing, closing);
            let mut aside = pin!(first(
                port.hold(&ended),
                log::progress(&drain, since, deadline)
            ));
            let condition = first(reached(closing), first(drain.draining(), ended.reached()));
            let condition = beside(aside.as_mut(), condition);
            until(server.as_mut(), force.as_mut(), condition).await?;

            // Draining, until nothing is in flight.
            drain.start_draining();
            drain.set_deadline(Phase::Draining, deadline);
            let late = async {
                reached(deadline).await;
                false
            };
            let drained = async {
                drain.drained().await;
                true
            };
            let condition = beside(aside.as_mut(), first(drained, late));
            let in_time = until(server.as_mut(), force.as_mut(), condition).await?;
            // The last request may have ended at the deadline, or before it if this task was polled late.
            if !in_time && drain.phase() != Phase::Drained {
                return Err(Expired::TimedOut);
            }

            // Flushing, until the server has ended.
            report.requests = since.elapsed();
            let longest = match config.flush {
                None => deadline,
                Some(flush) => {
                    let now = Instant::now();
                    let deadline = deadline.map(|deadline| deadline.max(now + FLUSH_GRACE));
                    earlier(deadline, now.checked_add(flush))
                }
            };
            let condition = beside(aside, first(ended.reached(), reached(longest)));
            until(server.as_mut(), force.as_mut(), condition).await?;
            report.server = ended.get().map(|at| at.saturating_duration_since(since));
            if report.server.is_some() || config.flush.is_some() {
                let closed = close_connections(&drain, &ended);
                until(server.as_mut(), force.as_mut(), closed).await?;
                Ok(())
            } else {
                Err(Expired::TimedOut)
            }
        }
        .await;

        let outcome = match completed {
            Ok(()) => {
                report.refused = drain.refused();
                Ok(report)
            }
            Err(expired) => {
                // Timed out or forced: cancel tracked requests, and leave time for the answers.
                drain.close();
                drain.start_draining();
                let unfinished = Unfinished::new(&drain, since);
                log::expired(expired, &unfinished);
                let had_ended = ended.get().is_some();
                drain.cancel();
                // Tracked requests may have been cancelled just before, by another handle.
                let cancelled = !unfinished.requests().is_empty();
                let grace = match unfinished.in_flight() {
                    0 => FLUSH_GRACE,
                    counted if cancelled || drain.in_flight() < counted => CANCEL_GRACE,
                    _ => Duration::ZERO,
                };
                let answered = async {
                    if had_ended {
                        drain.drained().await;
                    } else {
                        ended.reached().await;
                    }
                };
                let condition = first(reached(Instant::now().checked_add(grace)), answered);
                let held = pin!(port.hold(&ended));
                let last = async {
                    beside(held, condition).await;
                    close_connections(&drain, &ended).await;
                };
                Err(match expired {
                    Expired::TimedOut => {
                        // Forcing it now cuts the wait short.
                        if until(server.as_mut(), force, last).await.is_err() {
                            drain.close_open_connections();
                        }
                        ShutdownError::TimedOut(unfinished)
                    }
                    Expired::Forced => {
                        server.as_mut().serve_until(last).await;
                        ShutdownError::Forced(unfinished)
                    }
                })
            }
        };
        let outcome = ended
            .take_error()
            .map_or(outcome, |error| Err(ShutdownError::Server(error)));
        log::finished(&outcome);
        outcome
    }
}

/// Closes the watched connections that are left, and waits until the server has ended.
async fn close_connections(drain: &Drain, ended: &ServerEnd) {
    if drain.close_open_connections() > 0 {
        let longest = Instant::now().checked_add(CLOSE_GRACE);
        first(ended.reached(), reached(longest)).await;
    }
}

/// Runs the server until `condition` resolves, or until it is forced to stop.
async fn until<S, T>(
    server: Pin<&mut Server<'_, S>>,
    force: Pin<&mut impl Future>,
    condition: impl Future<Output = T>,
) -> Result<T, Expired>
where
    S: Future<Output = ()>,
{
    let forced = async {
        force.await;
        Err(Expired::Forced)
    };
    first(forced, async { Ok(server.serve_until(condition).await) }).await
}
