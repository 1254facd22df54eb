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
    /// Frames, trailers, errors, the size hint and the end of the stream pass untouched. The body
    /// of the default refusal is empty.
    pub struct ResponseBody<B> {
        // In this order: the permit is released after the body has been dropped.
        #[pin]
        inner: Option<B>,
        permit: Option<Permit>,
    }
}

impl<B> ResponseBody<B> {
    #[inline]
    pub(super) fn new(body: B, permit: Option<Permit>) -> Self {
        Self {
            inner: Some(body),
            permit,
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            inner: None,
            permit: None,
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(B::is_end_stream)
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// An empty body, of no request.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("inner", &self.inner)
            .field("permit", &self.permit)
            .finish()
    }
}
