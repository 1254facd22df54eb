//! At the deadline, unfinished requests are named, cancelled, and given time to be answered.

use std::future::ready;

use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;

/// A shutdown that has just started, with a timeout of five seconds.
fn five_seconds<S>(drain: &Drain, server: S) -> Spawn<impl Future<Output = Outcome>>
where
    S: Future<Output = io::Result<()>>,
{
    let shutdown = Shutdown::new(drain, ready(Signal::Interrupt)).timeout(5 * SECOND);
    let mut run = task::spawn(shutdown.run(|_| server));
    assert_pending!(run.poll());
    run
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_late_are_counted() {
    let drain = Drain::new();
    let _permits = [(); 2].map(|()| drain.try_acquire().unwrap());
    let mut run = five_seconds(&drain, until_drained(drain.clone()));
    advance(5 * SECOND).await;
    let error = assert_ready_err!(run.poll());
    assert_eq!(
        error.to_string(),
        "drain timed out: 2 still in flight after 5.0s"
    );
    let ShutdownError::TimedOut(unfinished) = error else {
        panic!("{error:?}");
    };
    assert_eq!(unfinished.in_flight(), 2);
    assert_eq!(unfinished.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_closing_is_no_failure() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut run = five_seconds(&drain, endless());
    advance(3 * SECOND).await;
    drop(permit);
    assert_pending!(run.poll());
    advance(2 * SECOND).await;
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.drained_after(), 5 * SECOND, "closing lasts as long");
    assert_eq!(report.ended_after(), None);
}

#[tokio::test(start_paused = true)]
async fn tracked_requests_are_cancelled_and_the_server_ends_after_them() {
    let drain = Drain::new();
    let mut stuck = stuck(&drain);
    let mut run = five_seconds(&drain, until_drained(drain.clone()));
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
        "drain timed out: 1 still in flight after 5.0s: GET /stuck (handler, 5.0s)"
    );
}

#[tokio::test(start_paused = true)]
async fn cancelled_requests_have_one_second() {
    let drain = Drain::new();
    let _stuck = stuck(&drain);
    let mut run = five_seconds(&drain, until_drained(drain.clone()));
    assert_eq!(time_to_end(&mut run).await, 6 * SECOND);
}

/// At the deadline there is nothing left to cancel, but to answer.
#[tokio::test(start_paused = true)]
async fn requests_that_were_cancelled_just_before_have_it_too() {
    let drain = Drain::new();
    let _stuck = stuck(&drain);
    let mut run = five_seconds(&drain, until_drained(drain.clone()));
    advance(5 * SECOND).await;
    assert_eq!(drain.cancel(), 1);
    assert_eq!(time_to_end(&mut run).await, SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_grace_ends_with_the_server() {
    let drain = Drain::new();
    let mut stuck = stuck(&drain);
    let (server, end) = server();
    let mut run = five_seconds(&drain, server);
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    drop(assert_ready_ok!(stuck.poll()));
    assert_pending!(
        run.poll(),
        "the response is not sent before the server has ended"
    );
    end.send(Ok(())).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::TimedOut(left) if left.in_flight() == 1));
}

#[tokio::test(start_paused = true)]
async fn if_the_server_has_ended_the_grace_ends_with_the_requests() {
    let drain = Drain::new();
    let mut stuck = stuck(&drain);
    let mut run = five_seconds(&drain, async { Ok(()) });
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    drop(assert_ready_ok!(stuck.poll()));
    assert!(run.is_woken());
    assert_ready_err!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn with_nothing_to_cancel_there_is_no_grace() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let mut run = five_seconds(&drain, until_drained(drain.clone()));
    assert_eq!(time_to_end(&mut run).await, 5 * SECOND);
}

