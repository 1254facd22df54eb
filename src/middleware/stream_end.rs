//! Ends endless response bodies when the server closes.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response, response};

use super::grpc;
use super::headers::ConnectionRule;
use crate::drain::{Phase, Reached};
use crate::gate::GateRef;

/// Chooses responses by their heads.
pub(super) type ChooseStreams = fn(&response::Parts) -> bool;

/// Returns whether a response is a stream of server-sent events: `Content-Type: text/event-stream`.
///
/// For [`DrainLayer::end_streams`](crate::DrainLayer::end_streams).
///
/// # Examples
///
/// ```
/// use http::Response;
/// use tower_drain::is_event_stream;
///
/// let response = Response::builder()
///     .header("content-type", "text/event-stream; charset=utf-8")
///     .body(())?;
/// let (head, ()) = response.into_parts();
/// assert!(is_event_stream(&head));
/// # Ok::<_, http::Error>(())
/// ```
pub fn is_event_stream(head: &response::Parts) -> bool {
    let value = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let essence = value.and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// The end of a response body when the server closes.
pub(super) struct StreamEnd {
    closing: Reached,
    has_trailers: bool,
    /// Whether a frame has passed since the server began to close. That one is the last.
    is_over: bool,
}

impl StreamEnd {
    /// Returns `None` if the response is not chosen, or if its length is known.
    #[cold]
    #[inline(never)]
    pub(super) fn of<B, E>(
        polled: &mut Poll<Result<Response<B>, E>>,
        choose: ChooseStreams,
        rule: ConnectionRule,
        gate: GateRef,
    ) -> Option<Box<Self>> {
        let (head, body) = match mem::replace(polled, Poll::Pending) {
            Poll::Ready(Ok(response)) => response.into_parts(),
            other => {
                *polled = other;
                return None;
            }
        };
        let is_chosen = !head.headers.contains_key(CONTENT_LENGTH) && choose(&head);
        let end = is_chosen.then(|| {
            Box::new(Self {
                closing: Reached::new(gate, Phase::Closing),
                has_trailers: !rule.is_http1() && grpc::has_trailers(&head.headers),
                is_over: false,
            })
        });
        *polled = Poll::Ready(Ok(Response::from_parts(head, body)));
        end
    }

    /// Whether a last frame has passed.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Waits until the server is closing, or a last frame has passed.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.closing).poll(cx)
    }

    /// Called for each frame. If the server is closing, the first one is the last. Returns true for later ones.
    pub(super) fn frame_passes(&mut self) -> bool {
        let is_closing = self.closing.is_reached();
        mem::replace(&mut self.is_over, is_closing)
    }

    /// Returns the trailers that end a gRPC response.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        self.has_trailers
            .then(|| grpc::unavailable_trailers(grpc::CLOSING))
    }
}
