//! A gRPC server with tonic. Its health service reports NOT_SERVING from the lame duck on. Calls that
//! cross the server's GOAWAY are served; later ones get status 14, `UNAVAILABLE`, on which clients retry
//! elsewhere.
//!
//! ```sh
//! cargo run --example tonic                 # serves on 127.0.0.1:50051 until Ctrl-C
//! ```

mod greeter;
mod health;

use std::env;
use std::error::Error;
use std::time::Duration;

use greeter::Greeter;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::server::NamedService;
use tonic::service::interceptor::InterceptedService;
use tower_drain::{Drain, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        // Until a health check has failed and no call has arrived for a second, for at most 5 s.
        .lame_duck(Duration::from_secs(5))
        .min_failed_probes(1)
        .quiet_period(Duration::from_secs(1));

    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<Greeter>().await;
    tokio::spawn(health::report(drain.clone(), health, &["", Greeter::NAME]));
    let checked = drain.clone();
    let health_service = InterceptedService::new(health_service, move |check| {
        if !checked.is_ready() {
            checked.record_failed_probe();
        }
        Ok(check)
    });

    let server = tonic::transport::Server::builder()
        // A client that vanishes without closing would keep its connection open, and the server running.
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .layer(drain.layer().exempt(health::is_check))
        .add_service(health_service)
        .add_service(Greeter);

    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:50051".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    let shutdown = shutdown.listener(&listener)?;
    let incoming = TcpListenerStream::new(listener);
    // With an address instead of a listener: `serve_with_shutdown(address, closing)`.
    shutdown
        .run(|closing| server.serve_with_incoming_shutdown(incoming, closing))
        .await?;
    Ok(())
}
