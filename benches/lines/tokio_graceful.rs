// tokio-graceful 0.2.2 with axum::serve in place of the accept loop of its hyper example
// (not documented by the crate).

use std::time::Duration;

use axum::{Router, routing::get};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() {
    let shutdown = tokio_graceful::Shutdown::default();

    shutdown.spawn_task_fn(serve);

    let _ = shutdown.shutdown_with_limit(Duration::from_secs(20)).await;
}

async fn serve(guard: tokio_graceful::ShutdownGuard) {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let listener = TcpListener::bind("0.0.0.0:8080").await.unwrap();

    axum::serve(listener, app)
        .with_graceful_shutdown(guard.clone_weak().into_cancelled())
        .await
        .unwrap();
}
