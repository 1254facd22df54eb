//! A service under systemd, which it notifies: ready, what it is doing, and that it stops. Its unit is
//! `systemd/hello.service`.
//!
//! ```sh
//! cargo run --example systemd                # outside systemd the notifications go nowhere
//! pkill -TERM -f examples/systemd            # or Ctrl-C in the first terminal
//! ```

#[cfg(not(unix))]
fn main() {}

#[cfg(unix)]
async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    use std::env;
    use std::io;
    use std::time::Duration;

    use axum::{Router, routing::get};
    use sd_notify::{NotifyState, notify};
    use tokio::net::TcpListener;
    use tower_drain::{Drain, Phase, Shutdown};

    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(10))
        .min_failed_probes(3)
        .quiet_period(Duration::from_secs(1))
        .timeout(Duration::from_secs(30));

    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .layer(drain.layer().track_requests())
        .route_service("/readyz", drain.readiness());
    let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);

    let phases = drain.clone();
    tokio::spawn(async move {
        phases.reached(Phase::LameDuck).await;
        let _ = notify(&[NotifyState::Status(
            "lame duck: waiting for the load balancer",
        )]);
        phases.closing().await;
        // Not earlier: for systemd it is final, like closing, and a lame duck can be left.
        let status = format!("closing: {} in flight", phases.in_flight());
        let _ = notify(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    });
    // Ready: it listens, for connections and for signals.
    let _ = notify(&[NotifyState::Ready, NotifyState::Status("serving")]);

    shutdown
        .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
        .await?;
    Ok(())
}

#[cfg(unix)]
#[tokio::main]
async fn main() {
    let outcome = serve().await;
    if let Err(error) = &outcome {
        eprintln!("{error}");
    }
    // Returning would wait for blocking tasks without a limit.
    std::process::exit(outcome.is_err().into())
}
