//! Server-sent events: endless streams, which would keep any graceful shutdown waiting. The layer ends each at a time of
//! its own in the second half of the lame duck. Browsers then reconnect, to another server, and `Last-Event-ID` says where
//! to continue.
//!
//! ```sh
//! cargo run --example sse
//! curl -N http://127.0.0.1:8080/             # then `kill -TERM` the server, or Ctrl-C in its terminal
//! ```

use std::convert::Infallible;
use std::env;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt};
use tokio::net::TcpListener;
use tokio::time::interval;
use tokio_stream::wrappers::IntervalStream;
use tower_drain::{Drain, Shutdown, is_event_stream};

async fn events(headers: HeaderMap) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last: u64 = last.and_then(|id| id.parse().ok()).unwrap_or(0);
    let ticks = IntervalStream::new(interval(Duration::from_secs(1))).enumerate();
    Sse::new(ticks.map(move |(number, _)| {
        let id = last + 1 + number as u64;
        Ok(Event::default().id(id.to_string()).data("tick"))
    }))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(3))
        .timeout(Duration::from_secs(10));
    let app = Router::new().route("/", get(events));
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    shutdown
        .listener(&listener)?
        .run(|closing| {
            let app = app.layer(drain.layer().end_streams(is_event_stream));
            axum::serve(listener, app).with_graceful_shutdown(closing)
        })
        .await?;
    Ok(())
}
