//! Routes that make a shutdown difficult. Each handler logs that it runs.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::sse::{Event, Sse};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::time::{interval, sleep};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::IntervalStream;
use tower_drain::Drain;
use tracing::info;

use crate::long_lived;

pub(crate) fn routes(drain: &Drain) -> Router {
    let closing = drain.clone();
    let refusing = drain.clone();
    let chunks = drain.clone();
    Router::new()
        .route("/", get(|| async { "hello" }))
        // For the load: a short request, and one with a body.
        .route(
            "/work",
            get(|| async {
                sleep(Duration::from_millis(2)).await;
                "worked"
            }),
        )
        .route("/echo", post(|body: Bytes| async { body }))
        .route(
            "/count",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/bulk", get(|| async { vec![b'.'; 100_000] }))
        // So many bytes, in one chunk or in many.
        .route(
            "/bytes/{number}",
            get(|Path(number): Path<usize>| async move {
                info!("runs /bytes");
                vec![b'.'; number]
            }),
        )
        .route(
            "/chunks/{number}",
            get(|Path(number): Path<usize>| async move {
                info!("runs /chunks");
                let chunk = Bytes::from_static(&[b'.'; 10_000]);
                let chunks = tokio_stream::iter(
                    (0..number / chunk.len()).map(move |_| Ok::<_, Infallible>(chunk.clone())),
                );
                Body::from_stream(chunks)
            }),
        )
        // Holds up a worker of the runtime.
        .route(
            "/block",
            get(|| async {
                std::thread::sleep(Duration::from_millis(300));
                "blocked"
            }),
        )
        // In flight across the signal.
        .route(
            "/closing",
            get(async move || {
                info!("runs /closing");
                closing.closing().await;
                "done"
            }),
        )
        // In flight until another request has been refused.
        .route(
            "/refused",
            get(async move || {
                info!("runs /refused");
                while refusing.refused() == 0 {
                    sleep(Duration::from_millis(5)).await;
                }
                "done"
            }),
        )
        .route(
            "/never",
            get(async || -> Infallible {
                info!("runs /never");
                pending().await
            }),
        )
        // The second chunk follows when the server is asked to close.
        .route(
            "/chunks",
            get(async move || {
                let first = tokio_stream::once(Bytes::from("first,"));
                let last = once(async move {
                    info!("runs /chunks");
                    chunks.closing().await;
                    Bytes::from("last")
                });
                Body::from_stream(first.chain(last).map(Ok::<_, Infallible>))
            }),
        )
        .route(
            "/big",
            get(async || {
                info!("runs /big");
                vec![b'.'; 64 << 20]
            }),
        )
        .merge(long_lived::routes(drain))
        .route(
            "/sse",
            get(async || {
                info!("runs /sse");
                let ticks = IntervalStream::new(interval(Duration::from_millis(10)));
                Sse::new(ticks.map(|_| Ok::<_, Infallible>(Event::default().data("tick"))))
            }),
        )
}

/// A stream of one item, once it is ready.
fn once<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl tokio_stream::Stream<Item = T> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move { sender.send(future.await).await });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}
