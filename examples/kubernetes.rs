//! A pod that loses no request when it is replaced. Its manifest is `kubernetes/deployment.yaml`.
//!
//! ```sh
//! cargo run --example kubernetes
//! curl -i http://127.0.0.1:9090/readyz       # 200, and 503 from SIGTERM on; also /livez, /metrics
//! kill -TERM "$(pgrep -x kubernetes)"
//! ```
//!
//! Kubernetes sends SIGTERM at the same time as it starts to tell its nodes and load balancers that the pod
//! is leaving. Nothing reports when they all know. So the pod continues to serve for 15 s.

mod admin;

use std::env;
use std::future::IntoFuture;
use std::time::Duration;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_drain::{Drain, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    // Altogether less than `terminationGracePeriodSeconds`. Nothing ends the lame duck early: Kubernetes removes
    // the pod from its endpoints without failed probes, and a pod without requests may still get new ones.
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(15))
        .timeout(Duration::from_secs(25));

    let app = Router::new().route("/", get(|| async { "hello\n" }));
    let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);

    // Probes and metrics have their own port. The public cannot reach it, and it stays open until the process
    // ends.
    let address = env::var("ADMIN_ADDR").unwrap_or_else(|_| "0.0.0.0:9090".into());
    let admin = TcpListener::bind(address).await?;
    tracing::info!("admin port: {}", admin.local_addr()?);
    tokio::spawn(axum::serve(admin, admin::router(&drain)).into_future());

    shutdown
        .listener(&listener)?
        .run(|closing| {
            // Tracked, so that the log says which request holds up a deploy.
            let app = app.layer(drain.layer().track_requests());
            axum::serve(listener, app).with_graceful_shutdown(closing)
        })
        .await?;
    Ok(())
}
