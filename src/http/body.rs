use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::grpc;
use crate::drain::{Reply, Tracked};
use crate::gate::Permit;

pin_project! {
    /// The body of a response that has passed a [`DrainService`](crate::DrainService): the inner
    /// service's own, and the permit of its request, which is released when this is dropped.
    ///
    /// Frames, trailers, errors, the size hint and the end of the stream pass untouched, unless the
    /// request is [cancelled](crate::Drain::cancel). The body of the default refusal is empty.
    pub struct ResponseBody<B> {
        // In this order: the permit is released after the body has been dropped.
        #[pin]
        inner: Option<B>,
        tracked: Option<Tracked>,
        permit: Option<Permit>,
    }
}

/// The error of a [`ResponseBody`].
///
/// It converts into `Box<dyn Error>`, which is all that a server wants, as the inner body's does. It is
/// no `Error` itself, so that the inner body's need not be one either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError<E> {
    /// The inner body failed.
    Inner(E),
    /// The request was [cancelled](crate::Drain::cancel) before its body had been sent.
    Cancelled(Cancelled),
}

/// What a [`BodyError`] converts into when it is not the inner body's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

impl<B> ResponseBody<B> {
    #[inline]
    pub(super) fn new(body: B, tracked: Option<Tracked>, permit: Option<Permit>) -> Self {
        Self {
            inner: Some(body),
            tracked,
            permit,
        }
    }

    pub(super) fn empty() -> Self {
        Self {
            inner: None,
            tracked: None,
            permit: None,
        }
    }
}

impl<B: Body> ResponseBody<B> {
    /// Ends a body that is being sent: by trailers if its client looks for its status there, or else
    /// by an error, so that it never looks complete.
    #[cold]
    fn cut_off(self: Pin<&mut Self>, reply: &Reply) -> Result<Frame<B::Data>, BodyError<B::Error>> {
        let mut this = self.project();
        this.inner.set(None);
        *this.tracked = None;
        match reply.grpc.as_ref().and_then(grpc::cut_off) {
            Some(trailers) => Ok(Frame::trailers(trailers)),
            None => Err(BodyError::Cancelled(Cancelled)),
        }
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = BodyError<B::Error>;

    #[inline]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        // Before the inner body, which may have a next frame for ever.
        if let Some(reply) = self.tracked.as_ref().and_then(Tracked::cancelled) {
            return Poll::Ready(Some(self.cut_off(&reply)));
        }
        let this = self.as_mut().project();
        let polled = match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx),
            None => Poll::Ready(None),
        };
        if polled.is_pending() {
            if let Some(tracked) = this.tracked {
                if let Poll::Ready(reply) = tracked.poll_cancelled(cx) {
                    return Poll::Ready(Some(self.cut_off(&reply)));
                }
            }
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(BodyError::Inner)))
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

// === impl BodyError ===

impl<E: fmt::Display> fmt::Display for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Cancelled(cancelled) => cancelled.fmt(f),
        }
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>>> From<BodyError<E>> for Box<dyn Error + Send + Sync> {
    fn from(error: BodyError<E>) -> Self {
        match error {
            BodyError::Inner(error) => error.into(),
            BodyError::Cancelled(cancelled) => cancelled.into(),
        }
    }
}

impl<E: Into<Box<dyn Error>>> From<BodyError<E>> for Box<dyn Error> {
    fn from(error: BodyError<E>) -> Self {
        match error {
            BodyError::Inner(error) => error.into(),
            BodyError::Cancelled(cancelled) => cancelled.into(),
        }
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was cancelled: the server is shutting down")
    }
}

impl Error for Cancelled {}
