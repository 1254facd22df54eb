// tower-drain, as in the README.

use std::time::Duration;

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use tower_drain::{Drain, Shutdown};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain).timeout(Duration::from_secs(20));
    let app = Router::new().route("/", get(|| async { "hello" }));
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    shutdown
        .listener(&listener)?
        .run(|closing| {
            axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
        })
        .await?;
    Ok(())
}
