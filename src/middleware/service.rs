//! The service: admits, counts and refuses requests.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::uri::Authority;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::body::{InFlight, ResponseBody};
use super::future::ResponseFuture;
use super::headers::ConnectionRule;
use super::refusal::{DefaultRefusal, Exempt, NeverExempt, Refuse, cancel_reply};
use super::stream_end::{ChooseStreams, Question};
use crate::drain::{Drain, Phase, Reached, Registry, TrackedRequest};
#[cfg(feature = "tracing")]
use crate::drain::{MethodText, PathText};
use crate::gate::{Count, GateRef, Permit};

/// Service made by [`DrainLayer`](crate::DrainLayer).
///
/// It holds no handle of the drain and does not delay it. Cloning it writes no shared memory, unless cloning
/// the inner service or the layer's closures does.
///
/// # What is in flight
///
/// A request is in flight from the [`call`](Service::call) until its response body is dropped. If a fresh clone of the
/// service, one that has not been ready or called yet, is polled while the inner service is not ready, the request
/// has arrived: from then on it is in flight, and is served even if draining starts meanwhile. axum, hyper-util and
/// tonic make a clone for each request.
///
/// So a clone that is polled, found not ready, and kept without a call delays the drain until it is dropped. Load
/// balancers over services, such as tower's `Steer` and `Balance`, keep the services that they poll: add this layer
/// outside of them. The same holds for a `Buffer` over a clone, or over a middleware that puts a clone in place of the
/// service it calls: if the message that it waits for is cancelled, the count remains until the next one.
pub struct DrainService<S, R = DefaultRefusal, E = NeverExempt> {
    pub(super) inner: S,
    pub(super) gate: GateRef,
    /// `Some` if the layer tracks requests.
    pub(super) registry: Option<&'static Registry>,
    pub(super) settings: Settings,
    pub(super) refuse: R,
    pub(super) exempt: E,
    /// Whether this is a clone that has not been ready or called, so that it may belong to one request.
    pub(super) is_fresh: bool,
    /// `Some` after the inner service was not ready. Boxed, because few requests wait.
    pub(super) waiting: Option<Box<Waiting>>,
    /// Whether this is ready only because of draining.
    pub(super) must_refuse: bool,
}

/// The settings of a layer. `Copy`, because each request clones the service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// In seconds.
    pub(super) retry_after: u32,
    pub(super) share_permit: bool,
    pub(super) end_streams: Option<ChooseStreams>,
}

/// What an instance does while the inner service is not ready.
pub(super) enum Waiting {
    /// It is a clone for one request, which has arrived.
    Arrived(Count),
    /// It is kept for any number of requests, and waits for draining too.
    Kept(Reached),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            retry_after: 1,
            share_permit: false,
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
        drain.layer().layer(inner)
    }
}

impl<S, R, E> DrainService<S, R, E> {
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
    /// does not need the inner service, unless the request has arrived before.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.must_refuse = false;
        // Taken, so that a panic of the inner service releases the request.
        let waiting = self.waiting.take();
        let is_fresh = mem::take(&mut self.is_fresh);
        let inner = self.inner.poll_ready(cx);
        if waiting.is_none() && matches!(inner, Poll::Ready(Ok(()))) {
            return inner;
        }
        self.wait(is_fresh, waiting, inner, cx)
    }

    // Always inlined, so that the server's clone of the service for the request is copied less.
    #[inline(always)]
    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let rule = ConnectionRule::of(&request);
        self.is_fresh = false;
        let is_exempt = match self.waiting {
            None => self.exempt.is_exempt(&request),
            Some(_) => self.is_exempt_after_wait(&request),
        };
        if is_exempt && !self.must_refuse {
            self.waiting = None;
            return self.call_inner(request, InFlight::default(), rule);
        }
        let count = match self.waiting {
            None => self.gate.enter(),
            Some(_) => self.take_count(),
        };
        let Some(count) = count else {
            return self.refuse(request, rule);
        };
        if self.settings.share_permit {
            share(&mut request, count.clone());
        }
        let tracked = self.registry.map(|registry| self.track(registry, &request));
        let in_flight = InFlight {
            tracked,
            count: Some(count),
        };
        self.call_inner(request, in_flight, rule)
    }
}

