//! The server that the tests of processes start: not an example to learn from (those are in
//! `examples/`), but one with a route for each way in which a shutdown can be difficult.
//!
//! The environment sets `ADDR`, `SERVER` (`drain`, or `plain` for what axum and tonic do alone; the
//! same for gRPC: `grpc-drain`, `grpc-plain`), `TRACK` for the layer to track requests, and in seconds
//! `LAME_DUCK`, `QUIET` and `TIMEOUT`.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::future::{Future, IntoFuture, pending};
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::time::{interval, sleep};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{IntervalStream, TcpListenerStream};
use tower_drain::{Drain, Shutdown, signal};
use tracing::info;

type AnyError = Box<dyn Error + Send + Sync>;

fn seconds(name: &str, default: f64) -> Duration {
    let seconds = env::var(name).map(|seconds| seconds.parse().expect(name));
    Duration::from_secs_f64(seconds.unwrap_or(default))
}

#[tokio::main]
async fn main() -> Result<ExitCode, AnyError> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let kind = env::var("SERVER").unwrap_or_else(|_| "drain".into());
    let listener = TcpListener::bind(env::var("ADDR")?).await?;
    let address = listener.local_addr()?;
    let listening = move || info!("listening on {address}");
    let drain = Drain::new();
    let plain = async {
        signal::shutdown().await;
    };
    match kind.as_str() {
        "drain" => {
            let layer = match env::var("TRACK") {
                Ok(_) => drain.layer().track_requests(),
                Err(_) => drain.layer(),
            };
            let app = routes(&drain)
                .layer(layer)
                .route_service("/readyz", drain.readiness());
            let server = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
            Ok(shut_down(&drain, listening, server).await)
        }
        "plain" => {
            let app = routes(&drain).route("/readyz", get(|| async {}));
            listening();
            let server = axum::serve(listener, app);
            server.with_graceful_shutdown(plain).await?;
            Ok(ExitCode::SUCCESS)
        }
        "grpc-drain" => {
            let app = grpc_routes()
                .layer(drain.layer())
                .route_service("/readyz", drain.readiness());
            let server = tonic::transport::Server::builder()
                .add_routes(app.into())
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), drain.draining());
            Ok(shut_down(&drain, listening, server).await)
        }
        "grpc-plain" => {
            let app = grpc_routes().route("/readyz", get(|| async {}));
            listening();
            tonic::transport::Server::builder()
                .add_routes(app.into())
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), plain)
                .await?;
            Ok(ExitCode::SUCCESS)
        }
        other => Err(format!("no such server: {other}").into()),
    }
}

async fn shut_down<E: Error>(
    drain: &Drain,
    listening: impl FnOnce(),
    server: impl IntoFuture<Output = Result<(), E>>,
) -> ExitCode {
    // Said by the server, which is first polled when signals are listened for: whoever reads it may
    // send one.
    let server = async {
        listening();
        server.await
    };
    let shutdown = Shutdown::new(drain)
        .lame_duck(seconds("LAME_DUCK", 0.0))
        .probes(1)
        .quiet(seconds("QUIET", 0.2))
        .timeout(seconds("TIMEOUT", 30.0));
    match shutdown.run(server).await {
        Ok(report) => {
            info!("exit: {report:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            info!("exit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn grpc_routes() -> Router {
    let (_, health) = tonic_health::server::health_reporter();
    tonic::service::Routes::new(health).into_axum_router()
}

/// What makes a shutdown difficult. Each handler says on the log that it runs.
fn routes(drain: &Drain) -> Router {
    let draining = drain.clone();
    let refusing = drain.clone();
    let chunks = drain.clone();
    Router::new()
        .route("/", get(|| async { "hello" }))
        // For the load: a request that takes a moment, and one with a body.
        .route(
            "/work",
            get(|| async {
                sleep(Duration::from_millis(2)).await;
                "worked"
            }),
        )
        .route("/echo", post(|body: Bytes| async { body }))
        // In flight across the signal.
        .route(
            "/draining",
            get(async move || {
                info!("runs /draining");
                draining.draining().await;
                "done"
            }),
        )
        // In flight until another one has been refused.
        .route(
            "/refused",
            get(async move || {
                info!("runs /refused");
                while refusing.refused() == 0 {
                    sleep(Duration::from_millis(5)).await;
                }
                "done"
            }),
        )
        .route(
            "/never",
            get(async || -> Infallible {
                info!("runs /never");
                pending().await
            }),
        )
        // The second chunk comes when draining has begun.
        .route(
            "/chunks",
            get(async move || {
                let first = tokio_stream::once(Bytes::from("first,"));
                let last = once(async move {
                    info!("runs /chunks");
                    chunks.draining().await;
                    Bytes::from("last")
                });
                Body::from_stream(first.chain(last).map(Ok::<_, Infallible>))
            }),
        )
        .route(
            "/big",
            get(async || {
                info!("runs /big");
                vec![b'.'; 64 << 20]
            }),
        )
        .route(
            "/sse",
            get(async || {
                info!("runs /sse");
                let ticks = IntervalStream::new(interval(Duration::from_millis(10)));
                Sse::new(ticks.map(|_| Ok::<_, Infallible>(Event::default().data("tick"))))
            }),
        )
}

/// A stream of one, when it is there.
fn once<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl tokio_stream::Stream<Item = T> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move { sender.send(future.await).await });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}
