//! The response body, and what a request in flight holds.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::grpc;
use super::stream_end::StreamEnd;
use crate::drain::{BoxError, TrackedRequest};
use crate::gate::Count;

/// A last frame of this size holds the permit until it is sent. HTTP servers copy smaller ones into their buffers.
const LARGE_FRAME: usize = 64 * 1024;

pin_project! {
    /// Response body of a [`DrainService`](crate::DrainService): the inner service's body, and the
    /// request's permit, which is released when this is dropped.
    ///
    /// Frames, trailers, the size hint and the end of the stream pass unchanged, and errors are boxed. If the
    /// request is [cancelled](crate::Drain::cancel), the body ends with [`Cancelled`], or for gRPC with
    /// trailers. A body that the layer [ends](crate::DrainLayer::end_streams) ends cleanly at its goodbye. The body of the default refusal is empty.
    ///
    /// Servers drop a body as soon as they have buffered its last frame. If that frame is [`Bytes`] of 64 KiB or
    /// more, it takes the permit with it: the request is in flight until the server has written all of the frame, or has
    /// copied it, if the connection has no vectored writes. So a layer that keeps such frames, such as a cache, belongs inside of this one. Smaller
    /// frames, and frames of other types, do not hold the permit.
    pub struct ResponseBody<B> {
        // Dropped before the rest, which releases the request.
        #[pin]
        inner: Option<B>,
        in_flight: InFlight,
        // `Some` if the body ends at its goodbye.
        end: Option<Box<StreamEnd>>,
    }
}

/// What a request in flight holds, until this is dropped.
#[derive(Default)]
pub(super) struct InFlight {
    // Dropped in this order.
    pub(super) tracked: Option<TrackedRequest>,
    /// `None` for exempt and refused requests, and once the last frame holds it.
    pub(super) count: Option<Count>,
}

/// Error of a response body whose request was [cancelled](crate::Drain::cancel).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled;

type Polled<B, E> = Poll<Option<Result<Frame<<B as Body>::Data>, E>>>;
type PolledFrame<B> = Polled<B, BoxError>;

impl<B> ResponseBody<B> {
    #[inline]
    pub(super) fn new(body: B, in_flight: InFlight, end: Option<Box<StreamEnd>>) -> Self {
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
            in_flight: InFlight::default(),
            end: None,
        }
    }
}

impl<B> ResponseBody<B>
where
    B: Body,
    B::Data: 'static,
    B::Error: Into<BoxError>,
{
    /// Polls the body of a request that is tracked, or that ends at its goodbye. Out of line, to keep the
    /// path of other requests short.
    #[inline(never)]
    fn poll_watched(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        let mut this = self.project();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            // Cancelled before, so this fails once.
            let cancelled = this.in_flight.tracked.take();
            return Poll::Ready(cancelled.map(|_| Err(Cancelled.into())));
        };
        if inner.size_hint().exact().is_some() {
            // The length is known, so the body ends by itself.
            *this.end = None;
        }
        // The inner body is polled first, so that a frame that completes it passes.
        let polled = inner.as_mut().poll_frame(cx);
        // After a last frame, the body is complete.
        let is_over = this.end.as_ref().is_some_and(|end| end.is_over());
        let tracked = this.in_flight.tracked.as_ref().filter(|_| !is_over);
        let cancelled = match (&polled, tracked) {
            (Poll::Pending, Some(request)) => request.poll_cancelled(cx),
            (Poll::Ready(Some(Ok(frame))), Some(request))
                if frame.is_data() && !inner.is_end_stream() =>
            {
                request.responded()
            }
            _ => None,
        };
        if let Some(reply) = cancelled {
            this.inner.set(None);
            *this.end = None;
            if reply.has_trailers {
                this.in_flight.tracked = None;
                let trailers = grpc::unavailable_trailers(grpc::CANCELLED);
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            // Pending once, because hyper flushes the head of the response while the body is pending. If the
            // body failed before that, hyper would drop the connection and the client would get no byte.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(end) = this.end {
            let is_over = match &polled {
                Poll::Pending => end.poll_over(cx).is_ready(),
                // The frame that is ready at the goodbye is the last.
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => end.frame_passes(cx),
                // The inner body ends by itself.
                Poll::Ready(_) => false,
            };
            if is_over {
                let trailers = end.trailers();
                this.inner.set(None);
                *this.end = None;
                this.in_flight.tracked = None;
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
        }
        Self::pass(polled, &inner, this.in_flight)
    }

    /// Passes a frame on. If it is large and the last one, it takes what the request holds with it.
    #[inline]
    fn pass(polled: Polled<B, B::Error>, inner: &B, in_flight: &mut InFlight) -> PolledFrame<B> {
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)));
        };
        let data = frame.data_ref();
        let is_large = data.is_some_and(|data| data.remaining() >= LARGE_FRAME);
        let frame = if is_large && in_flight.count.is_some() && inner.is_end_stream() {
            frame.map_data(|data| in_flight.move_into(data))
        } else {
            frame
        };
        Poll::Ready(Some(Ok(frame)))
    }
}

impl InFlight {
    /// Moves into `data`, if that is `Bytes`, to be dropped when the server lets go of it.
    #[cold]
    fn move_into<D: 'static>(&mut self, mut data: D) -> D {
        struct Held {
            bytes: Bytes,
            _in_flight: InFlight,
        }

        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }

        let any: &mut dyn Any = &mut data;
        if let Some(bytes) = any.downcast_mut::<Bytes>() {
            *bytes = Bytes::from_owner(Held {
                bytes: mem::take(bytes),
                _in_flight: mem::take(self),
            });
        }
        data
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Data: 'static,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> PolledFrame<B> {
        if self.in_flight.tracked.is_some() || self.end.is_some() {
            return self.poll_watched(cx);
        }
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(mut inner) => {
                let polled = inner.as_mut().poll_frame(cx);
                Self::pass(polled, &inner, this.in_flight)
            }
            None => Poll::Ready(None),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => self.in_flight.tracked.is_none(),
        }
    }

    #[inline]
    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None if self.is_end_stream() => SizeHint::with_exact(0),
            None => SizeHint::default(),
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
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was cancelled: the server is shutting down")
    }
}

impl Error for Cancelled {}
