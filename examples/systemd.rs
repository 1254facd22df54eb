//! A service under systemd, which it tells when it is ready, what it is doing and that it stops. Its
//! unit is `systemd/hello.service`.
//!
//! ```sh
//! cargo run --example systemd                # outside systemd it notifies nobody
//! pkill -TERM -f examples/systemd            # or Ctrl-C in the first terminal
//! ```

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::env;
    use std::io;
    use std::time::Duration;

    use axum::{Router, routing::get};
    use sd_notify::{NotifyState, notify};
    use tokio::net::TcpListener;
    use tower_drain::{Drain, Phase, Shutdown};

    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .layer(drain.layer().track_requests())
        .route_service("/readyz", drain.readiness());
    let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let server = axum::serve(listener, app).with_graceful_shutdown(drain.draining());

    let phases = drain.clone();
    tokio::spawn(async move {
        phases.reached(Phase::LameDuck).await;
        let _ = notify(&[NotifyState::Status("lame duck: waiting for the balancer")]);
        phases.draining().await;
        // Not before: to systemd it is final, as draining is, and a lame duck can be taken back.
        let status = format!("draining: {} in flight", phases.in_flight());
        let _ = notify(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    });

    Shutdown::new(&drain)
        .lame_duck(Duration::from_secs(10))
        .probes(3)
        .quiet(Duration::from_secs(1))
        .timeout(Duration::from_secs(30))
        .run(async {
            // Ready means: listening, for connections and for signals.
            let _ = notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
            tracing::info!("listening on {address}");
            server.await
        })
        .await?;
    Ok(())
}
