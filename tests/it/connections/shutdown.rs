//! A `Shutdown` waits for connections as for the server, and closes those that are left.

use std::future::ready;
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, advance};
use tokio_test::assert_pending;
use tokio_test::task::spawn;
use tower_drain::{Phase, Shutdown, ShutdownError};

use super::*;
use crate::http2_peer::Peer;

const SECOND: Duration = Duration::from_secs(1);

/// A server that ends when it is asked to close, whatever its connections do.
async fn returns(closing: Reached) {
    closing.await;
}

/// A connection that its peer keeps open, in a separate task.
async fn sleeping_peer(drain: &Drain) -> Peer<DuplexStream> {
    let (connection, client) = http2_connection(drain);
    tokio::spawn(drain.watch(connection));
    Peer::connect(client).await
}

#[tokio::test]
async fn an_accept_loop_that_returns_at_once_cuts_nothing_off() {
    let drain = Drain::new();
    let (sender, mut ends) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, async { stopped.await.unwrap() })
        .closing(Duration::MAX)
        .timeout(Duration::MAX);
    let accepting = drain.clone();
    let server = Server::start(&drain, |listener| {
        shutdown.run(|closing| accept(listener, accepting, closing, sender))
    });
    let server = server.await;
    let mut peer = Peer::connect(server.connect().await).await;
    stop.send(()).unwrap();
    let ping = peer.goodbye().await;
    // Sent before the client knew: closing lasts as long as its connection.
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);
    assert_eq!(drain.phase(), Phase::Closing);
    peer.answer(ping).await;
    ends.recv().await.unwrap().unwrap();
    let report = server.serving.await.unwrap().unwrap();
    assert!(report.ended_after().is_some());
    assert_eq!(report.refused(), 0);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_an_open_connection_is_named_and_closed() {
    let drain = Drain::new();
    let mut peer = sleeping_peer(&drain).await;
    let _permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(())).timeout(10 * SECOND);
    let error = shutdown.run(returns).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "drain timed out: 1 still in flight after 10.0s"
    );
    assert_eq!(drain.connections(), 0);
    peer.goodbye().await;
    assert!(peer.try_read(crate::http2_peer::HEADERS).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_waits_for_its_connections_ends_with_them() {
    let drain = Drain::new();
    let (connection, client) = http2_connection(&drain);
    let connection = drain.watch(connection);
    let shutdown = Shutdown::new(&drain, ready(())).timeout(10 * SECOND);
    let (ended, has_ended) = oneshot::channel();
    let run = shutdown.run(async move |_| {
        let connection = tokio::spawn(connection);
        ended.send(connection.await.unwrap()).unwrap();
    });
    let (outcome, _peer) = tokio::join!(run, Peer::connect(client));
    assert_eq!(outcome.unwrap().ended_after(), None);
    assert!(is_closed(has_ended.await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn after_flush_an_open_connection_is_closed_and_no_failure() {
    let drain = Drain::new();
    let _peers = [sleeping_peer(&drain).await, sleeping_peer(&drain).await];
    let shutdown = Shutdown::new(&drain, ready(())).flush(2 * SECOND);
    let report = shutdown.run(returns).await.unwrap();
    assert_eq!(report.ended_after(), None);
    assert_eq!(drain.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn force_closes_connections_after_the_second_for_the_answers() {
    let drain = Drain::new();
    let mut peer = sleeping_peer(&drain).await;
    peer.send_request_for("/never").await;
    let start = Instant::now();
    let shutdown = Shutdown::new(&drain, ready(())).force_on(async {
        tokio::time::sleep(SECOND / 2).await;
    });
    let error = shutdown.run(returns).await.unwrap_err();
    assert!(matches!(&error, ShutdownError::Forced(left) if left.in_flight() == 1));
    assert_eq!((drain.connections(), drain.in_flight()), (0, 0));
    // Not tracked, so nothing could be answered.
    assert_eq!(start.elapsed(), SECOND / 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_has_its_connections_asked_to_leave() {
    let drain = Drain::new();
    let mut peer = sleeping_peer(&drain).await;
    let shutdown = Shutdown::new(&drain, std::future::pending::<()>());
    let run = shutdown.run(|_| ready(Err::<(), _>(io::Error::other("no more descriptors"))));
    let leaves = async {
        let ping = peer.goodbye().await;
        peer.answer(ping).await;
    };
    let (outcome, ()) = tokio::join!(run, leaves);
    assert!(matches!(outcome, Err(ShutdownError::Server(_))));
    assert_eq!(drain.connections(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_poll_its_connection_is_given_up_after_a_second() {
    let drain = Drain::new();
    let (connection, _client) = http2_connection(&drain);
    let _unpolled = drain.watch(connection);
    let start = Instant::now();
    let shutdown = Shutdown::new(&drain, ready(())).timeout(10 * SECOND);
    let report = shutdown.run(returns).await.unwrap();
    assert_eq!(report.ended_after(), None);
    // Five seconds of standing still, and a second for the server.
    assert_eq!(start.elapsed(), 6 * SECOND);
    assert_eq!(drain.connections(), 1);
}

/// The exit code depends on it, even with `flush`.
#[tokio::test(start_paused = true)]
async fn the_error_of_a_server_is_not_lost_if_a_connection_stays_open() {
    let drain = Drain::new();
    let (connection, _client) = http2_connection(&drain);
    let _unpolled = drain.watch(connection);
    let shutdown = Shutdown::new(&drain, std::future::pending::<()>()).flush(2 * SECOND);
    let fails = |_| ready(Err::<(), _>(io::Error::other("no more descriptors")));
    let error = shutdown.run(fails).await.unwrap_err();
    assert_eq!(error.to_string(), "server failed: no more descriptors");
}

#[tokio::test(start_paused = true)]
async fn force_ends_the_last_wait_for_a_connection_too() {
    for is_late in [false, true] {
        let drain = Drain::new();
        let (connection, _client) = http2_connection(&drain);
        let unpolled = drain.watch(connection);
        let permit = is_late.then(|| drain.try_acquire().unwrap());
        let (force, forced) = oneshot::channel::<()>();
        let shutdown = Shutdown::new(&drain, ready(()))
            .timeout(5 * SECOND)
            .flush(2 * SECOND)
            .force_on(forced);
        let mut run = spawn(shutdown.run(returns));
        // The connection is closed when its time is up, which its task does not notice.
        for _ in 0..if is_late { 50 } else { 20 } {
            assert_pending!(run.poll());
            advance(SECOND / 10).await;
        }
        assert_pending!(run.poll());
        assert_eq!(drain.close_connections(), 0, "closed");
        let start = Instant::now();
        force.send(()).unwrap();
        let error = run.await.unwrap_err();
        if is_late {
            assert!(matches!(error, ShutdownError::TimedOut(_)));
            assert_eq!(start.elapsed(), Duration::ZERO);
        } else {
            assert!(matches!(error, ShutdownError::Forced(_)));
            // For the last bytes, as always when nothing is in flight.
            assert_eq!(start.elapsed(), SECOND / 10);
        }
        drop((unpolled, permit));
    }
}
