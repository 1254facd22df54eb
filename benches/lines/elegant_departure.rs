// elegant-departure 0.3.2, examples/axum.rs plus a deadline of 20 s from the signal
// (not documented by the crate, built from its shutdown guard).

use std::time::Duration;

use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new().route("/", get(|| async { "hello" }));

    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;

    let server = axum::serve(listener, app)
        .with_graceful_shutdown(elegant_departure::tokio::depart().on_termination());

    tokio::select! {
        result = server => result?,
        _ = deadline() => {},
    }

    Ok(())
}

async fn deadline() {
    let guard = elegant_departure::get_shutdown_guard();
    guard.wait().await;
    drop(guard);
    tokio::time::sleep(Duration::from_secs(20)).await;
}
