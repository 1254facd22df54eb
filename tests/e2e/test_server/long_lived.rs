//! Long-lived work that ends at its goodbye: event streams and long polls.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::response::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use tokio::time::interval;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::IntervalStream;
use tower_drain::{Drain, is_event_stream};
use tracing::info;

pub(crate) fn routes(drain: &Drain) -> Router {
    Router::new()
        .route("/page", get(async || Html(PAGE)))
        .route("/events", get(events))
        .route("/seen", post(async |seen: String| info!("seen {seen}")))
        .route("/silent", get(silent))
        .route("/poll", get(poll))
        .with_state(drain.clone())
}

/// Chooses the streams of these routes, not that of `/sse`.
pub(crate) fn is_endless(method: &Method, uri: &Uri, head: &Parts) -> bool {
    is_event_stream(method, uri, head) && head.headers.contains_key("x-endless")
}

/// A stream that continues after the last event that the client has seen. Each event says who sends it.
async fn events(headers: HeaderMap) -> impl IntoResponse {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let last: usize = last.and_then(|id| id.parse().ok()).unwrap_or(0);
    let ticks = IntervalStream::new(interval(Duration::from_millis(50)));
    let mut id = last;
    let events = ticks.map(move |_| {
        id += 1;
        let event = Event::default().id(id.to_string());
        let event = event.data(std::process::id().to_string());
        Ok::<_, Infallible>(event.retry(Duration::from_millis(50)))
    });
    ([("x-endless", "")], Sse::new(events))
}

/// Follows `/events`, once or as often as its URL says. After each event, reports all that the stream has brought: IDs, and
/// who sent them.
const PAGE: &str = r#"<script>
  for (let stream = 0; stream < (location.hash.slice(1) || 1); stream += 1) {
    const seen = [];
    new EventSource("/events").onmessage = (event) => {
      seen.push(`${event.lastEventId}@${event.data}`);
      fetch("/seen", { method: "POST", body: `${stream}: ${seen.join(" ")}` }).catch(() => {});
    };
  }
</script>"#;

/// A stream of one event.
async fn silent() -> impl IntoResponse {
    let event = Event::default().data("only");
    let events = tokio_stream::once(Ok::<_, Infallible>(event)).chain(tokio_stream::pending());
    ([("x-endless", "")], Sse::new(events))
}

/// A long poll for news that never come.
async fn poll(State(drain): State<Drain>) -> StatusCode {
    drain.goodbye().await;
    StatusCode::NO_CONTENT
}