/// A request that ends when the server is polled for the last time before cancelling.
#[tokio::test(start_paused = true)]
async fn a_request_that_ends_between_count_and_cancel_is_answered() {
    let drain = Drain::new();
    let job = drain.try_acquire().unwrap();
    let stuck = stuck(&drain);
    // In practice this is another thread. Here it is the waker of a cancelled request.
    let waker = std::sync::Arc::new(DropsWhenWoken(std::sync::Mutex::new(Some(job))));
    let mut stuck = Box::pin(stuck.into_inner());
    let waker = std::task::Waker::from(waker);
    let cx = &mut std::task::Context::from_waker(&waker);
    assert!(stuck.as_mut().poll(cx).is_pending());
    let mut run = five_seconds(&drain, endless());
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.in_flight(), 1, "the job has ended meanwhile");
    assert_eq!(time_to_end(&mut run).await, SECOND);
}

struct DropsWhenWoken(std::sync::Mutex<Option<tower_drain::Permit>>);

impl std::task::Wake for DropsWhenWoken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.lock().unwrap().take();
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_succeeds_if_everything_is_done() {
    let drain = Drain::new();
    let shutdown = || {
        let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt));
        shutdown.timeout(Duration::ZERO).closing(Duration::ZERO)
    };
    assert_ready_ok!(task::spawn(shutdown().run(|_| async { io::Result::Ok(()) })).poll());
    // The server is polled once after `close`, so an idle server ends.
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt));
    let shutdown = shutdown.timeout(Duration::ZERO).closing(Duration::ZERO);
    assert_ready_ok!(task::spawn(shutdown.run(idle)).poll());
    assert_eq!(drain.phase(), Phase::Drained);

    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).timeout(Duration::ZERO);
    assert_ready_err!(task::spawn(shutdown.run(idle)).poll());
}

/// A busy runtime polls the shutdown late, or the server ends exactly at the deadline.
#[tokio::test(start_paused = true)]
async fn a_shutdown_in_time_is_not_late_if_it_is_polled_late() {
    let drain = Drain::new();
    let job = drain.try_acquire().unwrap();
    let mut run = five_seconds(&drain, until_drained(drain.clone()));
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    drop(job);
    advance(5 * SECOND).await;
    assert_ready_ok!(run.poll());

    let drain = Drain::new();
    let (server, end) = server();
    let mut run = five_seconds(&drain, server);
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    advance(3 * SECOND).await;
    end.send(Ok(())).unwrap();
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_may_end_closing() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(())).closing(60 * SECOND);
    let mut run = task::spawn(shutdown.timeout(5 * SECOND).run(|_| endless()));
    assert_eq!(time_to_end(&mut run).await, 5 * SECOND);
    assert!(drain.try_acquire().is_err());
}

/// A limit that is never free.
#[tokio::test(start_paused = true)]
async fn the_deadline_ends_a_request_that_waits_and_names_the_one_before_it() {
    let drain = Drain::new();
    let never = tower::service_fn(|_| pending::<Result<http::Response<Body>, ()>>());
    let limited = tower::limit::ConcurrencyLimit::new(never, 1);
    let service = drain.layer().track_requests().layer(limited);
    let one = |path| {
        let service = service.clone();
        task::spawn(tower::ServiceExt::oneshot(service, get(path)))
    };
    let (mut first, mut second) = (one("/first"), one("/second"));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_eq!(drain.in_flight(), 2);
    let shutdown = Shutdown::new(&drain, ready(())).timeout(SECOND);
    let mut run = task::spawn(shutdown.run(|_| until_drained(drain.clone())));
    while drain.requests().is_empty() || !first.is_woken() {
        assert_pending!(run.poll());
        advance(SECOND / 10).await;
    }
    // Each is answered when its turn comes.
    assert_eq!(assert_ready_ok!(first.poll()).status(), 503);
    drop(first);
    assert!(second.is_woken());
    assert_eq!(assert_ready_ok!(second.poll()).status(), 503);
    let error = assert_ready_err!(run.poll());
    assert_eq!(
        error.to_string(),
        "drain timed out: 2 still in flight after 1.0s: GET /first (handler, 1.0s) and 1 more"
    );
}
