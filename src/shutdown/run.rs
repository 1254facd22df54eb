use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::error::ShutdownError;
use super::events;
use super::lame_duck::lame_duck;
use super::plan::Plan;
use super::trigger::Signal;
use crate::drain::{Drain, Phase, Reached, Report, TimedOut};

pin_project! {
    /// The future of [`Shutdown::run`](crate::Shutdown::run): a server, and its way out.
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any time, and the server is dropped with it. A lame duck or a drain that has
    /// begun goes on. Polled after it is done, it stays pending.
    #[must_use = "nothing is served unless this is awaited"]
    #[project = Project]
    pub struct Run<S, E, O, F> {
        #[pin]
        server: Option<S>,
        // How the server ended.
        ended: Option<Result<(), E>>,
        #[pin]
        on: O,
        #[pin]
        force: F,
        // Has resolved, and is not to be polled again.
        forced: bool,
        drain: Drain,
        // The start of the drain, and from then on its end.
        #[pin]
        reached: Reached,
        plan: Plan,
        stage: Stage,
        // What a stage waits for besides.
        #[pin]
        timer: Option<Sleep>,
    }
}

/// Each has a method of its name below.
enum Stage {
    Serving,
    LameDuck(LameDuck),
    Draining(Draining),
    /// Late already, and those that have been cancelled are being told.
    Parting(Late, Instant),
    Over(Result<Report, Late>),
    /// And that has been said.
    Done,
}

