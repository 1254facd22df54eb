use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::body::{InFlight, ResponseBody};
use super::headers::ConnectionRule;
use super::refusal::CancelReply;
use super::stream_end::{ChooseStreams, StreamEnd};
use crate::gate::GateRef;

pin_project! {
    /// Response future of [`DrainService`](crate::DrainService): the inner service's, or the refusal.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future and releases the request.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        // Dropped before the rest, which releases the request.
        #[pin]
        inner: Option<F>,
        // `None` for an exempt request.
        in_flight: Option<InFlight>,
        gate: GateRef,
        rule: ConnectionRule,
        end_streams: Option<ChooseStreams>,
        // Boxed, and not in an enum with the inner future: few requests are refused, and futures are moved.
        refusal: Option<Box<Response<Option<B>>>>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(super) fn called(
        inner: F,
        in_flight: Option<InFlight>,
        gate: GateRef,
        rule: ConnectionRule,
        end_streams: Option<ChooseStreams>,
    ) -> Self {
        Self {
            inner: Some(inner),
            in_flight,
            gate,
            rule,
            end_streams,
            refusal: None,
        }
    }

    pub(super) fn refused(refusal: Response<Option<B>>, gate: GateRef) -> Self {
        Self {
            inner: None,
            in_flight: None,
            gate,
            rule: ConnectionRule::NoHeader,
            end_streams: None,
            refusal: Some(Box::new(refusal)),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    // Always inlined, so that the response of a handler that is ready at once is moved less often.
    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return match this.refusal.take() {
                Some(refusal) => Poll::Ready(Ok(refusal.map(ResponseBody::of_refusal))),
                // Polled after it was ready.
                None => Poll::Pending,
            };
        };
        let mut polled = inner.poll(cx);
        if let Some(InFlight {
            tracked: Some(tracked),
            ..
        }) = this.in_flight
        {
            // A handler that returns is not cut off, even if it was cancelled at the same time: its work is
            // done. Its body sees the cancellation when it is polled.
            let cancelled = if polled.is_ready() {
                tracked.responded();
                None
            } else {
                tracked.poll_cancelled(cx)
            };
            if let Some(tag) = cancelled {
                // Dropped in this order: the handler, the permit.
                this.inner.set(None);
                *this.in_flight = None;
                let refusal = CancelReply::from_tag(tag).refusal(*this.rule);
                return Poll::Ready(Ok(refusal.map(ResponseBody::of_refusal)));
            }
        }
        if polled.is_ready() && is_leaving(this.in_flight, *this.gate) {
            this.rule.close(&mut polled);
        }
        let end = match *this.end_streams {
            Some(choose) => StreamEnd::of(&mut polled, choose, *this.rule, *this.gate),
            None => None,
        };
        let result = ready!(polled);
        // Before the permit moves on: the caller may keep this future longer than the body.
        this.inner.set(None);
        let in_flight = this.in_flight.take();
        match result {
            Ok(response) => {
                let wrap = |body| ResponseBody::new(body, in_flight, end);
                Poll::Ready(Ok(response.map(wrap)))
            }
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

/// Whether the server is leaving. Reading a permit is faster, but exempt requests have none.
#[inline]
fn is_leaving(in_flight: &Option<InFlight>, gate: GateRef) -> bool {
    match in_flight {
        Some(in_flight) => in_flight.permit.is_leaving(),
        None => gate.is_leaving(),
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.inner {
            Some(_) => "called",
            None => "refused",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
