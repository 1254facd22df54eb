use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode, Version};
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use super::refusal::cancelled;
use crate::drain::{Reply, Tracked};
use crate::gate::{Entrance, Permit, Standing};

pin_project! {
    /// The response future of [`DrainService`](crate::DrainService): the inner service's, or the
    /// refusal. Polled after it is done, it stays pending.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        // In this order: the permit is released after the inner future has been dropped.
        #[pin]
        inner: Option<F>,
        tracked: Option<Tracked>,
        permit: Option<Permit>,
        entrance: Entrance,
        version: Version,
        // Boxed, and beside the inner future instead of in an enum with it: what few requests need
        // is not to be moved around with every one.
        refusal: Option<Box<Response<ResponseBody<B>>>>,
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(super) fn called(
        inner: F,
        tracked: Option<Tracked>,
        permit: Option<Permit>,
        entrance: Entrance,
        version: Version,
    ) -> Self {
        Self {
            inner: Some(inner),
            tracked,
            permit,
            entrance,
            version,
            refusal: None,
        }
    }

    pub(super) fn refused(
        refusal: Response<ResponseBody<B>>,
        entrance: Entrance,
        version: Version,
    ) -> Self {
        Self {
            inner: None,
            tracked: None,
            permit: None,
            entrance,
            version,
            refusal: Some(Box::new(refusal)),
        }
    }
}

impl<F, B, Error> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, Error>>,
{
    type Output = Result<Response<ResponseBody<B>>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.as_mut().project();
        let Some(inner) = this.inner.as_mut().as_pin_mut() else {
            return match this.refusal.take() {
                Some(refusal) => Poll::Ready(Ok(*refusal)),
                None => Poll::Pending,
            };
        };
        let mut polled = inner.poll(cx);
        if let Some(tracked) = this.tracked {
            if let Poll::Ready(reply) = check(tracked, &polled, cx) {
                drop(polled);
                return Poll::Ready(Ok(self.cancel(&reply)));
            }
        }
        if polled.is_ready()
            && this.entrance.standing() != Standing::Open
            && *this.version <= Version::HTTP_11
        {
            ask_to_leave(&mut polled);
        }
        match ready!(polled) {
            Ok(response) => {
                let (tracked, permit) = (this.tracked.take(), this.permit.take());
                let wrap = |body| ResponseBody::new(body, tracked, permit);
                Poll::Ready(Ok(response.map(wrap)))
            }
            Err(error) => {
                // At once and in this order, not when whoever polls gets round to the drop.
                this.inner.set(None);
                *this.tracked = None;
                *this.permit = None;
                Poll::Ready(Err(error))
            }
        }
    }
}

impl<F, B> ResponseFuture<F, B> {
    /// Drops the handler, or what it has answered just now, and makes the refusal.
    #[cold]
    fn cancel(self: Pin<&mut Self>, reply: &Reply) -> Response<ResponseBody<B>> {
        let mut this = self.project();
        this.inner.set(None);
        *this.tracked = None;
        *this.permit = None;
        cancelled(reply, *this.version)
    }
}

/// Ready if the request has been cancelled. Else its stage is noted, or its task to be woken.
///
/// After the poll of the handler and not before, so that one that is ready at once costs one look.
#[inline(never)]
fn check<T, E>(
    tracked: &Tracked,
    polled: &Poll<Result<T, E>>,
    cx: &mut Context<'_>,
) -> Poll<Reply> {
    match polled {
        Poll::Pending => tracked.poll_cancelled(cx),
        Poll::Ready(Ok(_)) => match tracked.answered() {
            Ok(()) => Poll::Pending,
            Err(reply) => Poll::Ready(reply),
        },
        // Whoever made the error tells the client.
        Poll::Ready(Err(_)) => Poll::Pending,
    }
}

/// Tells a client on HTTP/1 that this connection ends with this response.
#[cold]
#[inline(never)]
fn ask_to_leave<B, E>(polled: &mut Poll<Result<Response<B>, E>>) {
    if let Poll::Ready(Ok(response)) = polled {
        // A switch of protocols has a `Connection: upgrade` of its own, and no next request.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(CONNECTION, close);
        }
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
