use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::builder::Plan;
use super::error::ShutdownError;
use super::events;
use super::lame_duck::lame_duck;
use super::trigger::Signal;
use crate::drain::{Drain, Reached, Report, TimedOut};

pin_project! {
    /// The future of [`Shutdown::run`](crate::Shutdown::run): a server, and its way out.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, and the server is dropped with it. A lame duck or a drain that has
    /// begun goes on. Polled after it is done, it stays pending.
    #[must_use = "nothing is served unless this is awaited"]
    pub struct Run<S, E, O, F> {
        #[pin]
        server: Option<S>,
        // How the server ended.
        ended: Option<Result<(), E>>,
        #[pin]
        on: O,
        #[pin]
        force: F,
        drain: Drain,
        // The start of the drain, and from then on its end.
        #[pin]
        reached: Reached,
        plan: Plan,
        stage: Stage,
        // While draining, for the deadline and the progress.
        #[pin]
        timer: Option<Sleep>,
    }
}

enum Stage {
    Serving,
    LameDuck {
        since: Instant,
        over: Pin<Box<dyn Future<Output = ()> + Send>>,
    },
    Draining(Draining),
    Done,
}

/// Two things have to end: the requests, which make the report, and the server.
struct Draining {
    since: Instant,
    deadline: Option<Instant>,
    progress: Option<Instant>,
    requests: Option<Report>,
    server: Option<Duration>,
}

impl<S, E, O, F> Run<S, E, O, F> {
    pub(super) fn new(drain: Drain, plan: Plan, on: O, force: F, server: S) -> Self {
        Self {
            server: Some(server),
            ended: None,
            on,
            force,
            reached: drain.draining(),
            drain,
            plan,
            stage: Stage::Serving,
            timer: None,
        }
    }
}

impl<S, E, O, F> Future for Run<S, E, O, F>
where
    S: Future<Output = Result<(), E>>,
    O: Future<Output = Signal>,
    F: Future<Output = Signal>,
{
    type Output = Result<Report, ShutdownError<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Before the server, so that whoever is to start the shutdown is listened to when the first
        // request comes in.
        let signal = match this.stage {
            Stage::Serving => this.on.poll(cx),
            _ => Poll::Pending,
        };
        let outcome = loop {
            // In every stage, for it is what serves the requests.
            if let Some(server) = this.server.as_mut().as_pin_mut() {
                if let Poll::Ready(ended) = server.poll(cx) {
                    this.server.set(None);
                    *this.ended = Some(ended);
                }
            }
            match this.stage {
                Stage::Serving => {
                    // By the server's end, or by another handle of the drain.
                    let drains = this.ended.is_some() || this.reached.as_mut().poll(cx).is_ready();
                    if !drains {
                        let signal = ready!(signal);
                        events::signalled(signal);
                        if signal == Signal::Terminate && !this.plan.lame_duck.is_zero() {
                            this.drain.lame_duck();
                            *this.stage = Stage::LameDuck {
                                since: Instant::now(),
                                over: Box::pin(lame_duck(this.drain.clone(), *this.plan)),
                            };
                            continue;
                        }
                    }
                }
                Stage::LameDuck { since, over } => {
                    if this.force.as_mut().poll(cx).is_ready() {
                        this.drain.start();
                        let left = TimedOut::of(this.drain, *since);
                        break Err(ShutdownError::Forced(left));
                    }
                    let drains = this.ended.is_some() || this.reached.as_mut().poll(cx).is_ready();
                    if !drains {
                        ready!(over.as_mut().poll(cx));
                    }
                }
                Stage::Draining(draining) => {
                    if this.reached.as_mut().poll(cx).is_ready() {
                        draining.requests_left(this.drain);
                    }
                    if this.ended.is_some() {
                        draining.server_ended();
                    }
                    if let Some(report) = draining.report() {
                        break Ok(report);
                    }
                    if this.force.as_mut().poll(cx).is_ready() {
                        let left = TimedOut::of(this.drain, draining.since);
                        break Err(ShutdownError::Forced(left));
                    }
                    // A timer resolves milliseconds; a time that is up is not to wait for one.
                    if draining.is_late() {
                        let late = TimedOut::of(this.drain, draining.since);
                        break Err(ShutdownError::TimedOut(late));
                    }
                    let Some(alarm) = draining.next_alarm() else {
                        return Poll::Pending;
                    };
                    if this.timer.is_none() {
                        this.timer.set(Some(sleep_until(alarm)));
                    }
                    if let Some(timer) = this.timer.as_mut().as_pin_mut() {
                        ready!(timer.poll(cx));
                        this.timer.set(None);
                    }
                    draining.tell_progress(this.drain);
                    continue;
                }
                Stage::Done => return Poll::Pending,
            }
            // All other ways lead here.
            this.drain.start();
            this.reached.set(this.drain.drained());
            *this.stage = Stage::Draining(Draining::new(this.plan.timeout));
        };
        *this.stage = Stage::Done;
        let outcome = match this.ended.take() {
            Some(Err(error)) => Err(ShutdownError::Server(error)),
            _ => outcome,
        };
        events::ended(&outcome);
        Poll::Ready(outcome)
    }
}

impl Draining {
    fn new(timeout: Duration) -> Self {
        let since = Instant::now();
        Self {
            since,
            deadline: since.checked_add(timeout),
            progress: events::PROGRESS.map(|every| since + every),
            requests: None,
            server: None,
        }
    }

    fn requests_left(&mut self, drain: &Drain) {
        self.requests
            .get_or_insert_with(|| Report::of(drain, self.since));
    }

    fn server_ended(&mut self) {
        self.server.get_or_insert_with(|| self.since.elapsed());
    }

    /// Once both have ended.
    fn report(&mut self) -> Option<Report> {
        let server = self.server?;
        Some(self.requests.take()?.with_server(server))
    }

    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|at| at <= Instant::now())
    }

    /// The deadline, or the time to tell how it comes along.
    fn next_alarm(&self) -> Option<Instant> {
        self.deadline.into_iter().chain(self.progress).min()
    }

    fn tell_progress(&mut self, drain: &Drain) {
        let now = Instant::now();
        if self.progress.is_some_and(|at| at <= now) && !self.is_late() {
            events::progress(drain, self.since, self.deadline);
            self.progress = events::PROGRESS.map(|every| now + every);
        }
    }
}

impl<S, E, O, F> fmt::Debug for Run<S, E, O, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("drain", &self.drain)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
