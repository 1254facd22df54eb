//! Over real sockets: axum, hyper on HTTP/1 and HTTP/2, and a tonic client.
//!
//! Handlers wait for the test, not for a clock. A test that hangs has found a bug.

mod cancelled;
mod goaway;
mod grpc;
mod http1_0;
mod large_frames;
mod streams;
mod waiting;

use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tower_drain::{Drain, DrainLayer, Phase};

use crate::server::{Server, bind, request, request2};
use crate::support::{text, until};

const LONG: Duration = Duration::from_secs(60);

/// Starts an axum server whose `/slow` waits for a permit of the semaphore. If it is not `graceful`, it is never asked to
/// close.
async fn start(graceful: bool) -> (Server, Arc<Semaphore>) {
    let drain = Drain::new();
    let go_on = Arc::new(Semaphore::new(0));
    let wait = go_on.clone();
    let slow = async move || {
        wait.acquire().await.unwrap().forget();
        "slow hello"
    };
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", any(slow))
        .layer(drain.layer());
    let server = if graceful {
        Server::axum(&drain, app, drain.closing()).await
    } else {
        Server::axum(&drain, app, pending()).await
    };
    (server, go_on)
}

#[tokio::test]
async fn running_requests_are_answered_in_full_and_then_the_server_ends() {
    let (server, go_on) = start(true).await;
    let mut client = server.http1().await;
    let running = tokio::spawn(client.send_request(request("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(response.headers()[CONNECTION], "close");
    assert_eq!(response.headers()[CONTENT_LENGTH], "10");
    assert_eq!(text(response.into_body()).await, "slow hello");
    assert_eq!(wait.await.unwrap().in_flight_at_start(), 1);
    server.serving.await.unwrap().unwrap();
    TcpStream::connect(server.address)
        .await
        .expect_err("the port is closed");
}

#[tokio::test]
async fn a_new_request_on_a_kept_alive_connection_is_refused_and_the_connection_closed() {
    let (server, _) = start(false).await;
    let mut client = server.http1().await;
    let response = client.send_request(request("/")).await.unwrap();
    assert!(!response.headers().contains_key(CONNECTION));
    assert_eq!(text(response.into_body()).await, "hello");
    client.ready().await.expect("kept alive");

    server.drain.start_draining();
    let response = client.send_request(request("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[CONNECTION], "close");
    response.into_body().collect().await.unwrap();
    client
        .ready()
        .await
        .expect_err("the connection is closed, not a trap");
}

#[tokio::test]
async fn a_lame_duck_answers_and_closes_the_connection() {
    let (server, _) = start(false).await;
    let mut client = server.http1().await;
    server.drain.lame_duck();
    let response = client.send_request(request("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response.into_body()).await, "hello");
    client.ready().await.expect_err("the connection is closed");
}

#[tokio::test]
async fn on_http_2_new_streams_are_refused_while_old_ones_finish() {
    let (server, go_on) = start(false).await;
    let mut client = server.http2().await;
    let running = tokio::spawn(client.send_request(request2("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    let refused = client.send_request(request2("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!refused.headers().contains_key(CONNECTION));
    assert_eq!(server.drain.phase(), Phase::Draining);
    go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(text(response.into_body()).await, "slow hello");
    assert_eq!(wait.await.unwrap().refused(), 1);
}

#[tokio::test]
async fn with_graceful_shutdown_an_http_2_connection_finishes_its_streams() {
    let (server, go_on) = start(true).await;
    let mut client = server.http2().await;
    let running = tokio::spawn(client.send_request(request2("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(text(response.into_body()).await, "slow hello");
    wait.await.unwrap();
    server.serving.await.unwrap().unwrap();
}

/// As shown in the documentation of `Drain::close`.
#[tokio::test]
async fn without_a_shutdown_the_server_closes_before_the_drain() {
    let (mut server, go_on) = start(true).await;
    let mut client = server.http1().await;
    let running = tokio::spawn(client.send_request(request("/slow")));
    server.in_flight(1).await;
    server.drain.close();
    let ended = tokio::time::timeout(Duration::from_millis(20), &mut server.serving).await;
    assert!(ended.is_err(), "it has a request in flight");
    let wait = server.drain.drain(LONG);
    go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(text(response.into_body()).await, "slow hello");
    assert_eq!(wait.await.unwrap().in_flight_at_start(), 1);
    server.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_is_not_waited_for() {
    let (server, _) = start(false).await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let (mut client, connection) = http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let running = tokio::spawn(client.send_request(request("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    connection.abort();
    running.abort();
    wait.await.unwrap();
}

#[tokio::test]
async fn a_streaming_body_is_in_flight_to_its_end() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let drain = Drain::new();
        let (chunks, body) = mpsc::channel::<Result<Bytes, Infallible>>(1);
        let body = Arc::new(std::sync::Mutex::new(Some(ReceiverStream::new(body))));
        let stream = async move || Body::from_stream(body.lock().unwrap().take().unwrap());
        let app = Router::new().route("/", get(stream)).layer(drain.layer());
        let server = Server::axum(&drain, app, drain.closing()).await;
        let response = server.get(version, "/").await.unwrap();
        let mut body = response.into_body();
        let mut wait = tokio_test::task::spawn(drain.drain(LONG));
        for _ in 0..3 {
            chunks.send(Ok(Bytes::from_static(b"chunk"))).await.unwrap();
            assert_eq!(
                body.frame().await.unwrap().unwrap().into_data().unwrap(),
                "chunk"
            );
            assert!(wait.poll().is_pending());
        }
        drop(chunks);
        let rest = body.collect().await.expect("a cut body");
        assert!(rest.to_bytes().is_empty());
        wait.await.unwrap();
        server.serving.await.unwrap().unwrap();
    }
}
