//! Shared by the benches of a request: a service that does nothing, the floor for any counting layer, an axum
//! router, and one request as a server makes it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Empty;
use pin_project_lite::pin_project;
use tower::Service;

/// The bare service: an empty 200 at once.
#[derive(Clone)]
pub(crate) struct Nothing;

impl Service<Request<()>> for Nothing {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(Empty::new())))
    }
}

/// The floor: counts in one static word, from the call to the drop of the body, and does nothing else.
/// With more threads it is no floor, because they share the word.
#[derive(Clone)]
pub(crate) struct Floor<S>(pub(crate) S);

#[repr(align(128))]
struct Word(AtomicU64);

static IN_FLIGHT: Word = Word(AtomicU64::new(0));

pub(crate) struct Count;

impl Count {
    fn new() -> Self {
        IN_FLIGHT.0.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        IN_FLIGHT.0.fetch_sub(1, Ordering::AcqRel);
    }
}

pin_project! {
    /// Holds a guard until a future or a body is dropped.
    pub(crate) struct Guarded<T, G> {
        #[pin]
        inner: T,
        guard: Option<G>,
    }
}

impl<T, G> Guarded<T, G> {
    pub(crate) fn new(inner: T, guard: G) -> Self {
        let guard = Some(guard);
        Self { inner, guard }
    }
}

impl<F, B, E, G> Future for Guarded<F, G>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Guarded<B, G>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let guard = this.guard;
        this.inner.poll(cx).map_ok(|response| {
            let guard = guard.take();
            response.map(|inner| Guarded { inner, guard })
        })
    }
}

impl<B: Body, G> Body for Guarded<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<S, B> Service<Request<()>> for Floor<S>
where
    S: Service<Request<()>, Response = Response<B>>,
{
    type Response = Response<Guarded<B, Count>>;
    type Error = S::Error;
    type Future = Guarded<S::Future, Count>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let count = Count::new();
        Guarded::new(self.0.call(request), count)
    }
}

/// A router as `axum::serve` runs it, which calls `with_state` too: without, each request would build its route
/// and the route's layers anew.
pub(crate) fn serving(router: Router) -> Router {
    router.with_state(())
}

pub(crate) fn router() -> Router {
    Router::new().route("/", get(|| async {}))
}

/// One request, as a server makes it: on a clone of the service.
#[inline(always)]
pub(crate) fn serve<S, B>(service: &S, request: Request<B>)
where
    S: Service<Request<B>> + Clone,
    S::Error: Debug,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let mut service = black_box(service).clone();
    assert!(matches!(service.poll_ready(cx), Poll::Ready(Ok(()))));
    let future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.poll(cx) else {
        panic!("not ready at once");
    };
    drop(black_box(response));
}
