use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::headers::ConnectionRule;
use super::refusal::CancelReply;
use crate::drain::TrackedRequest;
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
        extra: Extra<B>,
        entry: Entry,
        rule: ConnectionRule,
    }
}

/// What most requests do not need. Its drop is out of line, because the drop of each future contains it.
struct Extra<B>(Option<ExtraKind<B>>);

enum ExtraKind<B> {
    Tracked(TrackedRequest),
    /// Boxed, because each future is moved.
    Refused(Box<Response<Option<B>>>),
}

impl<B> Drop for Extra<B> {
    #[inline]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn drop_kind<B>(kind: ExtraKind<B>) {
            drop(kind);
        }
        if let Some(kind) = self.0.take() {
            drop_kind(kind);
        }
    }
}

/// What a request holds of the gate.
pub(super) enum Entry {
    Counted(Permit),
    /// Exempt: it looks at the gate, and is not counted.
    Exempt(GateRef),
    /// The permit has been released or has moved on to the body.
    Left,
}

impl Entry {
    #[inline]
    fn is_leaving(&self) -> bool {
        match self {
            Self::Counted(permit) => permit.is_leaving(),
            Self::Exempt(gate) => gate.is_leaving(),
            Self::Left => false,
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Permit> {
        match mem::replace(self, Self::Left) {
            Self::Counted(permit) => Some(permit),
            Self::Exempt(_) | Self::Left => None,
        }
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(super) fn called(
        inner: F,
        tracked: Option<TrackedRequest>,
        entry: Entry,
        rule: ConnectionRule,
    ) -> Self {
        Self {
            inner: Some(inner),
            extra: Extra(tracked.map(ExtraKind::Tracked)),
            entry,
            rule,
        }
    }

    #[inline]
    pub(super) fn refused(refusal: Box<Response<Option<B>>>) -> Self {
        Self {
            inner: None,
            extra: Extra(Some(ExtraKind::Refused(refusal))),
            entry: Entry::Left,
            rule: ConnectionRule::NoHeader,
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        let (Some(inner), None) = (this.inner.as_mut().as_pin_mut(), &this.extra.0) else {
            return self.poll_extra(cx);
        };
        let mut polled = inner.poll(cx);
        if polled.is_ready() && this.rule.closes(this.entry.is_leaving()) {
            this.rule.close(&mut polled);
        }
        match ready!(polled) {
            Ok(response) => {
                let permit = this.entry.take();
                Poll::Ready(Ok(
                    response.map(|body| ResponseBody::new(body, None, permit))
                ))
            }
            Err(error) => {
                self.release();
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<F, B, E> ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    /// Polls a request that is tracked or refused. Out of line, to keep the path of other requests short.
    #[inline(never)]
    fn poll_extra(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<ResponseBody<B>>, E>> {
        let mut this = self.as_mut().project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return match this.extra.0.take() {
                Some(ExtraKind::Refused(refusal)) => {
                    Poll::Ready(Ok(refusal.map(ResponseBody::of_refusal)))
                }
                // Polled after it has been ready.
                _ => Poll::Pending,
            };
        };
        // The handler first: then one that is ready at once takes one look at the registry.
        let mut polled = inner.poll(cx);
        let Some(ExtraKind::Tracked(tracked)) = &this.extra.0 else {
            return Poll::Pending;
        };
        let cancelled = match &polled {
            Poll::Pending => Some(ready!(tracked.poll_cancelled(cx))),
            Poll::Ready(Ok(_)) => tracked.mark_responded(),
            // An error passes unchanged.
            Poll::Ready(Err(_)) => None,
        };
        if let Some(tag) = cancelled {
            let refusal = CancelReply::from_tag(tag).refusal(*this.rule);
            self.release();
            return Poll::Ready(Ok(refusal.map(ResponseBody::of_refusal)));
        }
        if this.rule.closes(this.entry.is_leaving()) {
            this.rule.close(&mut polled);
        }
        match ready!(polled) {
            Ok(response) => {
                let permit = this.entry.take();
                let tracked = match this.extra.0.take() {
                    Some(ExtraKind::Tracked(tracked)) => Some(tracked),
                    _ => None,
                };
                Poll::Ready(Ok(
                    response.map(|body| ResponseBody::new(body, tracked, permit))
                ))
            }
            Err(error) => {
                self.release();
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<F, B> ResponseFuture<F, B> {
    /// Drops the handler and releases the request, now rather than when the caller drops the future.
    fn release(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.inner.set(None);
        this.extra.0 = None;
        *this.entry = Entry::Left;
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
