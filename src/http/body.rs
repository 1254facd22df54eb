use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::gate::Permit;

pin_project! {
    /// The body of a response that has passed a [`DrainService`](crate::DrainService): the inner
    /// service's own, and the permit of its request, which is released when this is dropped.
    ///
    /// Frames, trailers, errors, the size hint and the end of the stream pass untouched.
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        // In this order: the permit is released after the body has been dropped.
        Inner { #[pin] body: B, permit: Option<Permit> },
        Empty,
    }
}

impl<B> ResponseBody<B> {
    pub(super) fn new(body: B, permit: Option<Permit>) -> Self {
        Self {
            kind: Kind::Inner { body, permit },
        }
    }

    pub(super) fn empty() -> Self {
        Self { kind: Kind::Empty }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body, .. } => body.poll_frame(cx),
            KindProj::Empty => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body, .. } => body.is_end_stream(),
            Kind::Empty => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body, .. } => body.size_hint(),
            Kind::Empty => SizeHint::with_exact(0),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Inner { body, permit } => f
                .debug_struct("ResponseBody")
                .field("inner", body)
                .field("permit", permit)
                .finish(),
            Kind::Empty => f.write_str("ResponseBody(empty)"),
        }
    }
}
