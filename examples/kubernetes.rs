//! A pod that loses no request when it is replaced. Its manifest is `kubernetes/deployment.yaml`.
//!
//! ```sh
//! cargo run --example kubernetes
//! curl -i http://127.0.0.1:8080/readyz       # 200, and 503 from SIGTERM on
//! kill -TERM "$(pgrep -x kubernetes)"
//! ```
//!
//! Kubernetes sends SIGTERM at the same time as it begins to tell its nodes and balancers that the
//! pod is going away, and nobody reports when they all know. So the pod goes on serving for a while:
//! until nobody has come for 5 s, and 15 s at the most.

use std::env;
use std::io;
use std::time::Duration;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_drain::{Drain, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The crate's own events say which phase it is in, how it comes along and what was late.
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        // By name, so that the log says which request it is that holds up a deploy.
        .layer(drain.layer().track_requests())
        // After the layer, so outside of it: probes are no requests to wait for.
        .route_service("/readyz", drain.readiness())
        // Alive to the end: a liveness probe that failed while draining would get the pod killed.
        .route("/livez", get(|| async { "alive\n" }));

    let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let server = axum::serve(listener, app).with_graceful_shutdown(drain.draining());

    // Together less than `terminationGracePeriodSeconds`.
    Shutdown::new(&drain)
        .lame_duck(Duration::from_secs(15))
        .quiet(Duration::from_secs(5))
        .timeout(Duration::from_secs(25))
        .run(async {
            tracing::info!("listening on {address}");
            server.await
        })
        .await?; // An error makes the exit code 1.
    Ok(())
}
