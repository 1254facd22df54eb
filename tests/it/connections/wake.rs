//! A change reaches the task that polled last, whatever came before.

use std::thread;

use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};

use super::*;

/// A connection with half a request on it, which stays open while closing.
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
async fn one_waker_is_good_for_every_change() {
    let drain = Drain::new();
    let (connection, _client) = half_a_request(&drain).await;
    let mut connection = spawn(connection);
    assert_pending!(connection.poll());
    for change in [Drain::close, Drain::start_draining] {
        assert!(change(&drain));
        assert!(connection.is_woken());
        assert_pending!(connection.poll());
        assert!(!connection.is_woken());
    }
    assert_eq!(drain.close_connections(), 1);
    assert!(connection.is_woken());
    assert!(is_closed(assert_ready!(connection.poll())));
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

/// Without the wake-up one of these would hang.
#[test]
fn no_change_is_lost_between_the_look_and_the_wait() {
    for turn in 0..2_000 {
        let drain = Drain::new();
        let (connection, client) = http1_connection(&drain);
        let connection = drain.watch(connection);
        let closing = drain.clone();
        thread::scope(|scope| {
            scope.spawn(move || match turn % 3 {
                0 => _ = closing.close(),
                1 => _ = closing.start_draining(),
                _ => _ = closing.close_connections(),
            });
            let result = tokio_test::block_on(connection);
            assert_eq!(is_closed(result), turn % 3 == 2);
        });
        drop(client);
    }
}
