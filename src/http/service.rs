use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use tower_service::Service;

use super::body::ResponseBody;
use super::events;
use super::exempt::{Exempt, ExemptNone};
use super::future::ResponseFuture;
use super::refusal::{Refuse, Unavailable, reply, send_away};
use crate::drain::Tracked;
use crate::gate::{Admission, Changed, Entrance, Permit, Standing};

/// The service that [`DrainLayer`](crate::DrainLayer) makes of an inner one.
///
/// To clone it writes no memory that other threads write, beyond what the inner service's clone and
/// those of the closures given to the layer do.
pub struct DrainService<S, R = Unavailable, E = ExemptNone> {
    inner: S,
    entrance: Entrance,
    settings: Settings,
    refuse: R,
    exempt: E,
    /// This instance was last said to be ready while the inner one was not.
    stalled: bool,
    /// The gate's next change, while this instance waits for the inner one to be ready.
    change: Option<Pin<Box<Changed>>>,
}

/// What a service needs to know. `Copy`, as each request clones the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// In seconds.
    pub(super) retry_after: u64,
    pub(super) share_permit: bool,
    pub(super) track_requests: bool,
}

impl<S, R, E> DrainService<S, R, E> {
    pub(super) fn new(
        inner: S,
        entrance: Entrance,
        settings: Settings,
        refuse: R,
        exempt: E,
    ) -> Self {
        Self {
            inner,
            entrance,
            settings,
            refuse,
            exempt,
            stalled: false,
            change: None,
        }
    }
}

impl<S, R, E, ReqBody, ResBody> Service<Request<ReqBody>> for DrainService<S, R, E>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Refuse<ReqBody, ResBody>,
    E: Exempt<ReqBody>,
{
    type Response = Response<ResponseBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    /// The inner service's readiness; while draining ready at once, for a refusal needs nobody.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // The inner service first: as long as it is ready, how things stand need not be looked up.
        let inner = self.inner.poll_ready(cx);
        self.stalled = !matches!(inner, Poll::Ready(Ok(()))) && self.poll_closed(cx).is_ready();
        if self.stalled {
            Poll::Ready(Ok(()))
        } else {
            inner
        }
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let version = request.version();
        let exempt = self.exempt.is_exempt(&request) && !mem::take(&mut self.stalled);
        let permit = if exempt {
            None
        } else {
            match self.entrance.enter() {
                Admission::Admitted(permit) => Some(permit),
                Admission::Noticed(permit) => {
                    self.entrance.note_arrival();
                    Some(permit)
                }
                Admission::Unattended => None,
                Admission::Refused => return self.refuse(request),
            }
        };
        // After the permit and before the call: it goes before the permit does, should the call panic.
        let tracked = match &permit {
            Some(_) if self.settings.track_requests => Some(self.track(&request)),
            _ => None,
        };
        let inner = if self.settings.share_permit {
            self.inner.call(with_permit(request, &permit))
        } else {
            self.inner.call(request)
        };
        ResponseFuture::called(inner, tracked, permit, self.entrance, version)
    }
}

impl<S, R, E> DrainService<S, R, E> {
    /// Ready once the gate is closed, which is final. Pending, it wakes the task on the closing:
    /// whoever waits for a saturated inner service then need not wait for it to be refused.
    #[cold]
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let entrance = self.entrance;
        loop {
            // Created before the look, so that a closing after the look is seen by it.
            let change = self
                .change
                .get_or_insert_with(|| Box::pin(entrance.changed()));
            if entrance.standing() == Standing::Closed {
                return Poll::Ready(());
            }
            ready!(change.as_mut().poll(cx));
            self.change = None;
        }
    }

    /// Out of line, as the refusal is: what is not on the path of every request is kept off its code.
    #[inline(never)]
    fn track<B>(&self, request: &Request<B>) -> Tracked {
        let reply = reply(request.headers(), self.settings.retry_after);
        Tracked::new(self.entrance, request.method(), request.uri().path(), reply)
    }

    #[cold]
    #[inline(never)]
    fn refuse<ReqBody, ResBody, F>(&self, request: Request<ReqBody>) -> ResponseFuture<F, ResBody>
    where
        R: Refuse<ReqBody, ResBody>,
    {
        events::refused(&request);
        let version = request.version();
        let mut response = self.refuse.refuse(&request);
        send_away(response.headers_mut(), version, self.settings.retry_after);
        ResponseFuture::refused(response, self.entrance, version)
    }
}

#[inline(never)]
fn with_permit<B>(mut request: Request<B>, permit: &Option<Permit>) -> Request<B> {
    if let Some(permit) = permit {
        request.extensions_mut().insert(permit.clone());
    }
    request
}

impl<S: Clone, R: Clone, E: Clone> Clone for DrainService<S, R, E> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            entrance: self.entrance,
            settings: self.settings,
            refuse: self.refuse.clone(),
            exempt: self.exempt.clone(),
            // Readiness, and the wait for it, belong to an instance.
            stalled: false,
            change: None,
        }
    }
}

impl<S: fmt::Debug, R, E> fmt::Debug for DrainService<S, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainService")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
