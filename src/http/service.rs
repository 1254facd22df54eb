use std::fmt;
use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::body::ResponseBody;
use super::exempt::{Exempt, ExemptNone};
use super::future::ResponseFuture;
use super::layer::Settings;
use super::refusal::{Refuse, Unavailable, send_away};
use crate::gate::{Admission, Entrance, Standing};

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
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // Closed is final, so whoever is let in by `call` has been through the second arm.
        match self.entrance.standing() {
            Standing::Closed => {
                // Without exemptions the inner service is not called any more, so it is not asked.
                self.stalled = E::ANY && !matches!(self.inner.poll_ready(cx), Poll::Ready(Ok(())));
                Poll::Ready(Ok(()))
            }
            Standing::Open | Standing::Noticed => {
                self.stalled = false;
                self.inner.poll_ready(cx)
            }
        }
    }

    #[inline]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let version = request.version();
        let exempt = self.exempt.is_exempt(&request) && !mem::take(&mut self.stalled);
        let permit = if exempt {
            None
        } else {
            match self.entrance.enter() {
                Admission::Admitted(permit) => Some(permit),
                Admission::Unattended => None,
                Admission::Refused => {
                    let mut response = self.refuse.refuse(&request);
                    send_away(response.headers_mut(), version, self.settings.retry_after);
                    return ResponseFuture::refused(response);
                }
            }
        };
        if self.settings.share_permit {
            if let Some(permit) = &permit {
                request.extensions_mut().insert(permit.clone());
            }
        }
        ResponseFuture::called(self.inner.call(request), permit, self.entrance, version)
    }
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
            // Readiness belongs to an instance.
            stalled: false,
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