struct LameDuck {
    since: Instant,
    over: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Two things have to end: the requests, which make the report, and the server.
struct Draining {
    since: Instant,
    deadline: Option<Instant>,
    progress: Option<Instant>,
    requests: Option<Report>,
    server: Option<Duration>,
}

struct Late {
    left: TimedOut,
    forced: bool,
}

enum Step {
    /// Go on with this.
    Next(Stage),
    /// It is still this, whose waits will wake the task.
    Wait(Stage),
}

/// How long the server has, once the requests that were left have been cancelled, to put the answers on
/// the wire and to close.
const PARTING: Duration = Duration::from_secs(1);

// === impl Run ===

impl<S, E, O, F> Run<S, E, O, F> {
    pub(super) fn new(drain: Drain, plan: Plan, on: O, force: F, server: S) -> Self {
        Self {
            server: Some(server),
            ended: None,
            on,
            force,
            forced: false,
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
        loop {
            let step = match mem::replace(this.stage, Stage::Done) {
                Stage::Serving => this.serving(cx),
                Stage::LameDuck(lame_duck) => this.lame_duck(lame_duck, cx),
                Stage::Draining(draining) => this.draining(draining, cx),
                Stage::Parting(late, until) => this.parting(late, until, cx),
                Stage::Over(outcome) => return Poll::Ready(this.over(outcome)),
                Stage::Done => return Poll::Pending,
            };
            match step {
                Step::Next(stage) => {
                    this.timer.set(None);
                    *this.stage = stage;
                }
                Step::Wait(stage) => {
                    *this.stage = stage;
                    return Poll::Pending;
                }
            }
        }
    }
}

impl<S, E, O, F> Project<'_, S, E, O, F>
where
    S: Future<Output = Result<(), E>>,
    O: Future<Output = Signal>,
    F: Future<Output = Signal>,
{
    fn serving(&mut self, cx: &mut Context<'_>) -> Step {
        // Before the server, so that whoever is to start the shutdown is listened to when the first
        // request comes in.
        let signal = self.on.as_mut().poll(cx);
        let closing = self.is_closing(cx);
        if signal.is_pending() && !closing {
            return Step::Wait(Stage::Serving);
        }
        // Before anyone can see that it has started: whoever does may force it, and be heard.
        self.poll_force(cx);
        if let Poll::Ready(signal) = signal {
            events::signalled(signal);
            if signal == Signal::Terminate && !closing && !self.plan.lame_duck.is_zero() {
                return self.announce();
            }
        }
        self.start()
    }

    fn announce(&mut self) -> Step {
        self.drain.lame_duck();
        let since = Instant::now();
        let longest = since.checked_add(self.plan.lame_duck);
        self.drain.set_end(Phase::LameDuck, longest);
        let over = Box::pin(lame_duck(self.drain.clone(), *self.plan, longest));
        Step::Next(Stage::LameDuck(LameDuck { since, over }))
    }

    fn lame_duck(&mut self, mut lame_duck: LameDuck, cx: &mut Context<'_>) -> Step {
        let closing = self.is_closing(cx);
        if self.poll_force(cx) {
            self.close();
            return self.give_up(lame_duck.since, true);
        }
        if closing || lame_duck.over.as_mut().poll(cx).is_ready() {
            return self.start();
        }
        Step::Wait(Stage::LameDuck(lame_duck))
    }

    fn draining(&mut self, mut draining: Draining, cx: &mut Context<'_>) -> Step {
        self.poll_server(cx);
        if self.reached.as_mut().poll(cx).is_ready() {
            draining.requests_left(self.drain);
        }
        if self.ended.is_some() {
            draining.server_ended();
        }
        if let Some(report) = draining.report(self.drain) {
            return Step::Next(Stage::Over(Ok(report)));
        }
        let forced = self.poll_force(cx);
        // A timer resolves milliseconds; a time that is up is not to wait for one.
        if forced || draining.is_late() {
            return self.give_up(draining.since, forced);
        }
        if self.poll_timer(draining.next_alarm(), cx).is_ready() {
            draining.tell_progress(self.drain);
            return Step::Next(Stage::Draining(draining));
        }
        Step::Wait(Stage::Draining(draining))
    }

    fn parting(&mut self, late: Late, until: Instant, cx: &mut Context<'_>) -> Step {
        self.poll_server(cx);
        let ended = self.ended.is_some() && self.reached.as_mut().poll(cx).is_ready();
        // Once forced there is nothing more to force.
        let forced = !late.forced && self.poll_force(cx);
        if ended || forced || self.poll_timer(Some(until), cx).is_ready() {
            return Step::Next(Stage::Over(Err(late)));
        }
        Step::Wait(Stage::Parting(late, until))
    }

    fn over(&mut self, outcome: Result<Report, Late>) -> Result<Report, ShutdownError<E>> {
        let outcome = match (self.ended.take(), outcome) {
            (Some(Err(error)), _) => Err(ShutdownError::Server(error)),
            (_, Ok(report)) => Ok(report),
            (_, Err(late)) if late.forced => Err(ShutdownError::Forced(late.left)),
            (_, Err(late)) => Err(ShutdownError::TimedOut(late.left)),
        };
        events::over(&outcome);
        outcome
    }

    fn close(&mut self) {
        self.drain.start();
        self.reached.set(self.drain.drained());
    }

    fn start(&mut self) -> Step {
        self.close();
        let draining = Draining::new(self.plan.timeout);
        self.drain.set_end(Phase::Draining, draining.deadline);
        Step::Next(Stage::Draining(draining))
    }

    /// Cancels what can be, and leaves a moment for it.
    fn give_up(&mut self, since: Instant, forced: bool) -> Step {
        // Before, so that they are counted and named as they were.
        let left = TimedOut::of(self.drain, since);
        events::late(&left, forced);
        let late = Late { left, forced };
        Step::Next(match self.drain.cancel() {
            0 => Stage::Over(Err(late)),
            _ => Stage::Parting(late, Instant::now() + PARTING),
        })
    }

    /// Polls the server, which is what serves the requests, so in every stage.
    fn poll_server(&mut self, cx: &mut Context<'_>) {
        if let Some(server) = self.server.as_mut().as_pin_mut() {
            if let Poll::Ready(ended) = server.poll(cx) {
                self.server.set(None);
                *self.ended = Some(ended);
            }
        }
    }

    /// Whether the drain has to start, or has: the server has ended, or another handle started it.
    fn is_closing(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_server(cx);
        self.ended.is_some() || self.reached.as_mut().poll(cx).is_ready()
    }

    fn poll_force(&mut self, cx: &mut Context<'_>) -> bool {
        *self.forced = *self.forced || self.force.as_mut().poll(cx).is_ready();
        *self.forced
    }

    fn poll_timer(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else {
            return Poll::Pending;
        };
        if self.timer.is_none() {
            self.timer.set(Some(sleep_until(at)));
        }
        if let Some(timer) = self.timer.as_mut().as_pin_mut() {
            ready!(timer.poll(cx));
        }
        self.timer.set(None);
        Poll::Ready(())
    }
}

// === impl Draining ===

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
    fn report(&mut self, drain: &Drain) -> Option<Report> {
        let server = self.server?;
        Some(self.requests.take()?.with_server(drain, server))
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
        if self.progress.is_some_and(|at| at <= now) {
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
