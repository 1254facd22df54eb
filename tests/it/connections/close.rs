//! `close_connections`, over sockets, with peers that no graceful shutdown ends.

use std::future::ready;

use super::*;
use crate::http2_peer::{GOAWAY, Peer};

/// Asks the server to leave, closes the one connection that stays, and waits for both to end.
async fn close(server: Server<()>, mut ends: Ended) {
    server.drain.close();
    // The accept loop ends at once.
    server.serving.await.unwrap();
    assert_eq!(server.drain.connections(), 1);
    assert_eq!(server.drain.close_connections(), 1);
    assert!(is_closed(ends.recv().await.unwrap()));
    until(|| server.drain.connections() + server.drain.in_flight() == 0).await;
    assert!(ends.recv().await.is_none());
}

#[tokio::test]
async fn half_a_request_head_ends() {
    let (server, ends) = start().await;
    let mut client = server.connect().await;
    client.write_all(b"GET / HTTP/1.1\r\nhost:").await.unwrap();
    server.connections(1).await;
    close(server, ends).await;
    read_to_end(client).await;
}

/// hyper-util does not know the protocol yet, and ends the connection when it is asked to leave.
#[tokio::test]
async fn half_an_http2_preface_ends_without_close_connections() {
    let (server, mut ends) = start().await;
    let mut client = server.connect().await;
    client.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
    server.connections(1).await;
    server.drain.close();
    ends.recv().await.unwrap().unwrap_err();
    assert_eq!(read_to_end(client).await, "");
}

#[tokio::test]
async fn a_handler_that_never_answers_ends_with_its_connection() {
    let (server, ends) = start().await;
    let mut client = server.connect().await;
    let request = b"GET /never HTTP/1.1\r\nhost: here\r\n\r\n";
    client.write_all(request).await.unwrap();
    server.in_flight(1).await;
    close(server, ends).await;
    assert_eq!(read_to_end(client).await, "");
}

#[tokio::test]
async fn an_http1_client_that_has_stopped_reading_ends() {
    let (server, ends) = start().await;
    let mut client = server.connect().await;
    let request = b"GET /endless HTTP/1.1\r\nhost: here\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut first = [0; 12];
    client.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    close(server, ends).await;
}

#[tokio::test]
async fn an_http2_client_that_opens_no_window_ends() {
    let (server, ends) = start().await;
    let mut peer = Peer::connect(server.connect().await).await;
    let stream = peer.send_request_for("/endless").await;
    assert!(peer.is_served(stream).await);
    // The rest of the body does not fit into the window.
    server.in_flight(1).await;
    close(server, ends).await;
}

#[tokio::test]
async fn an_http2_peer_that_never_answers_the_ping_ends() {
    let (server, ends) = start().await;
    let mut peer = Peer::connect(server.connect().await).await;
    let stream = peer.send_request_for("/never").await;
    assert_eq!(stream, 1);
    server.in_flight(1).await;
    server.drain.close();
    let _never_answered = peer.goodbye().await;
    close(server, ends).await;
    assert!(peer.try_read(GOAWAY).await.is_none());
}

#[tokio::test]
async fn only_open_connections_are_closed_and_only_once() {
    let (server, mut ends) = start().await;
    assert_eq!(server.drain.close_connections(), 0);
    let _clients = [server.connect().await, server.connect().await];
    server.connections(2).await;
    assert_eq!(server.drain.close_connections(), 2);
    for _ in 0..2 {
        assert!(is_closed(ends.recv().await.unwrap()));
    }
    assert_eq!(server.drain.close_connections(), 0);

    let mut later = server.connect().await;
    let request = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    later.write_all(request).await.unwrap();
    let answer = read_to_end(later).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    ends.recv().await.unwrap().unwrap();
}

/// A handler may close its own connection, which completes at the same time, with the answer sent.
#[tokio::test]
async fn a_connection_that_was_counted_as_closed_does_not_end_with_ok() {
    let drain = Drain::new();
    let (mut client, io) = duplex(1 << 16);
    let closing = drain.clone();
    let service = service_fn(move |_: Request<Incoming>| {
        assert_eq!(closing.close_connections(), 1);
        ready(Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(
            "bye",
        ))))
    });
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    let served = tokio::spawn(drain.watch(connection));
    let request = b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n";
    client.write_all(request).await.unwrap();
    assert!(is_closed(served.await.unwrap()));
    assert!(read_to_end(client).await.ends_with("bye"));
}

#[tokio::test]
async fn the_error_says_what_has_happened() {
    let closed = "the connection was closed by the shutdown";
    let drain = Drain::new();
    let (connection, _client) = http1_connection(&drain);
    let connection = drain.watch(connection);
    drain.close_connections();
    let error = connection.await.unwrap_err();
    assert_eq!(error.to_string(), closed);
}
