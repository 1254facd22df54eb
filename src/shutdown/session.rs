//! Runs the server while the sequence waits for something.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::builder::Config;
use super::outcome::{Cut, ShutdownError};
use super::port::Port;
use super::server::{Server, ServerEnd};
#[cfg(feature = "tracing")]
use crate::drain::OldestRequests;
use crate::drain::{Drain, Phase, Unfinished};
#[cfg(feature = "tracing")]
use crate::trace::nonzero;

/// How long the server has to answer cancelled requests, and then to close their connections.
const CANCEL_GRACE: Duration = Duration::from_secs(1);
/// How long responses that ended at the deadline have to reach the network.
pub(super) const FLUSH_GRACE: Duration = Duration::from_millis(100);
/// How long closing takes at least while connections are open: a distant client has to learn of it.
pub(super) const SHORTEST_CLOSING: Duration = Duration::from_secs(1);
/// How often goodbyes are said in a lame duck, or a thousandth of its second half, if that is longer.
const GOODBYE_INTERVAL: Duration = Duration::from_millis(10);
/// How many a shutdown says at once, and how long other tasks then run. Otherwise a hundred thousand would keep the runtime
/// busy for a while.
const GOODBYES: usize = 256;
const GOODBYE_PAUSE: Duration = Duration::from_millis(1);
/// How many seconds a shutdown that waits logs nothing, at most.
#[cfg(feature = "tracing")]
const LONGEST_SILENCE: u64 = 30;
/// How long a server has to end once its watched connections are closed.
const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// A server that runs, and what forces its shutdown.
pub(super) struct Session<'a, S, F> {
    pub(super) drain: &'a Drain,
    pub(super) server: Pin<&'a mut Server<'a, S>>,
    pub(super) force: Pin<&'a mut F>,
    pub(super) ended: &'a ServerEnd,
}

impl<S, F> Session<'_, S, F>
where
    S: Future<Output = ()>,
    F: Future,
{
    /// Runs the server until `condition` resolves, or until it is forced to stop.
    pub(super) async fn until<T>(&mut self, condition: impl Future<Output = T>) -> Result<T, Cut> {
        let forced = async {
            self.force.as_mut().await;
            Err(Cut::Forced)
        };
        let served = async { Ok(self.server.as_mut().serve_until(condition).await) };
        first(forced, served).await
    }

    /// Like [`until`](Self::until). Also ends, with `None`, once the server has ended or something has closed the drain.
    pub(super) async fn until_closed<T>(
        &mut self,
        condition: impl Future<Output = T>,
    ) -> Result<Option<T>, Cut> {
        let closed = closed(self.drain, self.ended);
        self.until(first(async { Some(condition.await) }, closed))
            .await
    }

    /// Ends a sequence that timed out or was forced: cancels tracked requests, and leaves time for the answers.
    pub(super) async fn cut_short(
        &mut self,
        cut: Cut,
        since: Instant,
        port: &mut Port,
    ) -> ShutdownError {
        let (drain, ended) = (self.drain, self.ended);
        drain.close();
        drain.start_draining();
        // Those that the sequence would have said later.
        drain.gate().say_all_goodbyes();
        let unfinished = Unfinished::new(drain, since);
        unfinished.log(match cut {
            Cut::TimedOut => "drain timed out",
            Cut::Forced => "forced to stop",
        });
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
        let held = pin!(port.hold(ended));
        let last = async {
            beside(held, condition).await;
            close_connections(drain, ended).await;
        };
        match cut {
            Cut::TimedOut => {
                // Forcing it now cuts the wait short.
                if self.until(last).await.is_err() {
                    drain.close_open_connections();
                }
                ShutdownError::TimedOut(unfinished)
            }
            Cut::Forced => {
                self.server.as_mut().serve_until(last).await;
                ShutdownError::Forced(unfinished)
            }
        }
    }
}

/// Waits until the server has ended, or something has closed the drain.
pub(super) async fn closed<T>(drain: &Drain, ended: &ServerEnd) -> Option<T> {
    first(drain.closing(), ended.reached()).await;
    None
}

/// Closes the watched connections that are left, and waits until the server has ended.
pub(super) async fn close_connections(drain: &Drain, ended: &ServerEnd) {
    if drain.close_open_connections() > 0 {
        let longest = Instant::now().checked_add(CLOSE_GRACE);
        first(ended.reached(), reached(longest)).await;
    }
}

