//! The response future.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::body::{InFlight, ResponseBody};
use super::headers::ConnectionRule;
use super::refusal;
use super::stream_end::{Question, StreamEnd};
use crate::drain::Phase;
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
        in_flight: InFlight,
        gate: GateRef,
        rule: ConnectionRule,
        // `Some` if the layer ends streams.
        question: Option<Box<Question>>,
        // Boxed, because few requests are refused, and futures are moved. A field of its own: one for both costs each
        // request 10 ns, because the compiler then moves the response in another way.
        refusal: Option<Box<Response<Option<B>>>>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(super) fn called(
        inner: F,
        in_flight: InFlight,
        gate: GateRef,
        rule: ConnectionRule,
        question: Option<Box<Question>>,
    ) -> Self {
        Self {
            inner: Some(inner),
            in_flight,
            gate,
            rule,
            question,
            refusal: None,
        }
    }

    pub(super) fn refused(
        refusal: Response<Option<B>>,
        gate: GateRef,
        rule: ConnectionRule,
    ) -> Self {
        Self {
            inner: None,
            in_flight: InFlight::default(),
            gate,
            rule,
            question: None,
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
        // Read before the poll: a load between it and the result costs 12 ns.
        let is_leaving = this.gate.phase() >= Phase::LameDuck;
        let mut polled = inner.poll(cx);
        if let Some(request) = &this.in_flight.tracked {
            // A handler that returns is not cut off, even if it was cancelled at the same time: its work is
            // done. Its body sees the cancellation when it is polled.
            let cancelled = if polled.is_ready() {
                request.responded();
                None
            } else {
                request.poll_cancelled(cx)
            };
            if let Some(reply) = cancelled {
                // Dropped in this order: the handler, the permit.
                this.inner.set(None);
                *this.in_flight = InFlight::default();
                let refusal = refusal::cancelled(reply, *this.rule);
                return Poll::Ready(Ok(refusal.map(ResponseBody::of_refusal)));
            }
        }
        if is_leaving {
            this.rule.ask_to_close(&mut polled);
        }
        let end = match this.question {
            Some(question) => StreamEnd::of(&mut polled, question, *this.rule, *this.gate),
            None => None,
        };
        let result = ready!(polled);
        // Before the permit moves on: the caller may keep this future longer than the body.
        this.inner.set(None);
        let in_flight = mem::take(this.in_flight);
        match result {
            Ok(response) => Poll::Ready(Ok(
                response.map(|body| ResponseBody::new(body, in_flight, end))
            )),
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.inner.is_some() {
            "called"
        } else {
            "refused"
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
