//! The shutdown sequence, step by step on a paused clock, with servers that a test ends by hand.

use std::error::Error;
use std::future::{pending, poll_fn, ready};
use std::io;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, advance};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower::{Layer, Service};
use tower_drain::{Drain, Phase, Shutdown, ShutdownError, Signal};

use crate::support::{Body, Hello, get};

const SECOND: Duration = Duration::from_secs(1);

type Ends = oneshot::Sender<io::Result<()>>;
type Signals = oneshot::Sender<Signal>;

/// A server that ends when the test says so, and how.
fn server() -> (impl Future<Output = io::Result<()>>, Ends) {
    let (ends, ended) = oneshot::channel();
    (async { ended.await.unwrap() }, ends)
}

/// A signal that comes when the test sends it.
fn signal() -> (impl Future<Output = Signal>, Signals) {
    let (sends, sent) = oneshot::channel();
    (async { sent.await.unwrap() }, sends)
}

/// A server that ends as soon as the drain has started, as one without connections does.
async fn idle(drain: Drain) -> io::Result<()> {
    drain.draining().await;
    Ok(())
}

/// One probe of a balancer.
fn probe(drain: &Drain) {
    assert_ready_ok!(task::spawn(drain.readiness().call(get("/readyz"))).poll());
}

/// One request of a client, answered and done.
fn request(drain: &Drain) {
    let mut service = drain.layer().layer(Hello);
    assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
}

/// A shutdown that has just had SIGTERM, with a lame duck of ten seconds and what `plan` adds.
fn lame_duck(
    drain: &Drain,
    plan: impl FnOnce(Shutdown) -> Shutdown,
) -> Spawn<impl Future<Output = Result<tower_drain::Report, ShutdownError<io::Error>>>> {
    let shutdown = plan(Shutdown::new(drain).lame_duck(10 * SECOND));
    let run = shutdown
        .on(ready(Signal::Terminate))
        .force(pending())
        .run(idle(drain.clone()));
    let mut run = task::spawn(run);
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    run
}

/// Lets time pass, in steps that leave no timer out, and says how much of it passed until the end.
async fn time_to_end<F: Future<Output: std::fmt::Debug>>(run: &mut Spawn<F>) -> Duration {
    let start = Instant::now();
    while run.poll().is_pending() {
        assert!(start.elapsed() < 100 * SECOND, "it never ends");
        advance(SECOND / 10).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn from_the_signal_to_the_report() {
    let drain = Drain::new();
    let permit = drain.try_enter().unwrap();
    let ((on, term), (server, ends)) = (signal(), server());
    let shutdown = Shutdown::new(&drain)
        .on(on)
        .force(pending())
        .lame_duck(5 * SECOND);
    let mut run = task::spawn(shutdown.run(server));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Serving);

    term.send(Signal::Terminate).unwrap();
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(4 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(SECOND).await;
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining);

    advance(2 * SECOND).await;
    drop(permit);
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Drained);
    advance(SECOND).await;
    for _ in 0..2 {
        drain.try_enter().unwrap_err();
    }
    ends.send(Ok(())).unwrap();
    assert!(run.is_woken());
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.in_flight_at_start(), 1);
    assert_eq!(report.refused(), 2, "until the server had closed");
    assert_eq!(report.elapsed(), 2 * SECOND, "until the requests had left");
    assert_eq!(report.server_elapsed(), Some(3 * SECOND));
    assert_pending!(run.poll(), "done, and polled again");
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_skips_the_lame_duck() {
    let drain = Drain::new();
    let _permit = drain.try_enter().unwrap();
    let shutdown = Shutdown::new(&drain).lame_duck(5 * SECOND);
    let run = shutdown
        .on(ready(Signal::Interrupt))
        .run(idle(drain.clone()));
    assert_pending!(task::spawn(run).poll());
    assert_eq!(drain.phase(), Phase::Draining);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_lame_duck_unless_asked_for() {
    let drain = Drain::new();
    let _permit = drain.try_enter().unwrap();
    // Without a lame duck there is none to leave early.
    let shutdown = Shutdown::new(&drain).probes(3).quiet(SECOND);
    let run = shutdown
        .on(ready(Signal::Terminate))
        .run(idle(drain.clone()));
    assert_pending!(task::spawn(run).poll());
    assert_eq!(drain.phase(), Phase::Draining);
}

// What ends a lame duck: each combination of `quiet` and `probes`, and the bound.

#[tokio::test(start_paused = true)]
async fn a_lame_duck_takes_its_longest_when_nothing_ends_it_early() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown);
    for _ in 0..5 {
        probe(&drain);
    }
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn quiet_alone_ends_it_when_nobody_has_come_for_so_long() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet(2 * SECOND));
    assert_eq!(time_to_end(&mut run).await, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_request_begins_the_quiet_anew() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet(2 * SECOND));
    for _ in 0..3 {
        advance(SECOND + SECOND / 2).await;
        assert_pending!(run.poll());
        request(&drain);
    }
    advance(2 * SECOND - Duration::from_millis(1)).await;
    assert_pending!(run.poll());
    advance(Duration::from_millis(1)).await;
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn requests_that_go_on_do_not_keep_it_from_being_quiet_nor_do_jobs() {
    let drain = Drain::new();
    let response = {
        let mut service = drain.layer().layer(Hello);
        assert_ready_ok!(task::spawn(service.call(get("/"))).poll())
    };
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet(2 * SECOND));
    advance(SECOND).await;
    let job = drain.try_enter().unwrap();
    let exempt = drain.layer().exempt(|_: &http::Request<Body>| true);
    assert_ready_ok!(task::spawn(exempt.layer(Hello).call(get("/metrics"))).poll());
    advance(SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining);
    drop((response, job));
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn without_quiet_the_longest_bounds_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet(2 * SECOND));
    for _ in 0..9 {
        advance(SECOND).await;
        request(&drain);
        assert_pending!(run.poll());
    }
    assert_eq!(time_to_end(&mut run).await, SECOND);
}

