//! When a connection is asked to leave.

use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready_ok};

use super::*;
use crate::http2_peer::{GOAWAY, Peer};

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n";

#[test]
fn an_idle_http1_connection_is_closed_in_closing_and_not_in_a_lame_duck() {
    let drain = Drain::new();
    let (connection, _client) = http1_connection(&drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    drain.lame_duck();
    assert_pending!(connection.poll());
    drain.close();
    assert!(connection.is_woken());
    assert_ready_ok!(connection.poll());
}

#[test]
fn draining_alone_closes_it_too() {
    let drain = Drain::new();
    let (connection, _client) = http1_connection(&drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    drain.start_draining();
    assert!(connection.is_woken());
    assert_ready_ok!(connection.poll());
}

#[tokio::test]
async fn a_request_that_has_arrived_is_served_before_the_connection_closes() {
    let drain = Drain::new();
    let (connection, mut client) = http1_connection(&drain);
    let mut connection = spawn(drain.watch(connection));
    assert_pending!(connection.poll());
    client.write_all(GET).await.unwrap();
    drain.close();
    assert_ready_ok!(connection.poll());
    drop(connection);
    let answer = read_to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(answer.ends_with("hello"), "{answer}");
}

/// The last of an accept queue, for example.
#[tokio::test]
async fn so_is_one_on_a_connection_that_is_first_polled_in_closing() {
    let drain = Drain::new();
    let (connection, mut client) = http1_connection(&drain);
    client.write_all(GET).await.unwrap();
    drain.close();
    let mut connection = spawn(drain.watch(connection));
    assert_ready_ok!(connection.poll());
    drop(connection);
    let answer = read_to_end(client).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
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

#[test]
fn a_connection_is_open_from_the_call_until_it_ends_or_is_dropped() {
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
