//! HTTP and gRPC on separate ports, under one shutdown, and an admin port that stays open to the end.
//!
//! ```sh
//! cargo run --example two_servers            # HTTP on 8080, gRPC on 50051, admin on 9090
//! curl -i http://127.0.0.1:8080/
//! curl -i http://127.0.0.1:9090/readyz       # and /livez, /metrics
//! ```

mod admin;
mod greeter;
mod health;

use std::env;
use std::error::Error;
use std::future::IntoFuture;
use std::io;
use std::time::Duration;

use axum::{Router, routing::get};
use greeter::Greeter;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::NamedService;
use tower_drain::{BoxError, Drain, Shutdown};

async fn hello() -> &'static str {
    sleep(Duration::from_secs(2)).await;
    "hello\n"
}

async fn bind(name: &str, default: &str) -> io::Result<TcpListener> {
    let address = env::var(name).unwrap_or_else(|_| default.into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("{name}: listening on {}", listener.local_addr()?);
    Ok(listener)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(5))
        .min_failed_probes(1);

    let app = Router::new().route("/", get(hello));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<Greeter>().await;
    tokio::spawn(health::report(drain.clone(), health, &["", Greeter::NAME]));
    let grpc = tonic::transport::Server::builder()
        .layer(drain.layer().exempt(health::is_check))
        .add_service(health_service)
        .add_service(Greeter);

    let http_listener = bind("ADDR", "127.0.0.1:8080").await?;
    let grpc_listener = bind("GRPC_ADDR", "127.0.0.1:50051").await?;
    let admin_listener = bind("ADMIN_ADDR", "127.0.0.1:9090").await?;
    // Not part of the shutdown: it ends with the process.
    tokio::spawn(axum::serve(admin_listener, admin::router(&drain)).into_future());

    let shutdown = shutdown
        .listener(&http_listener)?
        .listener(&grpc_listener)?;
    let grpc_incoming = TcpListenerStream::new(grpc_listener);
    shutdown
        .run(async |closing| {
            // One drain, with a layer for each server.
            let app = app.layer(drain.layer());
            let http = axum::serve(http_listener, app).with_graceful_shutdown(closing.clone());
            let grpc = grpc.serve_with_incoming_shutdown(grpc_incoming, closing);
            // If one of them fails, the shutdown starts, and requests in flight on both are waited for.
            let http = async { http.await.map_err(BoxError::from) };
            let grpc = async { grpc.await.map_err(BoxError::from) };
            tokio::try_join!(http, grpc).map(|_| ())
        })
        .await?;
    Ok(())
}
