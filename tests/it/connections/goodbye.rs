//! When a connection is asked to leave.

use std::io::{Read, Write};
use std::time::Duration;

use tokio::time::{advance, sleep};
use tokio_test::task::{Spawn, spawn};
use tokio_test::{assert_pending, assert_ready_ok};

use super::*;
use crate::http2_peer::{GOAWAY, Peer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

/// From the beginning of closing until a connection of some age is asked to leave.
const LAST_LOOK: Duration = Duration::from_millis(10);
/// From the call of `watch` until a connection is asked to leave.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// An idle HTTP/1 connection that has been open for a while.
async fn idle_connection(
    drain: &Drain,
) -> (
    Spawn<impl Future<Output = Result<(), BoxError>> + use<>>,
    DuplexStream,
) {
    let (connection, client) = http1_connection(drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    advance(FIRST_REQUEST).await;
    (connection, client)
}

#[tokio::test(start_paused = true)]
async fn an_idle_http1_connection_is_closed_in_closing_and_not_in_a_lame_duck() {
    let drain = Drain::new();
    let (mut connection, _client) = idle_connection(&drain).await;
    drain.lame_duck();
    advance(10 * FIRST_REQUEST).await;
    assert_pending!(connection.poll());
    drain.close();
    assert!(connection.is_woken());
    assert_pending!(connection.poll(), "what has arrived is looked at first");
    advance(LAST_LOOK).await;
    assert!(connection.is_woken());
    assert_ready_ok!(connection.poll());
}

#[tokio::test(start_paused = true)]
async fn draining_alone_closes_it_too() {
    let drain = Drain::new();
    let (mut connection, _client) = idle_connection(&drain).await;
    drain.start_draining();
    assert!(connection.is_woken());
    assert_pending!(connection.poll());
    advance(LAST_LOOK).await;
    assert_ready_ok!(connection.poll());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_arrived_is_served_before_the_connection_closes() {
    let drain = Drain::new();
    let (mut connection, mut client) = idle_connection(&drain).await;
    drain.close();
    assert_pending!(connection.poll());
    advance(LAST_LOOK).await;
    client.write_all(GET).await.unwrap();
    assert_ready_ok!(connection.poll());
    drop(connection);
    let answer = read_to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
}

/// For example the last connection of an accept queue, or one with a slow handshake.
#[tokio::test(start_paused = true)]
async fn a_connection_opened_in_closing_has_a_second_for_its_first_request() {
    let drain = Drain::new();
    drain.close();
    let (connection, mut client) = http1_connection(&drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    advance(FIRST_REQUEST - LAST_LOOK).await;
    assert_pending!(connection.poll());
    client.write_all(GET).await.unwrap();
    assert_ready_ok!(connection.poll());
    drop(connection);
    let answer = read_to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_request_is_asked_to_leave_after_a_second_or_when_draining_starts() {
    for draining in [false, true] {
        let drain = Drain::new();
        drain.close();
        let (connection, _client) = http1_connection(&drain);
        let mut connection = spawn(drain.watch(connection));
        assert_pending!(connection.poll());
        advance(if draining {
            FIRST_REQUEST / 2
        } else {
            FIRST_REQUEST - LAST_LOOK
        })
        .await;
        assert_pending!(connection.poll());
        if draining {
            drain.start_draining();
            assert!(connection.is_woken());
            assert_pending!(connection.poll(), "what has arrived is looked at first");
        }
        advance(LAST_LOOK).await;
        assert!(connection.is_woken());
        assert_ready_ok!(connection.poll());
    }
}

/// A socket's connection does not read before the runtime has reported what has arrived.
#[tokio::test(start_paused = true)]
async fn requests_that_are_in_the_kernel_are_served() {
    let (server, _ends) = start().await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = std::net::TcpStream::connect(server.address).unwrap();
        clients.push(client.try_clone().unwrap());
        server.connections(clients.len()).await;
        // A first request, so that the connection is idle and not new.
        client.write_all(GET).unwrap();
        let mut answer = [0; 12];
        client.set_nonblocking(true).unwrap();
        until(|| client.peek(&mut [0; 12]).is_ok_and(|read| read == 12)).await;
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
    sleep(FIRST_REQUEST).await;
    for client in &mut clients {
        client.write_all(GET).unwrap();
    }
    server.drain.close();
    server.connections(0).await;
    for mut client in clients {
        let mut answers = String::new();
        client.set_nonblocking(false).unwrap();
        client.read_to_string(&mut answers).unwrap();
        assert_eq!(answers.matches("hello").count(), 2, "{answers}");
    }
}

#[tokio::test]
async fn an_http1_client_is_asked_to_leave_by_a_response_in_the_lame_duck() {
    let drain = Drain::new();
    let (connection, mut client) = http1_connection(&drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    drain.lame_duck();
    client.write_all(GET).await.unwrap();
    assert_ready_ok!(connection.poll());
    drop(connection);
    let answer = read_to_end(client).await;
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_http2_client_gets_its_goaway_in_closing_and_is_served_until_it_has_left() {
    let drain = Drain::new();
    let (connection, client) = http2_connection(&drain);
    let served = tokio::spawn(drain.watch(connection));
    let mut peer = Peer::connect(client).await;
    drain.lame_duck();
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);

    drain.close();
    let ping = peer.goodbye().await;
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);
    peer.answer(ping).await;
    peer.read(GOAWAY).await;
    served.await.unwrap().unwrap();
    assert_eq!(drain.connections(), 0);
}

#[tokio::test]
async fn a_connection_is_open_from_the_call_until_it_ends_or_is_dropped() {
    let drain = Drain::new();
    let (connection, client) = http1_connection(&drain);
    let mut ends = spawn(drain.watch(connection));
    let (connection, _client) = http1_connection(&drain);
    let dropped = drain.watch(connection);
    assert_eq!(drain.connections(), 2);
    assert_eq!(drain.status().connections(), 2);
    drop(dropped);
    assert_eq!(drain.connections(), 1);
    drop(client);
    assert_ready_ok!(ends.poll());
    assert_eq!(drain.connections(), 0, "not dropped yet");
    assert_pending!(ends.poll(), "it has completed");
}

#[tokio::test]
async fn a_connection_serves_on_when_the_last_handle_is_gone() {
    let drain = Drain::new();
    let (connection, client) = http2_connection(&drain);
    let _served = tokio::spawn(drain.watch(connection));
    drop(drain);
    let mut peer = Peer::connect(client).await;
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);
}
