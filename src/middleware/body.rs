use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::grpc;
use super::refusal::CancelReply;
use super::stream_end::StreamEnd;
use crate::drain::{BoxError, TrackedRequest};
use crate::gate::Permit;

pin_project! {
    /// Response body of a [`DrainService`](crate::DrainService): the inner service's body, and the
    /// request's permit, which is released when this is dropped.
    ///
    /// Frames, trailers, the size hint and the end of the stream pass unchanged, and errors are boxed. If the
    /// request is [cancelled](crate::Drain::cancel), the body ends with [`Cancelled`], or for gRPC with
    /// trailers. A body that the layer [ends](crate::DrainLayer::end_streams) ends cleanly when the server
    /// closes. The body of the default refusal is empty.
    pub struct ResponseBody<B> {
        // Dropped before the rest, which releases the request.
        #[pin]
        inner: Option<B>,
        // If tracked and `inner` is `None`, the request has been cancelled and the next poll fails.
        in_flight: Option<InFlight>,
        // `Some` if the body ends when the server closes.
        end: Option<Pin<Box<StreamEnd>>>,
    }
}

/// A request in flight, until it is dropped.
pub(super) struct InFlight {
    // Dropped in this order: the permit last.
    pub(super) tracked: Option<TrackedRequest>,
    pub(super) permit: Permit,
}

/// Error of a response body whose request was [cancelled](crate::Drain::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

type PolledFrame<B> = Poll<Option<Result<Frame<<B as Body>::Data>, BoxError>>>;

impl<B> ResponseBody<B> {
    #[inline]
    pub(super) fn new(
        body: B,
        in_flight: Option<InFlight>,
        end: Option<Pin<Box<StreamEnd>>>,
    ) -> Self {
        Self {
            inner: Some(body),
            in_flight,
            end,
        }
    }

    /// Creates the body of a refusal, which belongs to no request in flight.
    pub(super) fn of_refusal(inner: Option<B>) -> Self {
        Self {
            inner,
            in_flight: None,
            end: None,
        }
    }

    fn tracked(&self) -> Option<&TrackedRequest> {
        self.in_flight.as_ref()?.tracked.as_ref()
    }
}

impl<B> ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    /// Polls the body of a tracked request. Out of line, to keep the path of other requests short.
    #[inline(never)]
    fn poll_tracked(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        let mut this = self.project();
        let Some(InFlight { tracked, .. }) = this.in_flight else {
            return Poll::Ready(None);
        };
        let (Some(mut inner), Some(request)) = (this.inner.as_mut().as_pin_mut(), &tracked) else {
            *tracked = None;
            return Poll::Ready(Some(Err(Cancelled.into())));
        };
        // The inner body is polled first, so that a frame that completes it passes.
        let polled = inner.as_mut().poll_frame(cx);
        let cancelled = match &polled {
            Poll::Pending => request.poll_cancelled(cx),
            Poll::Ready(Some(Ok(frame))) if !(frame.is_trailers() || inner.is_end_stream()) => {
                request.responded()
            }
            Poll::Ready(_) => None,
        };
        let Some(tag) = cancelled else {
            return polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        };
        this.inner.set(None);
        if CancelReply::from_tag(tag).has_trailers() {
            *tracked = None;
            let trailers = grpc::unavailable_trailers(grpc::CANCELLED);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        // Pending once, because hyper flushes the head of the response while the body is pending. If the
        // body failed before that, hyper would drop the connection and the client would get no byte.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    #[inline]
    fn poll_inner(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        if self.tracked().is_some() {
            return self.poll_tracked(cx);
        }
        match self.project().inner.as_pin_mut() {
            Some(inner) => {
                let polled = inner.poll_frame(cx);
                polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
            None => Poll::Ready(None),
        }
    }

    /// Polls a body that ends when the server closes, after the frame that is ready then, if any.
    #[inline(never)]
    fn poll_ending(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        if self.size_hint().exact().is_some() {
            // The length is known, so the body ends by itself.
            self.as_mut().project().end.take();
        }
        let is_over = self.end.as_ref().is_some_and(|end| end.is_over());
        let polled = self.as_mut().poll_inner(cx);
        let this = self.as_mut().project();
        match (&polled, this.end) {
            // Over, unless the inner body ends by itself now.
            (Poll::Pending, _) if is_over => {}
            (Poll::Ready(Some(Ok(frame))), _) if is_over && frame.is_data() => {}
            // Cancelled: it fails on the next poll.
            (Poll::Pending, _) if this.inner.is_none() => return polled,
            (Poll::Pending, Some(end)) => ready!(end.as_mut().poll_closing(cx)),
            (Poll::Ready(Some(Ok(frame))), Some(end)) if frame.is_data() => {
                end.as_mut().frame_passed();
                return polled;
            }
            // The body has ended by itself.
            (_, end) => {
                *end = None;
                return polled;
            }
        }
        let mut this = self.project();
        this.inner.set(None);
        if let Some(in_flight) = this.in_flight {
            in_flight.tracked = None;
        }
        let trailers = this.end.take().and_then(|end| end.trailers());
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        if self.end.is_some() {
            return self.poll_ending(cx);
        }
        self.poll_inner(cx)
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => self.tracked().is_none(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None if self.tracked().is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// Creates an empty body that belongs to no request.
impl<B> Default for ResponseBody<B> {
    fn default() -> Self {
        Self::of_refusal(None)
    }
}

impl<B: fmt::Debug> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("inner", &self.inner)
            .field("permit", &self.in_flight.as_ref().map(|held| &held.permit))
            .finish()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was cancelled: the server is shutting down")
    }
}

impl Error for Cancelled {}
