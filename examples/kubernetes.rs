//! A pod that loses no request when it is replaced. Its manifest is `kubernetes/deployment.yaml`.
//!
//! ```sh
//! cargo run --example kubernetes
//! curl -i http://127.0.0.1:8080/readyz       # 200, and 503 from SIGTERM on
//! kill -TERM "$(pgrep -x kubernetes)"
//! ```
//!
//! Kubernetes sends SIGTERM at the same time as it starts to tell its nodes and load balancers that the pod
//! is leaving. Nothing reports when they all know. So the pod goes on serving for a while: until no request
//! has arrived for 5 s, at most 15 s.

use std::env;
use std::io;
use std::time::Duration;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_drain::{Drain, Shutdown};

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    // The events of the crate: each phase, progress, and what was late.
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    // Altogether less than `terminationGracePeriodSeconds`. The lame duck does not wait for failed probes:
    // Kubernetes takes the pod out of its endpoints without them.
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(15))
        .quiet_period(Duration::from_secs(5))
        .timeout(Duration::from_secs(25))
        // A client that is asleep does not fail the deploy.
        .flush(Duration::from_secs(3));

    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        // Tracked, so that the log says which request holds up a deploy.
        .layer(drain.layer().track_requests())
        // Added after the layer, so outside of it: probes are not worth waiting for.
        .route_service("/readyz", drain.readiness())
        // Alive to the end: a liveness probe that fails while draining gets the pod killed.
        .route("/livez", get(|| async { "alive\n" }));
    let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    #[cfg(unix)]
    let shutdown = shutdown.listener(&listener)?;

    shutdown
        .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() {
    let outcome = serve().await;
    if let Err(error) = &outcome {
        eprintln!("{error}");
    }
    // Returning would wait for blocking tasks without a limit.
    std::process::exit(outcome.is_err().into())
}
