//! `drain` and `drain_until`, on a paused clock.

use std::time::Duration;

use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower_drain::{Drain, Phase};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_drain_in_time_reports() {
    let drain = Drain::new();
    let permits = [(); 3].map(|()| drain.try_acquire().unwrap());
    let mut wait = task::spawn(drain.drain(5 * SECOND));
    assert_pending!(wait.poll());
    for _ in 0..2 {
        drain.try_acquire().unwrap_err();
    }
    advance(2 * SECOND).await;
    assert_pending!(wait.poll());
    drop(permits);
    assert!(wait.is_woken());
    let report = assert_ready_ok!(wait.poll());
    assert_eq!(report.elapsed(), 2 * SECOND);
    assert_eq!((report.in_flight_at_start(), report.refused()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_how_many_are_in_flight() {
    let drain = Drain::new();
    let _permits = [(); 2].map(|()| drain.try_acquire().unwrap());
    let unfinished = drain.drain(5 * SECOND).await.unwrap_err();
    assert_eq!(
        (unfinished.in_flight(), unfinished.elapsed()),
        (2, 5 * SECOND)
    );
    assert_eq!(unfinished.to_string(), "2 still in flight after 5.0s");
    assert_eq!(drain.phase(), Phase::Draining, "a timeout cuts nothing off");
}

#[tokio::test(start_paused = true)]
async fn a_drain_starts_when_called() {
    let drain = Drain::new();
    let wait = drain.drain(SECOND);
    assert_eq!(drain.phase(), Phase::Drained);
    drop(wait);
    assert_eq!(
        drain.phase(),
        Phase::Drained,
        "dropping the wait does not stop the drain"
    );
}

#[tokio::test(start_paused = true)]
async fn the_clock_runs_from_the_call() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let mut wait = task::spawn(drain.drain(5 * SECOND));
    advance(5 * SECOND).await;
    let unfinished = assert_ready_err!(wait.poll());
    assert_eq!(unfinished.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_drain_in_time_is_not_late_if_it_is_polled_late() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut wait = task::spawn(drain.drain(SECOND));
    drop(permit);
    advance(60 * SECOND).await;
    assert_ready_ok!(wait.poll());
}

#[tokio::test(start_paused = true)]
async fn several_waits_each_have_their_deadline() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut short = task::spawn(drain.drain(SECOND));
    let mut long = task::spawn(drain.drain_until(Instant::now() + 10 * SECOND));
    assert_pending!(short.poll());
    assert_pending!(long.poll());
    advance(2 * SECOND).await;
    assert_ready_err!(short.poll());
    assert_pending!(long.poll());
    drop(permit);
    let report = assert_ready_ok!(long.poll());
    assert_eq!(report.in_flight_at_start(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_report_counts_from_the_start_not_from_the_wait() {
    let drain = Drain::new();
    let (first, second) = (drain.try_acquire().unwrap(), drain.try_acquire().unwrap());
    drain.start_draining();
    drop(first);
    drain.try_acquire().unwrap_err();
    let wait = drain.drain(SECOND);
    drop(second);
    let report = wait.await.unwrap();
    assert_eq!((report.in_flight_at_start(), report.refused()), (2, 1));
}
