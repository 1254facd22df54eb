use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::uri::Authority;
use http::{Request, Response};
use tower_service::Service;

use super::body::{InFlight, ResponseBody};
use super::future::ResponseFuture;
use super::headers::ConnectionRule;
use super::refusal::{CancelReply, DefaultRefusal, Refuse};
use super::refusal::{Exempt, NeverExempt};
use super::stream_end::ChooseStreams;
use crate::drain::{Drain, Registry, TrackedRequest};
use crate::gate::{Admission, Changed, GateRef};

/// Service made by [`DrainLayer`](crate::DrainLayer).
///
/// It holds no handle of the drain and does not delay it. Cloning it writes no shared memory, unless cloning
/// the inner service or the layer's closures does.
pub struct DrainService<S, R = DefaultRefusal, E = NeverExempt> {
    inner: S,
    gate: GateRef,
    /// `Some` if the layer tracks requests.
    registry: Option<&'static Registry>,
    settings: Settings,
    refuse: R,
    exempt: E,
    /// Whether `poll_ready` returned ready only because the gate is closed.
    must_refuse: bool,
    /// The gate's next change, while this instance waits for the inner service.
    changed: Option<Pin<Box<Changed>>>,
}

/// The settings of a layer. `Copy`, because each request clones the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// In seconds.
    pub(super) retry_after: u64,
    pub(super) share_permit: bool,
    pub(super) track_requests: bool,
    pub(super) end_streams: Option<ChooseStreams>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry_after: 1,
            share_permit: false,
            track_requests: false,
            end_streams: None,
        }
    }
}

impl<S> DrainService<S> {
    /// Wraps `inner`, with the defaults of [`DrainLayer`](crate::DrainLayer).
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_drain::{Drain, DrainService};
    ///
    /// let drain = Drain::new();
    /// let service = DrainService::new(drain.readiness(), &drain);
    /// # let _ = service;
    /// ```
    pub fn new(inner: S, drain: &Drain) -> Self {
        Self::with(
            inner,
            drain,
            Settings::default(),
            DefaultRefusal,
            NeverExempt,
        )
    }
}

impl<S, R, E> DrainService<S, R, E> {
    pub(super) fn with(inner: S, drain: &Drain, settings: Settings, refuse: R, exempt: E) -> Self {
        Self {
            inner,
            gate: drain.gate(),
            registry: settings.track_requests.then(|| drain.registry()),
            settings,
            refuse,
            exempt,
            must_refuse: false,
            changed: None,
        }
    }

    /// Returns a reference to the inner service.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns a mutable reference to the inner service.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the inner service.
    pub fn into_inner(self) -> S {
        self.inner
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

    /// Returns the readiness of the inner service. While draining it is ready at once, because a refusal
    /// does not need the inner service.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // The inner service first: while it is ready, the gate does not matter.
        let inner = self.inner.poll_ready(cx);
        self.must_refuse = !matches!(inner, Poll::Ready(Ok(()))) && self.poll_closed(cx).is_ready();
        if self.must_refuse {
            Poll::Ready(Ok(()))
        } else {
            inner
        }
    }

    // Always inlined, so that the server's clone of the service for the request is copied less.
    #[inline(always)]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let rule = ConnectionRule::of(&request);
        if self.exempt.is_exempt(&request) && !mem::take(&mut self.must_refuse) {
            return self.called(request, None, rule);
        }
        let permit = match self.gate.enter() {
            Admission::Admitted(permit) => permit,
            Admission::AdmittedInLameDuck(permit) => {
                permit.record_arrival();
                permit
            }
            Admission::Refused => return self.refuse(request, rule),
        };
        // Before the call, so that it is dropped before the permit if the call panics.
        let tracked = self.registry.map(|registry| self.track(registry, &request));
        let in_flight = InFlight { tracked, permit };
        if self.settings.share_permit {
            request.extensions_mut().insert(in_flight.permit.clone());
        }
        self.called(request, Some(in_flight), rule)
    }
}

impl<S, R, E> DrainService<S, R, E> {
    #[inline(always)]
    fn called<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        in_flight: Option<InFlight>,
        rule: ConnectionRule,
    ) -> ResponseFuture<S::Future, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        let inner = self.inner.call(request);
        ResponseFuture::called(inner, in_flight, self.gate, rule, self.settings.end_streams)
    }

    /// Returns ready once the gate is closed, which is final. While pending, closing the gate wakes the task.
    #[cold]
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let gate = self.gate;
        loop {
            // Created before the gate is read, so that it sees a close after the read.
            let changed = self.changed.get_or_insert_with(|| Box::pin(gate.changed()));
            if gate.is_closed() {
                return Poll::Ready(());
            }
            ready!(changed.as_mut().poll(cx));
            self.changed = None;
        }
    }

    /// Out of line, like the refusal, to keep the path of other requests short.
    #[inline(never)]
    fn track<B>(&self, registry: &'static Registry, request: &Request<B>) -> TrackedRequest {
        let reply = CancelReply::new(request, self.settings.retry_after);
        registry.insert(request.method().as_str(), name(request), reply.to_tag())
    }

    #[cold]
    #[inline(never)]
    fn refuse<ReqBody, ResBody, F>(
        &self,
        request: Request<ReqBody>,
        rule: ConnectionRule,
    ) -> ResponseFuture<F, ResBody>
    where
        R: Refuse<ReqBody, ResBody>,
    {
        let mut response = self.refuse.refuse(&request);
        rule.set_refusal_headers(response.headers_mut(), self.settings.retry_after);
        self.gate.count_refusal();
        log_refusal(&request);
        ResponseFuture::refused(response, self.gate)
    }
}

/// Returns the path, without the query. A `CONNECT` request has an authority instead, which is returned
/// without user and password.
fn name<B>(request: &Request<B>) -> &str {
    let path = request.uri().path();
    if !path.is_empty() {
        return path;
    }
    let authority = request.uri().authority().map_or("", Authority::as_str);
    let host = authority.rsplit_once('@');
    host.map_or(authority, |(_, host)| host)
}

/// At debug level, because a draining server may refuse many requests.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
fn log_refusal<B>(request: &Request<B>) {
    #[cfg(feature = "tracing")]
    {
        use crate::drain::{MethodText, PathText};
        tracing::debug!(
            target: "tower_drain",
            method = %MethodText::new(request.method().as_str()),
            path = %PathText::new(name(request)),
            "request refused"
        );
    }
}

impl<S: Clone, R: Clone, E: Clone> Clone for DrainService<S, R, E> {
    #[inline]
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            gate: self.gate,
            registry: self.registry,
            settings: self.settings,
            refuse: self.refuse.clone(),
            exempt: self.exempt.clone(),
            // Each instance has its own readiness, and waits for it by itself.
            must_refuse: false,
            changed: None,
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
