//! What a request pays: service clone, call, response and body drop, in nanoseconds, over a service
//! that does nothing; at one thread, and at two at the same time.
//!
//! Each subject is measured in the same run, so that the rows can be compared:
//! `cargo bench --bench per_request`.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use axum::{Router, routing::get};
use bytes::Bytes;
use criterion::{
    BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
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

impl<B: Body> Body for TrackedBody<B> {
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
    S::Error: std::fmt::Debug,
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

fn at_once<S>(threads: usize, iterations: u64, service: &S, one: impl Fn(&S) + Sync) -> Duration
where
    S: Sync,
{
    let barrier = Barrier::new(threads);
    let run = || {
        barrier.wait();
        let start = Instant::now();
        for _ in 0..iterations {
            one(service);
        }
        start.elapsed()
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let mine = run();
        // The mean, as each ran the same number.
        let all = others
            .into_iter()
            .map(|other| other.join().expect("a bench thread panicked"));
        all.sum::<Duration>().saturating_add(mine) / threads as u32
    })
}

fn subject<S>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    service: S,
    one: impl Fn(&S) + Sync + Copy,
) where
    S: Clone + Send + Sync,
{
    for threads in [1, 2] {
        let label = match threads {
            1 => format!("{name}/1 thread"),
            threads => format!("{name}/{threads} threads"),
        };
        group.bench_function(label, |bencher| {
            bencher.iter_custom(|iterations| at_once(threads, iterations, &service, one));
        });
    }
}

fn per_request(c: &mut Criterion) {
    let mut group = c.benchmark_group("per request");
    macro_rules! subject {
        ($name:literal, $service:expr) => {
            subject(&mut group, $name, $service, |service| {
                serve(service, Request::new(()))
            });
        };
    }
    let drain = Drain::new();
    let (in_flight, _counter) = InFlightRequestsLayer::pair();
    let (_signal, watch) = drain::channel();
    let tracker = TaskTracker::new();
    subject!("bare", Nothing);
    subject!("tower-drain", drain.layer().layer(Nothing));
    subject!("InFlightRequests", in_flight.layer(Nothing));
    subject!("ConcurrencyLimit", ConcurrencyLimit::new(Nothing, 1 << 20));
    subject!("drain Retain", drain::Retain::new(watch, Nothing));
    subject!(
        "TaskTracker",
        Tracked {
            inner: Nothing,
            tracker
        }
    );
    group.finish();
}

fn axum_router(c: &mut Criterion) {
    let mut group = c.benchmark_group("axum router");
    let router: Router = Router::new().route("/", get(|| async {}));
    macro_rules! subject {
        ($name:literal, $service:expr) => {
            subject(&mut group, $name, $service, |service| {
                serve(service, Request::new(axum::body::Body::empty()))
            });
        };
    }
    let drain = Drain::new();
    let (in_flight, _counter) = InFlightRequestsLayer::pair();
    subject!("bare", router.clone());
    subject!("tower-drain", router.clone().layer(drain.layer()));
    subject!("InFlightRequests", router.clone().layer(in_flight));
    group.finish();
}

criterion_group!(benches, per_request, axum_router);
criterion_main!(benches);
