use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Drain, InFlightRequest, Names, Reached, events};

pin_project! {
    /// A future that resolves once nothing is in flight or the time is up.
    ///
    /// Made by [`Drain::drain`](crate::Drain::drain) and
    /// [`Drain::drain_until`](crate::Drain::drain_until), which have started the drain already.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time: draining goes on, and another call gives another wait.
    #[must_use = "draining has started, but nothing waits for it unless this is polled"]
    pub struct DrainWait {
        #[pin]
        drained: Reached,
        // Made by the first poll that has to wait, so that a wait can be made outside a runtime.
        #[pin]
        sleep: Option<Sleep>,
        since: Instant,
        deadline: Option<Instant>,
    }
}

/// What a drain that ended in time has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    elapsed: Duration,
    in_flight_at_start: usize,
    refused: u64,
    server_elapsed: Option<Duration>,
}

/// The error of a drain whose time was up before everything had left.
///
/// What is still in flight goes on: nothing was cut off. Newcomers are refused as before, and
/// another wait may be made.
///
/// From [`Shutdown::run`](crate::Shutdown::run) it also tells which of two things was late: the
/// requests, if [`in_flight`](Self::in_flight) is not zero, or else the server, which had connections
/// left to flush and close. And that has [cancelled](crate::Drain::cancel) the requests that it could,
/// after they were counted and named here.
///
/// `Display` says it in one line, with the oldest requests by name if a layer tracks them.
#[derive(Clone, PartialEq, Eq)]
pub struct TimedOut {
    in_flight: usize,
    elapsed: Duration,
    requests: Vec<InFlightRequest>,
}

// === impl DrainWait ===

impl DrainWait {
    pub(super) fn new(drained: Reached, since: Instant, deadline: Option<Instant>) -> Self {
        Self {
            drained,
            sleep: None,
            since,
            deadline,
        }
    }
}

impl Future for DrainWait {
    type Output = Result<Report, TimedOut>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let drained = this.drained.as_mut().poll(cx).is_ready();
        if !drained {
            let Some(deadline) = *this.deadline else {
                return Poll::Pending;
            };
            // A timer resolves milliseconds; a time that is up already is not to wait for one.
            if Instant::now() < deadline {
                if this.sleep.is_none() {
                    this.sleep.set(Some(sleep_until(deadline)));
                }
                if let Some(sleep) = this.sleep.as_pin_mut() {
                    ready!(sleep.poll(cx));
                }
            }
        }
        let drain = this.drained.drain();
        // The gate is closed, so none in flight is final: the last may have left just now.
        let in_flight = drain.in_flight();
        Poll::Ready(if in_flight == 0 {
            events::drained(drain);
            Ok(Report::of(drain, *this.since))
        } else {
            let timed_out = TimedOut::new(drain, in_flight, *this.since);
            timed_out.tell();
            Err(timed_out)
        })
    }
}

impl fmt::Debug for DrainWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainWait")
            .field("drain", self.drained.drain())
            .field("since", &self.since)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

// === impl Report ===

impl Report {
    /// Of a wait since then that sees only now that nothing is in flight.
    pub(crate) fn of(drain: &Drain, since: Instant) -> Self {
        Self {
            elapsed: since.elapsed(),
            in_flight_at_start: drain.started().map_or(0, |started| started.in_flight),
            refused: drain.refused(),
            server_elapsed: None,
        }
    }

    /// How long this wait took: from the call that made it until it saw that nothing was in flight.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// How many permits lived when draining started.
    pub fn in_flight_at_start(&self) -> usize {
        self.in_flight_at_start
    }

    /// How many newcomers were turned away since draining started.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How long the server took to flush and close its connections, from when draining started: it
    /// does so while the requests leave and after the last has. `None` but in the report of
    /// [`Shutdown::run`](crate::Shutdown::run), which waits for the server too.
    pub fn server_elapsed(&self) -> Option<Duration> {
        self.server_elapsed
    }

    /// With what came after that, while the server closed: how long that took, and who was turned away.
    pub(crate) fn with_server(self, drain: &Drain, elapsed: Duration) -> Self {
        Self {
            refused: drain.refused(),
            server_elapsed: Some(elapsed),
            ..self
        }
    }
}

// === impl TimedOut ===

impl TimedOut {
    /// Of a wait since then that gives up now.
    pub(crate) fn of(drain: &Drain, since: Instant) -> Self {
        Self::new(drain, drain.in_flight(), since)
    }

    fn new(drain: &Drain, in_flight: usize, since: Instant) -> Self {
        Self {
            in_flight,
            elapsed: since.elapsed(),
            requests: drain.requests(),
        }
    }

    /// How many permits lived when the time was up. Zero says that it was the server that was late,
    /// see above.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How long this wait took: from the call that made it until it gave up.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// The requests that were in flight when the time was up, oldest first: those that a layer
    /// [tracks](crate::DrainLayer::track_requests), and none if no layer does.
    pub fn requests(&self) -> &[InFlightRequest] {
        &self.requests
    }

    /// Tells it, with the feature `tracing`.
    pub(crate) fn tell(&self) {
        events::timed_out(self);
    }

    /// What was left, in words: how many, and the oldest by name.
    pub(crate) fn fmt_left(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.in_flight == 0 {
            return f.write_str("no request in flight, but connections still open");
        }
        write!(f, "{} still in flight", self.in_flight)?;
        if self.requests.is_empty() {
            return Ok(());
        }
        write!(f, ": {}", Names(&self.requests))?;
        let named = self.requests.len().min(Names::MOST);
        match self.in_flight.saturating_sub(named) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elapsed = self.elapsed;
        write!(f, "drain timed out after {elapsed:.1?}: ")?;
        self.fmt_left(f)
    }
}

/// Not all of the requests, which may be thousands, but as many as `Display` has.
impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedOut")
            .field("in_flight", &self.in_flight)
            .field("elapsed", &self.elapsed)
            .field("oldest", &format_args!("[{}]", Names(&self.requests)))
            .finish_non_exhaustive()
    }
}

impl Error for TimedOut {}