impl<S, R, E> DrainService<S, R, E> {
    #[inline(always)]
    fn call_inner<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        in_flight: InFlight,
        rule: ConnectionRule,
    ) -> ResponseFuture<S::Future, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        let choose = self.settings.end_streams;
        let question = choose.map(|choose| Question::about(&request, choose));
        let inner = self.inner.call(request);
        ResponseFuture::called(inner, in_flight, self.gate, rule, question)
    }

    /// Takes the count of a request that has arrived before its call.
    #[cold]
    #[inline(never)]
    fn take_count(&mut self) -> Option<Count> {
        match self.waiting.take().map(|waiting| *waiting) {
            Some(Waiting::Arrived(count)) => Some(count),
            _ => self.gate.enter(),
        }
    }

    /// The inner service is not ready, or was not before.
    #[cold]
    fn wait<T>(
        &mut self,
        is_fresh: bool,
        mut waiting: Option<Box<Waiting>>,
        inner: Poll<Result<(), T>>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), T>> {
        if is_fresh && inner.is_pending() {
            let count = self.gate.enter();
            waiting = count.map(|count| Box::new(Waiting::Arrived(count)));
        }
        let has_arrived = matches!(waiting.as_deref(), Some(Waiting::Arrived(_)));
        match inner {
            // The request is served, however long that takes.
            Poll::Pending | Poll::Ready(Ok(())) if has_arrived => self.waiting = waiting,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) if has_arrived => {}
            _ if self.gate.phase() >= Phase::Draining => {
                self.must_refuse = true;
                return Poll::Ready(Ok(()));
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => {
                let new = || Box::new(Waiting::Kept(Reached::new(self.gate, Phase::Draining)));
                let waiting = self.waiting.insert(waiting.unwrap_or_else(new));
                if let Waiting::Kept(draining) = &mut **waiting {
                    // Draining may have started since the look above.
                    if Pin::new(draining).poll(cx).is_ready() {
                        self.waiting = None;
                        self.must_refuse = true;
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
        inner
    }

    /// If the closure panics, the request is released.
    #[inline(always)]
    fn is_exempt_after_wait<ReqBody>(&mut self, request: &Request<ReqBody>) -> bool
    where
        E: Exempt<ReqBody>,
    {
        let waiting = self.waiting.take();
        let is_exempt = self.exempt.is_exempt(request);
        self.waiting = waiting;
        is_exempt
    }

    /// Out of line, like the refusal, to keep the path of other requests short.
    #[inline(never)]
    fn track<B>(&self, registry: &'static Registry, request: &Request<B>) -> TrackedRequest {
        let (method, path) = (request.method().as_str(), path_or_authority(request));
        let reply = cancel_reply(request, self.settings.retry_after);
        registry.insert(method, path, reply)
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
        rule.finish_refusal(&mut response, self.settings.retry_after);
        self.gate.count_refusal();
        // At debug level, because a draining server may refuse many requests.
        event!(
            debug,
            method = %MethodText::new(request.method().as_str()),
            path = %PathText::new(path_or_authority(&request)),
            "request refused"
        );
        ResponseFuture::refused(response, self.gate, rule)
    }
}

/// Puts a permit into the request. If an outer drain has done so, the permit holds both.
#[cold]
#[inline(never)]
fn share<B>(request: &mut Request<B>, count: Count) {
    let outer = request.extensions_mut().remove::<Permit>();
    request.extensions_mut().insert(Permit::new(count, outer));
}

/// Returns the path, without the query. A `CONNECT` request has an authority instead, which is returned
/// without user and password.
fn path_or_authority<B>(request: &Request<B>) -> &str {
    let path = request.uri().path();
    if !path.is_empty() {
        return path;
    }
    let authority = request.uri().authority().map_or("", Authority::as_str);
    let host = authority.rsplit_once('@');
    host.map_or(authority, |(_, host)| host)
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
            is_fresh: true,
            waiting: None,
            must_refuse: false,
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
