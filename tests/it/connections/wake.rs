//! A change wakes the task that polled last, whatever happened before.

use std::hint;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::thread;

use futures_util::FutureExt;
use tokio_test::task::{Spawn, spawn};
use tokio_test::{assert_pending, assert_ready};

use super::*;

/// A connection with half a request, which stays open while closing.
async fn half_a_request(
    drain: &Drain,
) -> (
    impl Future<Output = Result<(), BoxError>> + Unpin + use<>,
    DuplexStream,
) {
    let (connection, mut client) = http1_connection(drain);
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    (Box::pin(drain.watch(connection)), client)
}

#[tokio::test]
async fn every_change_wakes_the_same_waker() {
    let drain = Drain::new();
    let (connection, client) = half_a_request(&drain).await;
    let mut connection = spawn(connection);
    assert_pending!(connection.poll());
    drain.close();
    assert!(connection.is_woken());
    assert_pending!(connection.poll());
    drain.start_draining();
    assert!(
        connection.is_woken(),
        "a first request would be refused from now on"
    );
    assert_pending!(connection.poll());
    assert_eq!(drain.close_connections(), 1);
    assert!(connection.is_woken());
    assert!(is_closed(assert_ready!(connection.poll())));
    // The socket is closed, although its future is still there.
    assert_eq!(read_to_end(client).await, "");
}

#[tokio::test]
async fn the_task_that_polled_last_is_woken() {
    let drain = Drain::new();
    let (mut connection, _client) = half_a_request(&drain).await;
    let mut first = spawn(());
    first.enter(|cx, _| assert_pending!(connection.poll_unpin(cx)));
    let mut second = spawn(connection);
    assert_pending!(second.poll());
    drain.close();
    assert!(!first.is_woken());
    assert!(second.is_woken());
}

#[test]
fn a_lame_duck_wakes_no_connection() {
    let drain = Drain::new();
    let (connection, _client) = http1_connection(&drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    drain.lame_duck();
    drain.resume();
    assert!(!connection.is_woken());
}

/// Polls each connection on this thread while another thread closes it, with varying delays between the two.
/// Calls `check` with how many were closed, and with the polled task.
fn close_while_polling<F>(
    connection: impl Fn(&Drain) -> (F, Option<DuplexStream>),
    mut check: impl FnMut(usize, Poll<Result<(), BoxError>>, Spawn<F>),
) where
    F: Future<Output = Result<(), BoxError>> + Unpin,
{
    const TURNS: usize = 20_000;
    let (started, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let closed = AtomicUsize::new(0);
    let wait_for = |count: &AtomicUsize, turn| {
        spin_until(|| count.load(Ordering::Acquire) >= turn);
    };
    let current = Mutex::new(Drain::new());
    thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 1..=TURNS {
                wait_for(&started, turn);
                let drain = current.lock().unwrap().clone();
                for _ in 0..turn % 300 {
                    hint::spin_loop();
                }
                closed.store(drain.close_connections(), Ordering::Relaxed);
                done.store(turn, Ordering::Release);
            }
        });
        for turn in 1..=TURNS {
            let drain = Drain::new();
            let (connection, _client) = connection(&drain);
            let mut connection = spawn(connection);
            *current.lock().unwrap() = drain;
            started.store(turn, Ordering::Release);
            let result = connection.poll();
            wait_for(&done, turn);
            check(closed.load(Ordering::Relaxed), result, connection);
        }
    });
}

#[test]
fn no_change_is_lost_between_the_check_and_the_wait() {
    let mut lost = 0;
    close_while_polling(
        |drain| {
            let (connection, client) = http1_connection(drain);
            (drain.watch(connection), Some(client))
        },
        |_, result, connection| {
            lost += usize::from(result.is_pending() && !connection.is_woken());
        },
    );
    assert_eq!(lost, 0);
}

#[test]
fn a_connection_that_completes_while_it_is_closed_is_either_counted_or_ok() {
    let mut both = 0;
    close_while_polling(
        |drain| {
            let (connection, _gone) = http1_connection(drain);
            (drain.watch(connection), None)
        },
        |closed, result, _| {
            both += usize::from(closed > 0 && matches!(result, Poll::Ready(Ok(()))))
        },
    );
    assert_eq!(both, 0);
}
