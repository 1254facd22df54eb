use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::headers::ConnectionRule;
use super::refusal::CancelReply;
use crate::drain::{Tag, TrackedRequest};
use crate::gate::{GateRef, Permit};

pin_project! {
    /// Response future of [`DrainService`](crate::DrainService): the inner service's, or the refusal.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future and releases the request.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        // Dropped in this order: the permit after the inner future.
        #[pin]
        inner: Option<F>,
        tracked: Option<TrackedRequest>,
        permit: Option<Permit>,
        gate: GateRef,
        rule: ConnectionRule,
        // Boxed, and beside the inner future rather than in an enum with it: few requests need it, and each
        // future is moved.
        refusal: Option<Box<Response<Option<B>>>>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(super) fn called(
        inner: F,
        tracked: Option<TrackedRequest>,
        permit: Option<Permit>,
        gate: GateRef,
        rule: ConnectionRule,
    ) -> Self {
        Self {
            inner: Some(inner),
            tracked,
            permit,
            gate,
            rule,
            refusal: None,
        }
    }

    pub(super) fn refused(refusal: Response<Option<B>>, gate: GateRef) -> Self {
        Self {
            inner: None,
            tracked: None,
            permit: None,
            gate,
            rule: ConnectionRule::NoHeader,
            refusal: Some(Box::new(refusal)),
        }
    }

    /// Drops the handler and releases the request, now rather than when the caller drops the future.
    fn release(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.inner.set(None);
        *this.tracked = None;
        *this.permit = None;
    }

    /// Drops the handler, or the response that it has just made, and returns the refusal.
    #[cold]
    fn cancel(self: Pin<&mut Self>, tag: Tag) -> Response<ResponseBody<B>> {
        let refusal = CancelReply::from_tag(tag).refusal(self.rule);
        self.release();
        refusal.map(ResponseBody::of_refusal)
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    // Always: the response of a handler that is ready at once is then moved less often.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return match this.refusal.take() {
                Some(refusal) => Poll::Ready(Ok(refusal.map(ResponseBody::of_refusal))),
                // Polled after it was ready.
                None => Poll::Pending,
            };
        };
        // Declared before the response, so that it is released after it.
        let _permit;
        let mut polled = inner.poll(cx);
        if let Some(tracked) = this.tracked {
            let responded = match &polled {
                Poll::Pending => Some(false),
                Poll::Ready(Ok(_)) => Some(true),
                // An error passes unchanged.
                Poll::Ready(Err(_)) => None,
            };
            if let Some(tag) = responded.and_then(|responded| tracked.poll(responded, cx)) {
                _permit = this.permit.take();
                return Poll::Ready(Ok(self.cancel(tag)));
            }
        }
        if polled.is_ready() && this.rule.closes(is_leaving(this.permit, *this.gate)) {
            this.rule.close(&mut polled);
        }
        match ready!(polled) {
            Ok(response) => {
                // Before the permit moves on: the caller may keep this future longer than the body.
                this.inner.set(None);
                let (tracked, permit) = (this.tracked.take(), this.permit.take());
                let wrap = |body| ResponseBody::new(body, tracked, permit);
                Poll::Ready(Ok(response.map(wrap)))
            }
            Err(error) => {
                self.release();
                Poll::Ready(Err(error))
            }
        }
    }
}

/// Whether the server is leaving. A permit is quicker to ask, but exempt requests have none.
#[inline]
fn is_leaving(permit: &Option<Permit>, gate: GateRef) -> bool {
    match permit {
        Some(permit) => permit.is_leaving(),
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
