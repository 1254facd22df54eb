//! What a request pays: service clone, call, response and body drop, in nanoseconds, over a service
//! that does nothing; at one thread, and at two at the same time.
//!
//! Each subject is measured in the same run, so that the rows can be compared:
//! `cargo bench --bench per_request`. The requests are made beforehand, outside of the timing, as a
//! server's are by its parser: a request copied right after it was written costs more than any of
//! the subjects. The profile is that of an optimised service: one codegen unit, and LTO.

use std::convert::Infallible;
use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::{Router, routing::get};
use bytes::Bytes;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::Empty;
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service};
use tower_drain::Drain;
use tower_http::metrics::InFlightRequestsLayer;

/// The bare service: an empty 200 at once.
#[derive(Clone)]
struct Nothing;

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

/// What one would write with a `TaskTracker`: a token from the call to the drop of the body.
#[derive(Clone)]
struct Tracked<S> {
    inner: S,
    tracker: TaskTracker,
}

pin_project_lite::pin_project! {
    struct TrackedFuture<F> {
        #[pin]
        inner: F,
        token: Option<TaskTrackerToken>,
    }
}

pin_project_lite::pin_project! {
    struct TrackedBody<B> {
        #[pin]
        inner: B,
        token: Option<TaskTrackerToken>,
    }
}

impl<S, B> Service<Request<()>> for Tracked<S>
where
    S: Service<Request<()>, Response = Response<B>>,
{
    type Response = Response<TrackedBody<B>>;
    type Error = S::Error;
    type Future = TrackedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let token = Some(self.tracker.token());
        let inner = self.inner.call(request);
        TrackedFuture { inner, token }
    }
}

impl<F, B, E> Future for TrackedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<TrackedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let token = this.token;
        this.inner.poll(cx).map_ok(|response| {
            let token = token.take();
            response.map(|inner| TrackedBody { inner, token })
        })
    }
}

impl<B: http_body::Body> http_body::Body for TrackedBody<B> {
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

/// One request, as a server makes it: on a clone of the service.
#[inline(always)]
fn serve<S, B>(service: &S, request: Request<B>)
where
    S: Service<Request<B>> + Clone,
    S::Error: Debug,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let mut service = black_box(service).clone();
    assert!(matches!(service.poll_ready(cx), Poll::Ready(Ok(()))));
    let future = pin!(service.call(request));
    let Poll::Ready(Ok(response)) = future.poll(cx) else {
        panic!("not answered at once");
    };
    drop(black_box(response));
}

/// Requests that are made at a time: few enough for the caches.
const BATCH: u64 = 256;

/// The mean time that `threads` threads take, all at once, for as many requests each.
fn at_once<S, B>(threads: usize, requests: u64, service: &S) -> Duration
where
    S: Service<Request<B>> + Clone + Sync,
    S::Error: Debug,
    B: Default,
{
    let barrier = Barrier::new(threads);
    let run = || {
        let mut total = Duration::ZERO;
        let mut batch = Vec::with_capacity(BATCH as usize);
        let mut left = requests;
        barrier.wait();
        while left > 0 {
            batch.extend((0..left.min(BATCH)).map(|_| Request::new(B::default())));
            left -= batch.len() as u64;
            let start = Instant::now();
            for request in batch.drain(..) {
                serve(service, request);
            }
            total += start.elapsed();
        }
        total
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        let others = others
            .into_iter()
            .map(|other| other.join().expect("a bench thread panicked"));
        (mine + others.sum::<Duration>()) / threads as u32
    })
}

fn subject<S, B>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, service: S)
where
    S: Service<Request<B>> + Clone + Sync,
    S::Error: Debug,
    B: Default,
{
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|requests| at_once(threads, requests, &service));
        });
    }
}

fn per_request(c: &mut Criterion) {
    let mut group = c.benchmark_group("per request");
    let drain = Drain::new();
    let (in_flight, _counter) = InFlightRequestsLayer::pair();
    let (_signal, watch) = drain::channel();
    let tracker = TaskTracker::new();
    subject(&mut group, "bare", Nothing);
    subject(&mut group, "tower-drain", drain.layer().layer(Nothing));
    let tracking = drain.layer().track_requests();
    subject(&mut group, "tower-drain tracking", tracking.layer(Nothing));
    subject(&mut group, "InFlightRequests", in_flight.layer(Nothing));
    subject(
        &mut group,
        "ConcurrencyLimit",
        ConcurrencyLimit::new(Nothing, 1 << 20),
    );
    subject(
        &mut group,
        "drain Retain",
        drain::Retain::new(watch, Nothing),
    );
    subject(
        &mut group,
        "TaskTracker",
        Tracked {
            inner: Nothing,
            tracker,
        },
    );
    group.finish();
}

fn axum_router(c: &mut Criterion) {
    let mut group = c.benchmark_group("axum router");
    let router: Router = Router::new().route("/", get(|| async {}));
    let drain = Drain::new();
    let (in_flight, _counter) = InFlightRequestsLayer::pair();
    subject::<_, Body>(&mut group, "bare", router.clone());
    subject::<_, Body>(
        &mut group,
        "tower-drain",
        router.clone().layer(drain.layer()),
    );
    subject::<_, Body>(
        &mut group,
        "InFlightRequests",
        router.clone().layer(in_flight),
    );
    group.finish();
}

criterion_group!(benches, per_request, axum_router);
criterion_main!(benches);
