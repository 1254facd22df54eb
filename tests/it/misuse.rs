//! Bad input and misuse give an error or a documented result. Nothing panics and nothing is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower_drain::{Drain, Phase};

#[test]
fn a_timeout_of_zero_asks_whether_anything_is_in_flight() {
    // Outside a runtime: neither result needs a timer.
    let drain = Drain::new();
    assert_ready_ok!(task::spawn(drain.drain(Duration::ZERO)).poll());
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let unfinished = assert_ready_err!(task::spawn(drain.drain(Duration::ZERO)).poll());
    assert_eq!(unfinished.in_flight(), 1);
}

#[test]
fn a_drain_that_is_reported_as_done_is_drained() {
    for _ in 0..2_000 {
        let drain = Drain::new();
        let permit = drain.try_acquire().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(permit));
            loop {
                let mut wait = task::spawn(drain.drain(Duration::ZERO));
                if let std::task::Poll::Ready(Ok(_)) = wait.poll() {
                    break;
                }
            }
            assert_eq!(drain.phase(), Phase::Drained);
        });
    }
}

#[test]
fn an_enormous_timeout_is_no_deadline() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut wait = task::spawn(drain.drain(Duration::MAX));
    assert_pending!(wait.poll());
    drop(permit);
    assert_ready_ok!(wait.poll());
}

#[tokio::test]
async fn a_deadline_in_the_past_is_a_timeout_of_zero() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let now = Instant::now();
    let past = now.checked_sub(Duration::from_secs(1)).unwrap_or(now);
    drain.drain_until(past).await.unwrap_err();
}

#[test]
fn a_drain_may_be_started_outside_a_runtime_and_awaited_in_one() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let wait = drain.drain(Duration::from_secs(3600));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let waiting = std::thread::spawn(move || runtime.block_on(wait));
    drop(permit);
    waiting.join().unwrap().unwrap();
}

#[test]
#[should_panic(expected = "Tokio 1.x runtime")]
fn a_wait_for_a_deadline_outside_a_runtime_panics_as_documented() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let _ = task::spawn(drain.drain(Duration::from_secs(1))).poll();
}

#[tokio::test]
async fn draining_before_any_request_and_twice() {
    let drain = Drain::new();
    let first = drain.drain(Duration::from_secs(1)).await.unwrap();
    let second = drain.drain(Duration::from_secs(1)).await.unwrap();
    assert_eq!(
        (first.in_flight_at_start(), second.in_flight_at_start()),
        (0, 0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn draining_from_many_tasks_while_requests_come_and_go() {
    let drain = Drain::new();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let drain = drain.clone();
        tasks.push(tokio::spawn(async move {
            while let Ok(permit) = drain.try_acquire() {
                tokio::task::yield_now().await;
                drop(permit);
            }
        }));
    }
    tokio::task::yield_now().await;
    let winners = Arc::new(std::sync::Mutex::new(0));
    let drains: Vec<_> = (0..8)
        .map(|_| {
            let (drain, winners) = (drain.clone(), winners.clone());
            tokio::spawn(async move {
                *winners.lock().unwrap() += u32::from(drain.start_draining());
                assert!(
                    drain.try_acquire().is_err(),
                    "admitted after start_draining had returned"
                );
                drain.drain(Duration::from_secs(60)).await.unwrap();
                assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
            })
        })
        .collect();
    for task in drains {
        task.await.unwrap();
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*winners.lock().unwrap(), 1);
    assert_eq!(drain.refused(), 16);
}