#[tokio::test(start_paused = true)]
async fn probes_alone_end_it_upon_the_last_of_them() {
    let drain = Drain::new();
    probe(&drain); // A 200, which does not count.
    let mut run = lame_duck(&drain, |shutdown| shutdown.probes(2));
    advance(SECOND).await;
    probe(&drain);
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(SECOND).await;
    probe(&drain);
    assert!(run.is_woken());
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn without_probes_the_longest_bounds_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.probes(2));
    probe(&drain);
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn both_have_to_come_true_the_probes_last() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.probes(1).quiet(2 * SECOND));
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    probe(&drain);
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn both_have_to_come_true_the_quiet_last() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.probes(1).quiet(2 * SECOND));
    advance(SECOND).await;
    probe(&drain);
    request(&drain);
    assert_eq!(time_to_end(&mut run).await, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn with_both_the_longest_bounds_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.probes(1).quiet(2 * SECOND));
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_began_before_the_signal_counts() {
    let drain = Drain::new();
    drain.lame_duck();
    probe(&drain);
    advance(5 * SECOND).await;
    let shutdown = Shutdown::new(&drain)
        .on(ready(Signal::Terminate))
        .lame_duck(10 * SECOND)
        .probes(1)
        .quiet(2 * SECOND);
    assert_ready_ok!(task::spawn(shutdown.run(idle(drain.clone()))).poll());
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_taken_back_forgets_its_probes_and_its_quiet() {
    let drain = Drain::new();
    drain.lame_duck();
    probe(&drain);
    advance(5 * SECOND).await;
    drain.resume();
    let mut run = lame_duck(&drain, |shutdown| shutdown.probes(1).quiet(2 * SECOND));
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    probe(&drain);
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn resuming_does_not_call_a_shutdown_off() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet(SECOND));
    drain.resume();
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
    assert_eq!(drain.phase(), Phase::Drained);
}

#[tokio::test(start_paused = true)]
async fn starting_the_drain_by_hand_ends_the_lame_duck() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown);
    drain.start();
    assert!(run.is_woken());
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn enormous_times_are_no_bounds() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain)
        .lame_duck(Duration::MAX)
        .quiet(Duration::MAX)
        .timeout(Duration::MAX)
        .on(ready(Signal::Terminate));
    let mut run = task::spawn(shutdown.run(idle(drain.clone())));
    let permit = drain.try_enter().unwrap();
    assert_pending!(run.poll());
    advance(1_000 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    drain.start();
    assert_pending!(run.poll());
    advance(1_000 * SECOND).await;
    assert_pending!(run.poll());
    drop(permit);
    assert_ready_ok!(run.poll());
}

