//! Ends endless response bodies when the server closes.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Response, response};
use pin_project_lite::pin_project;

use super::grpc;
use super::headers::ConnectionRule;
use crate::gate::{Changed, GateRef};

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

pin_project! {
    /// Waits for the server to close, on behalf of a response body.
    pub(super) struct StreamEnd {
        // Created before the gate is read, so that it sees each change after the read.
        #[pin]
        changed: Changed,
        gate: GateRef,
        has_trailers: bool,
        // Whether a frame has passed since the server began to close. That one is the last.
        is_over: bool,
    }
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
    ) -> Option<Pin<Box<Self>>> {
        let (head, body) = match mem::replace(polled, Poll::Pending) {
            Poll::Ready(Ok(response)) => response.into_parts(),
            other => {
                *polled = other;
                return None;
            }
        };
        let end = (!head.headers.contains_key(CONTENT_LENGTH) && choose(&head)).then(|| {
            Box::pin(Self {
                changed: gate.changed(),
                gate,
                has_trailers: rule == ConnectionRule::NoHeader && grpc::has_trailers(&head.headers),
                is_over: false,
            })
        });
        *polled = Poll::Ready(Ok(Response::from_parts(head, body)));
        end
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// If the server is closing, makes the frame that has just passed the last one.
    pub(super) fn frame_passed(self: Pin<&mut Self>) {
        let this = self.project();
        *this.is_over = this.gate.is_closing();
    }

    /// Waits until the server is closing.
    pub(super) fn poll_closing(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        while !this.gate.is_closing() {
            ready!(this.changed.as_mut().poll(cx));
            this.changed.set(this.gate.changed());
        }
        Poll::Ready(())
    }

    /// Returns the trailers that end a gRPC response.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        self.has_trailers
            .then(|| grpc::unavailable_trailers(grpc::CLOSING))
    }
}
