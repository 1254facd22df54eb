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
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tower_drain::{Drain, DrainLayer, Phase};

use crate::support::text;

const LONG: Duration = Duration::from_secs(60);

/// An axum server whose `/slow` waits until the test lets it continue.
struct Server {
    drain: Drain,
    address: std::net::SocketAddr,
    /// Each permit lets one `/slow` request continue.
    go_on: Arc<Semaphore>,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start(graceful: bool) -> Self {
        let drain = Drain::new();
        let go_on = Arc::new(Semaphore::new(0));
        let slow = go_on.clone();
        let router = Router::new()
            .route("/", get(|| async { "hello" }))
            .route(
                "/slow",
                any(async move || {
                    slow.acquire().await.unwrap().forget();
                    "slow hello"
                }),
            )
            .layer(drain.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = drain.closing();
        let serving = tokio::spawn(async move {
            let server = axum::serve(listener, router);
            if graceful {
                server.with_graceful_shutdown(closing).await
            } else {
                server.await
            }
        });
        Self {
            drain,
            address,
            go_on,
            serving,
        }
    }

    async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let io = TokioIo::new(stream);
        let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn in_flight(&self, count: usize) {
        while self.drain.in_flight() != count {
            tokio::task::yield_now().await;
        }
    }
}

fn request(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(path).header("host", "localhost");
    request.body(Empty::new()).unwrap()
}

fn request2(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://localhost{path}"));
    request.body(Empty::new()).unwrap()
}

#[tokio::test]
async fn running_requests_are_answered_in_full_and_then_the_server_ends() {
    let server = Server::start(true).await;
    let mut client = server.http1().await;
    let running = tokio::spawn(client.send_request(request("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    server.go_on.add_permits(1);
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
    let server = Server::start(false).await;
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
    let server = Server::start(false).await;
    let mut client = server.http1().await;
    server.drain.lame_duck();
    let response = client.send_request(request("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(text(response.into_body()).await, "hello");
    client.ready().await.expect_err("the connection is closed");
}

#[tokio::test]
async fn on_http_2_new_streams_are_refused_while_old_ones_finish() {
    let server = Server::start(false).await;
    let mut client = server.http2().await;
    let running = tokio::spawn(client.send_request(request2("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    let refused = client.send_request(request2("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!refused.headers().contains_key(CONNECTION));
    assert_eq!(server.drain.phase(), Phase::Draining);
    server.go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(text(response.into_body()).await, "slow hello");
    assert_eq!(wait.await.unwrap().refused(), 1);
}

#[tokio::test]
async fn with_graceful_shutdown_an_http_2_connection_finishes_its_streams() {
    let server = Server::start(true).await;
    let mut client = server.http2().await;
    let running = tokio::spawn(client.send_request(request2("/slow")));
    server.in_flight(1).await;
    let wait = server.drain.drain(LONG);
    server.go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(text(response.into_body()).await, "slow hello");
    wait.await.unwrap();
    server.serving.await.unwrap().unwrap();
}

/// As shown in the documentation of `Drain::close`.
#[tokio::test]
async fn without_a_shutdown_the_server_closes_before_the_drain() {
    let mut server = Server::start(true).await;
    let mut client = server.http1().await;
    let running = tokio::spawn(client.send_request(request("/slow")));
    server.in_flight(1).await;
    server.drain.close();
    let ended = tokio::time::timeout(Duration::from_millis(20), &mut server.serving).await;
    assert!(ended.is_err(), "it has a request in flight");
    let wait = server.drain.drain(LONG);
    server.go_on.add_permits(1);
    let response = running.await.unwrap().unwrap();
    assert_eq!(text(response.into_body()).await, "slow hello");
    assert_eq!(wait.await.unwrap().in_flight_at_start(), 1);
    server.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_hangs_up_is_not_waited_for() {
    let server = Server::start(false).await;
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
    for http2 in [false, true] {
        let drain = Drain::new();
        let (chunks, body) = mpsc::channel::<Result<Bytes, Infallible>>(1);
        let body = std::sync::Mutex::new(Some(body));
        let stream = Arc::new(body);
        let router = Router::new()
            .route(
                "/",
                get(async move || {
                    let chunks = stream.lock().unwrap().take().unwrap();
                    axum::body::Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(
                        chunks,
                    ))
                }),
            )
            .layer(drain.layer());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = axum::serve(listener, router).with_graceful_shutdown(drain.closing());
        let serving = tokio::spawn(serve.into_future());

        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let response = if http2 {
            let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.send_request(request2("/")).await.unwrap()
        } else {
            let (mut client, connection) = http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            client.send_request(request("/")).await.unwrap()
        };
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
        serving.await.unwrap().unwrap();
    }
}
