//! Ends endless response bodies at their goodbye.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::uri::Parts;
use http::{HeaderMap, Method, Request, Response, Uri, response};

use super::grpc;
use super::headers::ConnectionRule;
use crate::gate::{GateRef, Goodbye};

/// Chooses responses by the request and their heads.
pub(super) type ChooseStreams = fn(&Method, &Uri, &response::Parts) -> bool;

/// Returns whether a response is an endless stream of server-sent events: the answer to a `GET`, with
/// `Content-Type: text/event-stream`. That is what an `EventSource` asks for.
///
/// For [`DrainLayer::end_streams`](crate::DrainLayer::end_streams). Answers to other methods usually have an end: those
/// of language models, and those of MCP servers to a `POST`.
///
/// # Examples
///
/// ```
/// use http::{Method, Response, Uri};
/// use tower_drain::is_event_stream;
///
/// let response = Response::builder()
///     .header("content-type", "text/event-stream; charset=utf-8")
///     .body(())?;
/// let (head, ()) = response.into_parts();
/// let uri = Uri::from_static("/events");
/// assert!(is_event_stream(&Method::GET, &uri, &head));
/// assert!(!is_event_stream(&Method::POST, &uri, &head));
/// # Ok::<_, http::Error>(())
/// ```
pub fn is_event_stream(method: &Method, _uri: &Uri, head: &response::Parts) -> bool {
    let value = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let essence = value.and_then(|value| value.split(|byte| *byte == b';').next());
    let is_stream = essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    });
    is_stream && method == Method::GET
}

/// What is asked about a response once it is there, if the layer ends streams.
pub(super) struct Question {
    choose: ChooseStreams,
    method: Method,
    /// Scheme, authority and path of the URI. As text, because to clone a `Uri` is to lend it to unknown code, and then the
    /// compiler copies each request once more, with this setting or without.
    uri: String,
    scheme_length: usize,
    authority_length: usize,
}

impl Question {
    /// Out of line and boxed, because most layers end no streams.
    #[cold]
    #[inline(never)]
    pub(super) fn about<B>(request: &Request<B>, choose: ChooseStreams) -> Box<Self> {
        let uri = request.uri();
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let path = uri.path_and_query().map_or("", |path| path.as_str());
        let mut text = String::with_capacity(scheme.len() + authority.len() + path.len());
        for part in [scheme, authority, path] {
            text.push_str(part);
        }
        Box::new(Self {
            choose,
            method: request.method().clone(),
            uri: text,
            scheme_length: scheme.len(),
            authority_length: authority.len(),
        })
    }

    fn uri(&self) -> Result<Uri, http::Error> {
        let (scheme, rest) = self.uri.split_at(self.scheme_length);
        let (authority, path) = rest.split_at(self.authority_length);
        let mut parts = Parts::default();
        if !scheme.is_empty() {
            parts.scheme = Some(scheme.parse()?);
        }
        if !authority.is_empty() {
            parts.authority = Some(authority.parse()?);
        }
        if !path.is_empty() {
            parts.path_and_query = Some(path.parse()?);
        }
        Ok(Uri::from_parts(parts)?)
    }

    fn chooses(&self, head: &response::Parts) -> bool {
        // Never an error: these are the parts of a URI.
        let uri = self.uri().unwrap_or_default();
        (self.choose)(&self.method, &uri, head)
    }
}

/// The end of a response body at its goodbye.
pub(super) struct StreamEnd {
    goodbye: Goodbye,
    has_trailers: bool,
    /// Whether a frame has passed since the goodbye. That one is the last.
    is_over: bool,
}

impl StreamEnd {
    /// Returns `None` if the response is not chosen, or if its length is known.
    #[cold]
    #[inline(never)]
    pub(super) fn of<B, E>(
        polled: &mut Poll<Result<Response<B>, E>>,
        question: &Question,
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
        let is_chosen = !head.headers.contains_key(CONTENT_LENGTH) && question.chooses(&head);
        let end = is_chosen.then(|| {
            Box::new(Self {
                goodbye: Goodbye::new(gate),
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

    /// Waits for the goodbye.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.goodbye).poll(cx)
    }

    /// Called for each frame. The first one after the goodbye is the last. Returns true for later ones.
    pub(super) fn frame_passes(&mut self, cx: &mut Context<'_>) -> bool {
        // Polled, so that a stream that is never pending has a goodbye too.
        let is_due = self.poll_over(cx).is_ready();
        mem::replace(&mut self.is_over, is_due)
    }

    /// Returns the trailers that end a gRPC response.
    pub(super) fn trailers(&self) -> Option<HeaderMap> {
        self.has_trailers
            .then(|| grpc::unavailable_trailers(grpc::CLOSING))
    }
}
