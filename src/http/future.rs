use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{CONNECTION, HeaderValue};
use http::{Response, StatusCode, Version};
use pin_project_lite::pin_project;

use super::body::ResponseBody;
use crate::gate::{Entrance, Permit, Standing};

pin_project! {
    /// The response future of [`DrainService`](crate::DrainService): the inner service's, or the
    /// refusal. Polled after it is done, it stays pending.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        // In this order: the permit is released after the inner future has been dropped.
        Called {
            #[pin]
            inner: F,
            permit: Option<Permit>,
            entrance: Entrance,
            version: Version,
        },
        Refused { response: Option<Response<ResponseBody<B>>> },
    }
}

impl<F, B> ResponseFuture<F, B> {
    #[inline]
    pub(super) fn called(
        inner: F,
        permit: Option<Permit>,
        entrance: Entrance,
        version: Version,
    ) -> Self {
        Self {
            state: State::Called {
                inner,
                permit,
                entrance,
                version,
            },
        }
    }

    pub(super) fn refused(response: Response<ResponseBody<B>>) -> Self {
        Self {
            state: State::Refused {
                response: Some(response),
            },
        }
    }
}

impl<F, B, Error> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, Error>>,
{
    type Output = Result<Response<ResponseBody<B>>, Error>;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProj::Called {
                inner,
                permit,
                entrance,
                version,
            } => {
                let mut polled = inner.poll(cx);
                if polled.is_ready()
                    && entrance.standing() != Standing::Open
                    && *version <= Version::HTTP_11
                {
                    ask_to_leave(&mut polled);
                }
                match ready!(polled) {
                    Ok(response) => {
                        let permit = permit.take();
                        Poll::Ready(Ok(response.map(|body| ResponseBody::new(body, permit))))
                    }
                    Err(error) => {
                        // Drops the inner future, then the permit.
                        this.state.set(State::Refused { response: None });
                        Poll::Ready(Err(error))
                    }
                }
            }
            StateProj::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => Poll::Pending,
            },
        }
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
        let state = match &self.state {
            State::Called { .. } => "called",
            State::Refused { .. } => "refused",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
