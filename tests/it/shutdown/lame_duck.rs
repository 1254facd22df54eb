//! The end of a lame duck: each combination of conditions, and the maximum.

use std::future::ready;

use tokio_test::{assert_pending, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;
use crate::support::Hello;

type Plan = Shutdown<std::future::Ready<Signal>>;

/// One failed probe of a load balancer.
fn probe(drain: &Drain) {
    assert_ready_ok!(task::spawn(drain.readiness().call(get("/readyz"))).poll());
}

/// One request, answered and done.
fn request(drain: &Drain) {
    let mut service = drain.layer().layer(Hello);
    assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
}

/// A shutdown that has just started, with a lame duck of ten seconds and what `plan` adds.
fn lame_duck(
    drain: &Drain,
    plan: impl FnOnce(Plan) -> Plan,
) -> Spawn<impl Future<Output = Outcome>> {
    let shutdown = plan(Shutdown::new(drain, ready(Signal::Terminate)).lame_duck(10 * SECOND));
    let mut run = task::spawn(shutdown.run(idle));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    run
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_lasts_for_its_maximum_when_nothing_ends_it_early() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown);
    for _ in 0..5 {
        probe(&drain);
    }
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_period_ends_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet_period(2 * SECOND));
    assert_eq!(time_to_end(&mut run).await, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn each_request_restarts_the_quiet_period() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet_period(2 * SECOND));
    for _ in 0..3 {
        advance(SECOND + SECOND / 2).await;
        assert_pending!(run.poll());
        request(&drain);
    }
    advance(2 * SECOND - SECOND / 1_000).await;
    assert_pending!(run.poll());
    advance(SECOND / 1_000).await;
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn the_last_request_counts_whichever_thread_served_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet_period(2 * SECOND));
    advance(SECOND).await;
    request(&drain);
    let now = Instant::now();
    // An older arrival, recorded later in another shard, does not replace it.
    let other = drain.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(async { request(&other) });
    })
    .join()
    .unwrap();
    assert_eq!(Instant::now(), now);
    advance(2 * SECOND - SECOND / 1_000).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
}

/// The clocks of tests differ, and arrivals are recorded on any of them.
#[test]
fn requests_count_on_any_clock() {
    for ahead in [Duration::ZERO, 36_000 * SECOND, SECOND] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        runtime.unwrap().block_on(async {
            advance(ahead).await;
            let drain = Drain::new();
            let mut run = lame_duck(&drain, |shutdown| shutdown.quiet_period(SECOND));
            advance(SECOND - SECOND / 10).await;
            request(&drain);
            assert_eq!(time_to_end(&mut run).await, SECOND);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn running_requests_jobs_and_exempt_requests_are_quiet() {
    let drain = Drain::new();
    let response = {
        let mut service = drain.layer().layer(Hello);
        assert_ready_ok!(task::spawn(service.call(get("/"))).poll())
    };
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet_period(2 * SECOND));
    advance(SECOND).await;
    let job = drain.try_acquire().unwrap();
    let exempt = drain.layer().exempt(|_: &http::Request<Body>| true);
    assert_ready_ok!(task::spawn(exempt.layer(Hello).call(get("/metrics"))).poll());
    advance(SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining, "the server has ended");
    drop((response, job));
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn without_a_quiet_period_the_maximum_bounds_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.quiet_period(2 * SECOND));
    for _ in 0..9 {
        advance(SECOND).await;
        request(&drain);
        assert_pending!(run.poll());
    }
    assert_eq!(time_to_end(&mut run).await, SECOND);
}

#[tokio::test(start_paused = true)]
async fn failed_probes_end_it() {
    let drain = Drain::new();
    probe(&drain); // A 200, which does not count.
    let mut run = lame_duck(&drain, |shutdown| shutdown.min_failed_probes(3));
    advance(SECOND).await;
    probe(&drain);
    drain.record_failed_probe();
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(SECOND).await;
    probe(&drain);
    assert!(run.is_woken());
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn without_enough_failed_probes_the_maximum_bounds_it() {
    let drain = Drain::new();
    let mut run = lame_duck(&drain, |shutdown| shutdown.min_failed_probes(2));
    probe(&drain);
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn both_conditions_must_hold_if_the_probes_come_last() {
    let drain = Drain::new();
    let both = |shutdown: Plan| shutdown.min_failed_probes(1).quiet_period(2 * SECOND);
    let mut run = lame_duck(&drain, both);
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    probe(&drain);
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn both_conditions_must_hold_if_the_quiet_period_comes_last() {
    let drain = Drain::new();
    let both = |shutdown: Plan| shutdown.min_failed_probes(1).quiet_period(2 * SECOND);
    let mut run = lame_duck(&drain, both);
    advance(SECOND).await;
    probe(&drain);
    request(&drain);
    assert_eq!(time_to_end(&mut run).await, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn with_both_conditions_the_maximum_bounds_it() {
    let drain = Drain::new();
    let both = |shutdown: Plan| shutdown.min_failed_probes(1).quiet_period(2 * SECOND);
    let mut run = lame_duck(&drain, both);
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
}

// A lame duck that began before the signal, for example in a preStop hook or a warm-up.

#[tokio::test(start_paused = true)]
async fn the_maximum_counts_from_the_beginning_of_the_lame_duck() {
    let drain = Drain::new();
    drain.lame_duck();
    advance(7 * SECOND).await;
    let mut run = lame_duck(&drain, |shutdown| shutdown);
    assert_eq!(time_to_end(&mut run).await, 3 * SECOND);

    let drain = Drain::new();
    drain.lame_duck();
    advance(60 * SECOND).await;
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(10 * SECOND);
    let report = assert_ready_ok!(task::spawn(shutdown.run(idle)).poll());
    assert_eq!(report.lame_duck(), Duration::ZERO, "from the signal");
}

#[tokio::test(start_paused = true)]
async fn its_probes_and_its_quiet_period_count_too() {
    let drain = Drain::new();
    drain.lame_duck();
    probe(&drain);
    advance(5 * SECOND).await;
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(10 * SECOND);
    let shutdown = shutdown.min_failed_probes(1).quiet_period(2 * SECOND);
    assert_ready_ok!(task::spawn(shutdown.run(idle)).poll());
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_was_left_counts_nothing() {
    let drain = Drain::new();
    drain.lame_duck();
    probe(&drain);
    advance(5 * SECOND).await;
    assert!(drain.resume());
    let both = |shutdown: Plan| shutdown.min_failed_probes(1).quiet_period(2 * SECOND);
    let mut run = lame_duck(&drain, both);
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    probe(&drain);
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_has_started_is_not_taken_back() {
    let drain = Drain::new();
    drain.lame_duck();
    let (on, terminate) = signal();
    let shutdown = Shutdown::new(&drain, on).lame_duck(10 * SECOND);
    let mut run = task::spawn(shutdown.run(idle));
    assert_pending!(run.poll());
    assert!(drain.resume(), "the shutdown has not started");
    drain.lame_duck();
    terminate.send(Signal::Terminate).unwrap();
    assert_pending!(run.poll());
    assert!(!drain.resume());
    assert_eq!(drain.phase(), Phase::LameDuck);
    drop(run);
    assert!(!drain.resume(), "not even once the shutdown is dropped");
}

#[tokio::test(start_paused = true)]
async fn closing_or_draining_by_hand_ends_it() {
    for step in [Drain::close, Drain::start_draining] {
        let drain = Drain::new();
        let mut run = lame_duck(&drain, |shutdown| shutdown);
        step(&drain);
        assert!(run.is_woken());
        assert_ready_ok!(run.poll());
    }
}
