//! Clients of HTTP/1.0 that keep their connections. hyper adds `keep-alive` to a response of HTTP/1.1, and such a
//! client would send its next request on a connection that the server closes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_drain::DrainLayer;

use super::*;

/// Sends a request and returns all that the server sends until it closes the connection.
async fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Starts a server that is never asked to close, so that only the headers can close a connection.
async fn start(drain: &Drain, layer: DrainLayer) -> std::net::SocketAddr {
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(pending::<()>))
        .layer(layer)
        .route_service("/readyz", drain.readiness());
    Server::axum(drain, app, pending()).await.address
}

fn assert_closes(answer: &str, status: &str) {
    let head = answer.to_lowercase();
    assert!(
        answer.starts_with(&format!("HTTP/1.0 {status}")),
        "{answer}"
    );
    assert!(head.contains("connection: close\r\n"), "{answer}");
    assert!(!head.contains("keep-alive"), "{answer}");
}

#[tokio::test]
async fn is_asked_to_close_in_each_kind_of_response() {
    let drain = Drain::new();
    let address = start(&drain, drain.layer().track_requests()).await;
    drain.lame_duck();
    let served = ask(address, "/").await;
    assert_closes(&served, "200");
    assert!(served.ends_with("hello"));
    assert_closes(&ask(address, "/readyz").await, "503");

    let slow = tokio::spawn(ask(address, "/slow"));
    until(|| !drain.requests().is_empty()).await;
    drain.cancel();
    assert_closes(&slow.await.unwrap(), "503");

    drain.start_draining();
    assert_closes(&ask(address, "/").await, "503");
}

#[tokio::test]
async fn keeps_its_connection_while_serving() {
    let drain = Drain::new();
    let address = start(&drain, drain.layer()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..2 {
        let request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
        }
        let answer = String::from_utf8(answer).unwrap().to_lowercase();
        assert!(answer.contains("connection: keep-alive"), "{answer}");
    }
}
