// axum 0.8.9 with tower-http 0.7.1, after tokio-rs/axum examples/graceful-shutdown/src/main.rs.
// Does not: bound the shutdown itself. TimeoutLayer limits each request to 20 s, at all times;
// a connection that never finishes sending its request head can still hold the server up.

use std::time::Duration;

use axum::{Router, http::StatusCode, routing::get};
use tokio::net::TcpListener;
use tokio::signal;
use tower_http::timeout::TimeoutLayer;

#[tokio::main]
async fn main() {
    let app =
        Router::new()
            .route("/", get(|| async { "hello" }))
            .layer(TimeoutLayer::with_status_code(
                StatusCode::REQUEST_TIMEOUT,
                Duration::from_secs(20),
            ));

    let listener = TcpListener::bind("0.0.0.0:8080").await.unwrap();

    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown_signal())
        .await
        .unwrap();
}

async fn shutdown_signal() {
    let ctrl_c = async {
        signal::ctrl_c()
            .await
            .expect("failed to install Ctrl+C handler");
    };

    #[cfg(unix)]
    let terminate = async {
        signal::unix::signal(signal::unix::SignalKind::terminate())
            .expect("failed to install signal handler")
            .recv()
            .await;
    };

    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();

    tokio::select! {
        _ = ctrl_c => {},
        _ = terminate => {},
    }
}
