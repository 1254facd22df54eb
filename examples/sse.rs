//! Server-sent events: a stream without an end, which would keep any graceful shutdown waiting. It ends
//! itself when the server closes, by one line. The browser reconnects, to another server.
//!
//! ```sh
//! cargo run --example sse
//! curl -N http://127.0.0.1:8080/             # then Ctrl-C in the first terminal
//! ```

use std::convert::Infallible;
use std::env;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_drain::{Drain, Shutdown};

async fn events(State(drain): State<Drain>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let ticks = IntervalStream::new(interval(Duration::from_secs(1)))
        .map(|_| Ok(Event::default().data("tick")))
        .take_until(drain.closing()); // The line.
    Sse::new(ticks)
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    // The events of the crate: each phase, progress, and what was late.
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        .timeout(Duration::from_secs(10))
        .flush(Duration::from_secs(3));
    let app = Router::new()
        .route("/", get(events))
        .with_state(drain.clone())
        .layer(drain.layer());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
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