// The two that can be late.

#[tokio::test(start_paused = true)]
async fn requests_that_are_late_are_counted() {
    let drain = Drain::new();
    let _permits = [(); 2].map(|()| drain.try_enter().unwrap());
    let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
    let run = shutdown.on(ready(Signal::Interrupt)).force(pending());
    let error = run.run(idle(drain.clone())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "drain timed out after 5.0s: 2 still in flight"
    );
    let ShutdownError::TimedOut(timed_out) = error else {
        panic!("{error:?}");
    };
    assert_eq!(
        (timed_out.in_flight(), timed_out.elapsed()),
        (2, 5 * SECOND)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_late_is_told_from_requests_that_are() {
    let drain = Drain::new();
    let permit = drain.try_enter().unwrap();
    let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
    let run = shutdown.on(ready(Signal::Interrupt)).force(pending());
    let mut run = task::spawn(run.run(pending::<io::Result<()>>()));
    assert_pending!(run.poll());
    advance(3 * SECOND).await;
    drop(permit);
    assert_pending!(run.poll());
    advance(2 * SECOND).await;
    let error = assert_ready_err!(run.poll());
    assert_eq!(
        error.to_string(),
        "drain timed out after 5.0s: no request in flight, but connections still open"
    );
    assert!(matches!(error, ShutdownError::TimedOut(it) if it.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_takes_what_is_done_already() {
    let drain = Drain::new();
    let shutdown = || {
        let shutdown = Shutdown::new(&drain).timeout(Duration::ZERO);
        shutdown.on(ready(Signal::Interrupt)).force(pending())
    };
    assert_ready_ok!(task::spawn(shutdown().run(ready(io::Result::Ok(())))).poll());
    assert_ready_err!(task::spawn(shutdown().run(pending::<io::Result<()>>())).poll());
}

#[tokio::test(start_paused = true)]
async fn the_lame_duck_is_not_in_the_timeout() {
    let drain = Drain::new();
    let _permit = drain.try_enter().unwrap();
    let mut run = lame_duck(&drain, |shutdown| shutdown.timeout(5 * SECOND));
    assert_eq!(time_to_end(&mut run).await, 15 * SECOND);
}

// The second signal.

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_wait_for_requests() {
    let drain = Drain::new();
    let _permit = drain.try_enter().unwrap();
    let (force, again) = signal();
    let shutdown = Shutdown::new(&drain).on(ready(Signal::Terminate));
    let mut run = task::spawn(shutdown.force(force).run(idle(drain.clone())));
    assert_pending!(run.poll());
    advance(2 * SECOND).await;
    again.send(Signal::Interrupt).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert_eq!(
        error.to_string(),
        "forced to stop after 2.0s: 1 still in flight"
    );
    assert!(matches!(error, ShutdownError::Forced(it) if it.in_flight() == 1));
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_lame_duck_and_closes() {
    let drain = Drain::new();
    let (force, again) = signal();
    let shutdown = Shutdown::new(&drain).on(ready(Signal::Terminate));
    let shutdown = shutdown.force(force).lame_duck(10 * SECOND);
    let mut run = task::spawn(shutdown.run(idle(drain.clone())));
    assert_pending!(run.poll());
    again.send(Signal::Terminate).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Forced(_)));
    assert!(drain.try_enter().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_the_wait_for_the_server() {
    let drain = Drain::new();
    let (force, again) = signal();
    let shutdown = Shutdown::new(&drain).on(ready(Signal::Terminate));
    let mut run = task::spawn(shutdown.force(force).run(pending::<io::Result<()>>()));
    assert_pending!(run.poll());
    again.send(Signal::Terminate).unwrap();
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Forced(it) if it.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn what_forces_is_not_asked_before_the_shutdown_has_started() {
    let drain = Drain::new();
    let (on, term) = signal();
    let shutdown = Shutdown::new(&drain).on(on).force(ready(Signal::Terminate));
    let mut run = task::spawn(shutdown.run(pending::<io::Result<()>>()));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Serving);
    term.send(Signal::Terminate).unwrap();
    assert_ready_err!(run.poll());
}

/// Else a second signal from someone who reacts to the first one's effects could be missed.
#[tokio::test(start_paused = true)]
async fn what_forces_is_asked_before_anyone_can_see_that_it_has_started() {
    for longest in [Duration::ZERO, SECOND] {
        let drain = Drain::new();
        let mut seen_by_force = Vec::new();
        let force = poll_fn(|_| {
            seen_by_force.push(drain.phase());
            Poll::Pending
        });
        let shutdown = Shutdown::new(&drain).lame_duck(longest);
        let shutdown = shutdown.on(ready(Signal::Terminate)).force(force);
        assert_pending!(task::spawn(shutdown.run(pending::<io::Result<()>>())).poll());
        assert!(drain.phase() > Phase::Serving);
        assert_eq!(seen_by_force[0], Phase::Serving);
    }
}

// What is cancelled when it is late.

/// A request whose handler never answers, tracked.
fn stuck(
    drain: &Drain,
) -> Spawn<impl Future<Output = Result<http::Response<tower_drain::ResponseBody<Body>>, ()>>> {
    let inner = tower::service_fn(|_| pending::<Result<http::Response<Body>, ()>>());
    let mut service = drain.layer().track_requests().layer(inner);
    let mut response = task::spawn(service.call(get("/stuck")));
    assert_pending!(response.poll());
    response
}

/// A server that ends when nothing is in flight any more.
async fn drained(drain: Drain) -> io::Result<()> {
    drain.drained().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_tracked_requests_are_cancelled_and_the_server_ends_after_them() {
    let drain = Drain::new();
    let mut stuck = stuck(&drain);
    let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
    let shutdown = shutdown.on(ready(Signal::Terminate)).force(pending());
    let mut run = task::spawn(shutdown.run(drained(drain.clone())));
    assert_pending!(run.poll());
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    assert!(stuck.is_woken());
    let refusal = assert_ready_ok!(stuck.poll());
    assert_eq!(refusal.status(), http::StatusCode::SERVICE_UNAVAILABLE);
    drop(refusal);
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert_eq!(
        error.to_string(),
        "drain timed out after 5.0s: 1 still in flight: GET /stuck (handler, 5.0s)"
    );
}

#[tokio::test(start_paused = true)]
async fn those_cancelled_have_a_second_and_no_more() {
    let drain = Drain::new();
    // Its task does not run.
    let _stuck = stuck(&drain);
    let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
    let shutdown = shutdown.on(ready(Signal::Terminate)).force(pending());
    let mut run = task::spawn(shutdown.run(drained(drain.clone())));
    assert_eq!(time_to_end(&mut run).await, 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn that_second_ends_early_with_both_the_requests_and_the_server() {
    for server_first in [false, true] {
        let drain = Drain::new();
        let mut stuck = stuck(&drain);
        let (server, ends) = server();
        let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
        let shutdown = shutdown.on(ready(Signal::Terminate)).force(pending());
        let mut run = task::spawn(shutdown.run(server));
        assert_pending!(run.poll());
        advance(5 * SECOND).await;
        assert_pending!(run.poll());
        if server_first {
            ends.send(Ok(())).unwrap();
            assert_pending!(run.poll());
            drop(assert_ready_ok!(stuck.poll()));
        } else {
            drop(assert_ready_ok!(stuck.poll()));
            assert_pending!(run.poll());
            ends.send(Ok(())).unwrap();
        }
        assert!(run.is_woken());
        let error = assert_ready_err!(run.poll());
        assert!(matches!(error, ShutdownError::TimedOut(it) if it.in_flight() == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn without_anything_to_cancel_there_is_no_such_second() {
    let drain = Drain::new();
    let _job = drain.try_enter().unwrap();
    let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
    let shutdown = shutdown.on(ready(Signal::Terminate)).force(pending());
    let mut run = task::spawn(shutdown.run(drained(drain.clone())));
    assert_eq!(time_to_end(&mut run).await, 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_second_signal_cancels_too_and_cuts_the_second_short() {
    for late in [false, true] {
        let drain = Drain::new();
        let mut stuck = stuck(&drain);
        let (force, again) = signal();
        let shutdown = Shutdown::new(&drain).timeout(5 * SECOND);
        let shutdown = shutdown.on(ready(Signal::Terminate)).force(force);
        let mut run = task::spawn(shutdown.run(drained(drain.clone())));
        assert_pending!(run.poll());
        if late {
            advance(5 * SECOND).await;
            assert_pending!(run.poll());
        }
        again.send(Signal::Terminate).unwrap();
        assert!(run.is_woken());
        if late {
            let error = assert_ready_err!(run.poll());
            assert!(matches!(error, ShutdownError::TimedOut(_)));
        } else {
            assert_pending!(run.poll());
            assert!(stuck.is_woken());
            drop(assert_ready_ok!(stuck.poll()));
            let error = assert_ready_err!(run.poll());
            assert!(matches!(error, ShutdownError::Forced(it) if it.requests().len() == 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_status_says_how_long_a_lame_duck_can_last() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.timeout(5 * SECOND));
    advance(3 * SECOND).await;
    assert_eq!(drain.status().time_left(), Some(7 * SECOND));
    let _permit = drain.try_enter().unwrap();
    advance(7 * SECOND).await;
    assert_pending!(run.poll());
    advance(SECOND).await;
    assert_eq!(drain.status().time_left(), Some(4 * SECOND));
}

// A server that ends by itself.

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_by_itself_ends_it() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain).on(pending()).force(pending());
    let mut run = task::spawn(shutdown.run(ready(io::Result::Ok(()))));
    assert_ready_ok!(run.poll());
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn the_error_of_a_server_is_in_the_words_and_its_cause_is_the_cause() {
    let server = ShutdownError::Server(ShutdownError::Server(io::Error::other("broken")));
    assert_eq!(server.to_string(), "server failed: server failed: broken");
    assert!(server.source().is_none(), "all has been said");

    #[derive(Debug)]
    struct Caused(io::Error);
    impl std::fmt::Display for Caused {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no port")
        }
    }
    impl Error for Caused {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    let server = ShutdownError::Server(Caused(io::Error::other("taken")));
    assert_eq!(server.to_string(), "server failed: no port");
    assert_eq!(server.source().unwrap().to_string(), "taken");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_left_behind_is_waited_for() {
    for fails in [false, true] {
        let drain = Drain::new();
        let permit = drain.try_enter().unwrap();
        let (server, ends) = server();
        let shutdown = Shutdown::new(&drain).on(pending()).force(pending());
        let mut run = task::spawn(shutdown.lame_duck(SECOND).run(server));
        assert_pending!(run.poll());
        ends.send(match fails {
            false => Ok(()),
            true => Err(io::Error::other("no more files")),
        })
        .unwrap();
        assert_pending!(run.poll());
        assert_eq!(drain.phase(), Phase::Draining);
        drop(permit);
        let ended = assert_ready!(run.poll());
        match fails {
            false => assert_eq!(ended.unwrap().in_flight_at_start(), 1),
            true => {
                let error = ended.unwrap_err();
                assert_eq!(error.to_string(), "server failed: no more files");
                assert!(matches!(error, ShutdownError::Server(_)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_during_the_lame_duck_ends_it() {
    let drain = Drain::new();
    let (server, ends) = server();
    let shutdown = Shutdown::new(&drain).on(ready(Signal::Terminate));
    let mut run = task::spawn(shutdown.lame_duck(SECOND).run(server));
    assert_pending!(run.poll());
    ends.send(Err(io::Error::other("torn"))).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Server(_)));
}

#[tokio::test(start_paused = true)]
async fn another_handle_may_start_it_too() {
    let drain = Drain::new();
    let permit = drain.try_enter().unwrap();
    let shutdown = Shutdown::new(&drain).on(pending()).timeout(5 * SECOND);
    let mut run = task::spawn(shutdown.run(idle(drain.clone())));
    assert_pending!(run.poll());
    drain.start();
    assert!(run.is_woken());
    assert_pending!(run.poll());
    advance(3 * SECOND).await;
    drop(permit);
    assert!(run.is_woken());
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn dropping_it_drops_the_server_and_reopens_nothing() {
    let drain = Drain::new();
    let (server, ends) = server();
    let shutdown = Shutdown::new(&drain).on(ready(Signal::Terminate));
    let mut run = task::spawn(shutdown.run(server));
    assert_pending!(run.poll());
    drop(run);
    assert!(ends.is_closed());
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn nothing_takes_a_runtime_until_it_is_polled() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain).lame_duck(SECOND);
    let run = shutdown.run(ready(io::Result::Ok(())));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(run).unwrap();
}