/// Waits until the lame duck has lasted for its maximum, or until the conditions of `config` end it early.
///
/// The maximum counts from the beginning of the lame duck, which may have been before the signal.
pub(super) async fn lame_duck_over(drain: &Drain, config: &Config) {
    let since = drain.gate().history().lame_duck_since;
    let longest = since.and_then(|since| since.checked_add(config.lame_duck));
    drain
        .gate()
        .history()
        .set_deadline(Phase::LameDuck, longest);
    let early = async {
        if config.min_failed_probes.is_none() && config.quiet_period.is_none() {
            pending().await
        }
        probes_failed(drain, config.min_failed_probes.unwrap_or(0)).await;
        quiet_for(drain, config.quiet_period.unwrap_or_default()).await;
        event!(info, "lame duck ended early");
    };
    let longest = async {
        match since.zip(longest) {
            Some((since, end)) => say_goodbyes(drain, since, end).await,
            None => pending().await,
        }
        event!(info, "lame duck ended: maximum reached");
    };
    first(longest, early).await;
}

/// Waits until a lame duck ends, and says goodbye to long-lived work through its second half.
async fn say_goodbyes(drain: &Drain, since: Instant, end: Instant) {
    // What is left, if more than half of it has passed.
    let from = (since + (end - since) / 2).max(Instant::now());
    let half = end.saturating_duration_since(from);
    let interval = GOODBYE_INTERVAL.max(half / 1_000);
    reached(Some(from)).await;
    loop {
        let now = Instant::now();
        let part = (now - from).div_duration_f64(half);
        let is_left = drain.gate().say_goodbyes(part, GOODBYES);
        if now >= end {
            return;
        }
        let pause = if is_left { GOODBYE_PAUSE } else { interval };
        sleep_until(end.min(now + pause)).await;
    }
}

/// Says goodbye to the long-lived work that is left while closing, and never returns.
pub(super) async fn say_last_goodbyes(drain: &Drain) -> Infallible {
    while drain.gate().say_last_goodbyes(GOODBYES) {
        sleep(GOODBYE_PAUSE).await;
    }
    pending().await
}

/// Waits until readiness has failed this often since the lame duck began.
async fn probes_failed(drain: &Drain, probes: u32) {
    let mut waiter = drain.gate().waiter(Phase::Serving);
    poll_fn(|cx| {
        // Before the look, so that a probe that fails after it wakes the task.
        waiter.register(cx.waker());
        if drain.gate().history().failed_probes >= probes {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// Waits until no request has arrived for `quiet`, counted from the beginning of the lame duck.
async fn quiet_for(drain: &Drain, quiet: Duration) {
    loop {
        let began = drain.gate().history().lame_duck_since;
        let last = began.max(drain.gate().last_arrival());
        // A period that is too long for the clock never ends.
        match last.and_then(|last| last.checked_add(quiet)) {
            Some(until) if until <= Instant::now() => return,
            until => reached(until).await,
        }
    }
}

/// Logs progress after 1, 2, 4, 8 and 16 seconds, and then each [`LONGEST_SILENCE`]. Never returns. Connections are those
/// that are watched, if any.
pub(super) async fn progress(
    _drain: &Drain,
    _ended: &ServerEnd,
    _since: Instant,
    _deadline: Option<Instant>,
) -> Infallible {
    #[cfg(feature = "tracing")]
    loop {
        let elapsed = _since.elapsed().as_secs();
        let next = elapsed + elapsed.clamp(1, LONGEST_SILENCE);
        sleep_until(_since + Duration::from_secs(next)).await;
        let oldest = _drain.oldest(OldestRequests::MAX_SHOWN);
        let in_flight = _drain.in_flight();
        event!(
            info,
            in_flight,
            connections = nonzero(_drain.open_connections()),
            refused = _drain.refused(),
            since_close = ?_since.elapsed(),
            time_left = _deadline.map(|at| tracing::field::debug(at - Instant::now())),
            oldest = (!oldest.is_empty()).then(|| tracing::field::display(OldestRequests(&oldest))),
            "still {}",
            match (in_flight, _drain.phase()) {
                // The clients do not have everything.
                (0, _) if _ended.get().is_some() => "delivering",
                // The server has not ended.
                (0, _) => "closing connections",
                (_, Phase::Closing) => "closing",
                _ => "draining",
            },
        );
    }
    #[cfg(not(feature = "tracing"))]
    pending().await
}

/// Waits for the first of two futures. Polls `a` first.
pub(super) async fn first<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match a.as_mut().poll(cx) {
        Poll::Pending => b.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

/// Waits for `condition`, and meanwhile polls `background`, which never ends.
pub(super) async fn beside<T>(
    background: Pin<&mut impl Future<Output = Infallible>>,
    condition: impl Future<Output = T>,
) -> T {
    first(condition, async { match background.await {} }).await
}

/// Polls a future once.
pub(super) async fn is_ready(mut future: Pin<&mut impl Future>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

/// Waits until `at`. `None` means forever.
pub(super) async fn reached(at: Option<Instant>) {
    match at {
        // Timers have a resolution of a millisecond. A time that has passed needs no timer.
        Some(at) if at <= Instant::now() => {}
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Returns the earlier of two times. `None` is never.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}
