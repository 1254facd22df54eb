//! Over real sockets: axum, hyper on HTTP/1 and HTTP/2, and a tonic client.
//!
//! Handlers wait for the test and not for a clock; a test that hangs has found something.

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
use tower_drain::{Drain, Phase};

use crate::support::text;

const LONG: Duration = Duration::from_secs(60);

/// An axum server whose `/slow` waits until the test lets it go on.
struct Server {
    drain: Drain,
    address: std::net::SocketAddr,
    /// One permit lets one `/slow` request go on.
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
        let draining = drain.draining();
        let serving = tokio::spawn(async move {
            match graceful {
                true => {
                    axum::serve(listener, router)
                        .with_graceful_shutdown(draining)
                        .await
                }
                false => axum::serve(listener, router).await,
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
async fn what_runs_is_answered_in_full_and_then_the_server_ends() {
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
async fn a_newcomer_on_a_kept_alive_connection_is_refused_and_let_go() {
    let server = Server::start(false).await;
    let mut client = server.http1().await;
    let response = client.send_request(request("/")).await.unwrap();
    assert!(!response.headers().contains_key(CONNECTION));
    assert_eq!(text(response.into_body()).await, "hello");
    client.ready().await.expect("kept alive");

    server.drain.start();
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
async fn a_lame_duck_answers_and_lets_the_connection_go() {
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
        let serve = axum::serve(listener, router).with_graceful_shutdown(drain.draining());
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

/// How requests that are cancelled look to their clients.
mod cancelled {
    use std::io;

    use axum::body::Body;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tower_drain::{Shutdown, ShutdownError, Signal, Stage};

    use super::*;

    /// `/stuck` never answers, and `/endless` never ends.
    async fn start() -> (Drain, TcpListener, Router) {
        let drain = Drain::new();
        let endless = || async {
            let (ticks, body) = mpsc::channel::<Result<Bytes, Infallible>>(1);
            tokio::spawn(async move {
                while ticks.send(Ok(Bytes::from_static(b"tick"))).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
            Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(body))
        };
        let router = Router::new()
            .route("/stuck", get(std::future::pending::<&'static str>))
            .route("/endless", get(endless))
            .layer(drain.layer().track_requests());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (drain, listener, router)
    }

    async fn until<T: PartialEq>(what: impl Fn() -> T, is: T) {
        while what() != is {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn over_http_1_the_handler_is_refused_and_the_body_has_no_last_chunk() {
        let (drain, listener, router) = start().await;
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        let ask = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            stream
        };
        let mut stuck = ask("/stuck").await;
        let mut endless = ask("/endless").await;
        let mut head = [0; 200];
        assert!(endless.read(&mut head).await.unwrap() > 0);
        until(|| drain.requests().len(), 2).await;
        assert_eq!(drain.cancel(), 2);

        let mut refusal = String::new();
        stuck.read_to_string(&mut refusal).await.unwrap();
        assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
        assert!(refusal.contains("connection: close\r\n"), "{refusal}");
        let mut rest = Vec::new();
        // A reset is an end as well.
        let _ = endless.read_to_end(&mut rest).await;
        assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks complete");
        drain.start();
        drain.drained().await;
    }

    #[tokio::test]
    async fn over_http_2_the_handler_is_refused_and_the_stream_is_reset() {
        let (drain, listener, router) = start().await;
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, router).into_future());
        let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut client, connection) = http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        let stuck = tokio::spawn(client.send_request(request2("/stuck")));
        let endless = client.send_request(request2("/endless")).await.unwrap();
        until(|| drain.requests().len(), 2).await;
        drain.cancel();
        let refusal = stuck.await.unwrap().unwrap();
        assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
        let error = endless.into_body().collect().await.expect_err("complete");
        assert!(!error.is_incomplete_message(), "{error:?}");
        until(|| drain.in_flight(), 0).await;
    }

    #[tokio::test]
    async fn at_its_deadline_a_shutdown_ends_axum_with_an_endless_stream_open() {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let (drain, listener, router) = start().await;
            let address = listener.local_addr().unwrap();
            let (ended, server_ended) = tokio::sync::oneshot::channel();
            let serve = axum::serve(listener, router).with_graceful_shutdown(drain.draining());
            let server = async {
                let result: io::Result<()> = serve.await;
                let _ = ended.send(());
                result
            };
            let (signal, on) = tokio::sync::oneshot::channel();
            let shutdown = Shutdown::new(&drain)
                .on(async { on.await.unwrap() })
                .force(std::future::pending())
                .timeout(Duration::from_millis(50));
            let run = tokio::spawn(shutdown.run(server));
            let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
            let endless = if version == Version::HTTP_2 {
                let handshake = http2::handshake(TokioExecutor::new(), stream);
                let (mut client, connection) = handshake.await.unwrap();
                tokio::spawn(connection);
                client.send_request(request2("/endless")).await
            } else {
                let (mut client, connection) = http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                client.send_request(request("/endless")).await
            };
            signal.send(Signal::Terminate).unwrap();

            let error = run.await.unwrap().unwrap_err();
            let ShutdownError::TimedOut(timed_out) = error else {
                panic!("{error:?}");
            };
            let [late] = timed_out.requests() else {
                panic!("{timed_out:?}");
            };
            assert_eq!((late.path(), late.stage()), ("/endless", Stage::Body));
            server_ended.await.expect("axum's server ended by itself");
            assert_eq!(drain.phase(), Phase::Drained);
            let body = endless.unwrap().into_body();
            body.collect().await.expect_err("complete");
        }
    }
}

mod grpc {
    use tonic::body::Body;
    use tonic::transport::{Channel, Server};
    use tonic_health::pb::HealthCheckRequest;
    use tonic_health::pb::health_client::HealthClient;

    use super::*;

    async fn start(
        drain: &Drain,
    ) -> (
        HealthClient<Channel>,
        JoinHandle<Result<(), tonic::transport::Error>>,
    ) {
        let (_, health) = tonic_health::server::health_reporter();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = Server::builder()
            .layer(drain.layer())
            .add_service(health)
            .serve_with_incoming_shutdown(incoming, drain.reached(Phase::Drained));
        let serving = tokio::spawn(server);
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        (HealthClient::new(channel.connect().await.unwrap()), serving)
    }

    #[tokio::test]
    async fn a_new_call_is_unavailable_while_a_stream_goes_on() {
        let drain = Drain::new();
        let (mut client, serving) = start(&drain).await;
        let ask = HealthCheckRequest::default;
        let mut watch = client.watch(ask()).await.unwrap().into_inner();
        assert!(watch.message().await.unwrap().is_some());
        assert_eq!(drain.in_flight(), 1);
        let wait = drain.drain(LONG);
        let status = client.check(ask()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(status.message(), "server is draining");
        assert_eq!(drain.phase(), Phase::Draining);
        drop(watch);
        assert_eq!(wait.await.unwrap().refused(), 1);
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_cancelled_stream_ends_with_status_14() {
        let drain = Drain::new();
        let (_, health) = tonic_health::server::health_reporter();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = Server::builder()
            .layer(drain.layer().track_requests())
            .add_service(health)
            .serve_with_incoming(incoming);
        tokio::spawn(server);
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        let mut client = HealthClient::new(channel.connect().await.unwrap());
        let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
        let mut watch = watch.into_inner();
        assert!(watch.message().await.unwrap().is_some());
        assert_eq!(drain.requests()[0].path(), "/grpc.health.v1.Health/Watch");
        assert_eq!(drain.cancel(), 1);
        let status = watch.message().await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert_eq!(status.message(), "cancelled: server is shutting down");
    }

    #[test]
    fn the_layer_fits_tonic_with_closures_too() {
        let drain = Drain::new();
        let layer = drain
            .layer()
            .exempt(|request: &Request<Body>| request.uri().path().starts_with("/grpc.health"));
        let (_, health) = tonic_health::server::health_reporter();
        let address = "127.0.0.1:0".parse().unwrap();
        drop(
            Server::builder()
                .layer(layer)
                .add_service(health)
                .serve(address),
        );
    }
}
