//! `force_on` ends every wait at once.

use std::future::{poll_fn, ready};
use std::task::Poll;

use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;

/// A shutdown that has just started, and its force.
fn forcible<S>(
    drain: &Drain,
    lame_duck: Duration,
    server: S,
) -> (Spawn<impl Future<Output = Outcome>>, SendSignal)
where
    S: Future<Output = io::Result<()>>,
{
    let (force, send) = signal();
    let shutdown = Shutdown::new(drain, ready(Signal::Terminate)).lame_duck(lame_duck);
    let shutdown = shutdown.closing(SECOND);
    let mut run = task::spawn(shutdown.force_on(force).run(|_| server));
    assert_pending!(run.poll());
    (run, send)
}

#[tokio::test(start_paused = true)]
async fn it_ends_the_lame_duck_and_closes() {
    let drain = Drain::new();
    let (mut run, force) = forcible(&drain, 10 * SECOND, endless());
    assert_eq!(drain.phase(), Phase::LameDuck);
    force.send(Signal::Interrupt).unwrap();
    assert!(run.is_woken());
    // Nothing is in flight: time to send the last bytes.
    assert_eq!(time_to_end(&mut run).await, SECOND / 10);
    assert!(drain.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn it_ends_closing() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let (mut run, force) = forcible(&drain, Duration::ZERO, endless());
    assert_eq!(drain.phase(), Phase::Closing);
    force.send(Signal::Interrupt).unwrap();
    assert!(run.is_woken());
    assert_ready_err!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining);
}

#[tokio::test(start_paused = true)]
async fn it_ends_the_wait_for_requests() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let (mut run, force) = forcible(&drain, Duration::ZERO, until_drained(drain.clone()));
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining);
    force.send(Signal::Interrupt).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert_eq!(
        error.to_string(),
        "forced to stop: 1 still in flight after 2.0s"
    );
    assert!(matches!(error, ShutdownError::Forced(left) if left.in_flight() == 1));
}

#[tokio::test(start_paused = true)]
async fn it_ends_the_wait_for_the_server() {
    let drain = Drain::new();
    let (mut run, force) = forcible(&drain, Duration::ZERO, endless());
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Drained);
    force.send(Signal::Terminate).unwrap();
    assert_eq!(time_to_end(&mut run).await, SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn it_cancels_tracked_requests() {
    let drain = Drain::new();
    let mut stuck = stuck(&drain);
    let (mut run, force) = forcible(&drain, Duration::ZERO, until_drained(drain.clone()));
    force.send(Signal::Terminate).unwrap();
    assert_pending!(run.poll());
    assert!(stuck.is_woken());
    drop(assert_ready_ok!(stuck.poll()));
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Forced(left) if left.requests().len() == 1));
}

#[tokio::test(start_paused = true)]
async fn after_the_deadline_it_cuts_the_grace_short() {
    let drain = Drain::new();
    let _stuck = stuck(&drain);
    let (mut run, force) = forcible(&drain, Duration::ZERO, until_drained(drain.clone()));
    advance(30 * SECOND).await;
    assert_pending!(run.poll());
    assert_pending!(run.poll());
    force.send(Signal::Terminate).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::TimedOut(_)));
}

#[tokio::test(start_paused = true)]
async fn it_takes_effect_once_the_shutdown_has_started() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let (on, terminate) = signal();
    let shutdown = Shutdown::new(&drain, on).force_on(ready("any output"));
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Serving);
    terminate.send(Signal::Terminate).unwrap();
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Forced(_)));
}

/// Otherwise it might miss a reaction to the first effect of the shutdown.
#[tokio::test(start_paused = true)]
async fn it_is_polled_before_the_shutdown_has_a_visible_effect() {
    for longest in [Duration::ZERO, SECOND] {
        let drain = Drain::new();
        let mut seen_by_force = Vec::new();
        let force = poll_fn(|_| {
            seen_by_force.push(drain.phase());
            Poll::<()>::Pending
        });
        let shutdown = Shutdown::new(&drain, ready(Signal::Terminate)).lame_duck(longest);
        assert_pending!(task::spawn(shutdown.force_on(force).run(|_| endless())).poll());
        assert!(drain.phase() > Phase::Serving);
        assert_eq!(seen_by_force[0], Phase::Serving);
    }
}
