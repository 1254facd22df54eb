//! Connections that are still open when nothing is in flight.

use std::future::ready;

use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;

/// A shutdown that has just started, with a timeout of ten seconds, a second of closing, and this flush.
fn flush<S>(
    drain: &Drain,
    flush: Duration,
    server: S,
) -> Spawn<impl Future<Output = Outcome> + use<S>>
where
    S: Future<Output = io::Result<()>>,
{
    let shutdown = Shutdown::new(drain, ready(Signal::Interrupt))
        .timeout(10 * SECOND)
        .flush(flush);
    let mut run = task::spawn(shutdown.run(|_| server));
    assert_pending!(run.poll());
    run
}

#[tokio::test(start_paused = true)]
async fn open_connections_with_nothing_in_flight_are_no_failure() {
    let mut run = flush(&Drain::new(), 2 * SECOND, endless());
    advance(2 * SECOND - SECOND / 1_000).await;
    assert_pending!(run.poll());
    advance(SECOND / 1_000).await;
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.ended_after(), None);
    assert_eq!(report.drained_after(), 2 * SECOND);
}

/// A client that is asleep costs five seconds, not ten.
#[tokio::test(start_paused = true)]
async fn closing_and_flush_are_five_seconds_at_once_by_default() {
    let mut run = task::spawn(Shutdown::new(&Drain::new(), ready(())).run(|_| endless()));
    assert_eq!(time_to_end(&mut run).await, 5 * SECOND);
}

/// A distant client has to learn of it.
#[tokio::test(start_paused = true)]
async fn closing_is_not_cut_short_within_its_first_second() {
    let drain = Drain::new();
    let mut run = flush(&drain, SECOND / 10, endless());
    advance(SECOND - SECOND / 1_000).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
    advance(SECOND / 1_000).await;
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn a_request_in_closing_counts_anew() {
    let drain = Drain::new();
    let mut service = drain.layer().layer(tower::service_fn(|_| {
        ready(Ok::<_, ()>(http::Response::new(Body::default())))
    }));
    let mut run = flush(&drain, 3 * SECOND, endless());
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    // It comes and goes between two looks.
    drop(assert_ready_ok!(task::spawn(service.call(get("/"))).poll()));
    assert_eq!(time_to_end(&mut run).await, 3 * SECOND);
    // Other work, too, which is seen at a look.
    let drain = Drain::new();
    let mut run = flush(&drain, 3 * SECOND, endless());
    let permit = drain.try_acquire().unwrap();
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    drop(permit);
    // Its end is seen at the next look.
    assert_eq!(time_to_end(&mut run).await, 3 * SECOND + SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn the_time_counts_from_the_last_request() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut run = flush(&drain, 2 * SECOND, endless());
    advance(5 * SECOND).await;
    assert_pending!(run.poll());
    drop(permit);
    assert_eq!(time_to_end(&mut run).await, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_in_time_is_reported() {
    let (server, end) = server();
    let mut run = flush(&Drain::new(), 3 * SECOND, server);
    advance(SECOND).await;
    assert_pending!(run.poll());
    advance(SECOND).await;
    end.send(Ok(())).unwrap();
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.ended_after(), Some(2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_the_timeout_if_that_is_earlier() {
    let mut run = flush(&Drain::new(), Duration::MAX, endless());
    assert_eq!(time_to_end(&mut run).await, 10 * SECOND);
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut run = flush(&drain, 3 * SECOND, endless());
    advance(8 * SECOND).await;
    assert_pending!(run.poll());
    drop(permit);
    assert_eq!(time_to_end(&mut run).await, 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_ends_at_the_deadline_still_has_time_to_be_sent() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut run = flush(&drain, 3 * SECOND, endless());
    advance(SECOND).await;
    assert_pending!(run.poll());
    advance(9 * SECOND).await;
    drop(permit);
    assert_pending!(run.poll());
    advance(SECOND / 10).await;
    assert_eq!(assert_ready_ok!(run.poll()).ended_after(), None);
}

#[tokio::test(start_paused = true)]
async fn zero_abandons_connections_at_once() {
    let mut run = flush(&Drain::new(), Duration::ZERO, endless());
    advance(SECOND).await;
    assert_ready_ok!(run.poll());
}

/// Zero is no time to stand still, but requests do not stand still.
#[tokio::test(start_paused = true)]
async fn zero_does_not_cut_closing_short_while_requests_are_in_flight() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut run = flush(&drain, Duration::ZERO, endless());
    for _ in 0..49 {
        advance(SECOND / 10).await;
        assert_pending!(run.poll());
    }
    assert_eq!(drain.phase(), Phase::Closing);
    drop(permit);
    assert_eq!(time_to_end(&mut run).await, SECOND / 10);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_late_are_still_late() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let mut run = flush(&drain, SECOND, endless());
    advance(10 * SECOND).await;
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::TimedOut(left) if left.in_flight() == 1));
}

#[tokio::test(start_paused = true)]
async fn force_ends_it() {
    let drain = Drain::new();
    let (force, forced) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt))
        .force_on(forced)
        .closing(SECOND)
        .flush(5 * SECOND);
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    advance(4 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Drained);
    force.send(()).unwrap();
    assert_pending!(run.poll(), "time to send the last bytes");
    advance(SECOND / 10).await;
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Forced(_)));
}
