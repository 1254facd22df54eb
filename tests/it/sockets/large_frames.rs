//! A large last frame is in flight until the server has written it, although the server drops its body before.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tokio::sync::oneshot;

use super::*;

/// More than the buffers of both kernels hold.
const SIZE: usize = 64 << 20;

/// One frame, and a message when the server drops it.
struct Dropped {
    frame: Full<Bytes>,
    _dropped: oneshot::Sender<Infallible>,
}

impl Body for Dropped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Pin::new(&mut self.frame).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.frame.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.frame.size_hint()
    }
}

#[tokio::test]
async fn a_large_frame_is_in_flight_until_it_is_written() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let drain = Drain::new();
        let (dropped, is_dropped) = oneshot::channel();
        let body = std::sync::Mutex::new(Some(Dropped {
            frame: Full::from(vec![b'x'; SIZE]),
            _dropped: dropped,
        }));
        let body = Arc::new(body);
        let handler = async move || axum::body::Body::new(body.lock().unwrap().take().unwrap());
        let app = Router::new()
            .route("/", get(handler))
            .layer(drain.layer().track_requests());
        // Not asked to close: on HTTP/2, a connection that is closed while the client sends window updates is reset.
        let server = Server::axum(&drain, app, pending()).await;
        // The client reads the head, and then only as much as it is asked for.
        let response = server.get(version, "/").await.unwrap();
        is_dropped.await.unwrap_err();
        assert_eq!((drain.in_flight(), drain.requests().len()), (1, 1));
        let wait = drain.drain(LONG);
        assert_eq!(drain.phase(), Phase::Draining);
        let whole = response.into_body().collect().await.expect("a cut body");
        assert_eq!(whole.to_bytes().len(), SIZE);
        wait.await.unwrap();
    }
}
