//! The cost of a request, in nanoseconds: service clone, call, response and body drop, around a service that
//! does nothing. On one thread, and on two at once.
//!
//! All subjects are measured in the same run, so that the rows can be compared:
//! `cargo bench --bench per_request`. The requests are created before, outside of the timing, as a
//! server's parser does: copying a request right after it was written costs more than any of the subjects.
//! The profile is that of an optimized service: one codegen unit, and LTO.

mod subjects;
mod threads;

use std::fmt::Debug;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use http::{Request, Response};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service};
use tower_drain::{Drain, is_event_stream};
use tower_http::metrics::InFlightRequestsLayer;

use subjects::{Floor, Guarded, Nothing, router, serve, serving};
use threads::at_once;

/// A middleware with a `TaskTracker`: it holds a token from the call to the drop of the body.
#[derive(Clone)]
struct Tracked<S> {
    inner: S,
    tracker: TaskTracker,
}

impl<S, B> Service<Request<()>> for Tracked<S>
where
    S: Service<Request<()>, Response = Response<B>>,
{
    type Response = Response<Guarded<B, TaskTrackerToken>>;
    type Error = S::Error;
    type Future = Guarded<S::Future, TaskTrackerToken>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let token = self.tracker.token();
        Guarded::new(self.inner.call(request), token)
    }
}

/// The number of requests created at a time, few enough for the caches.
const BATCH: u64 = 256;

/// Returns the time of so many requests.
fn requests<S, B>(count: u64, service: &S, wait_for_others: &dyn Fn()) -> Duration
where
    S: Service<Request<B>> + Clone,
    S::Error: Debug,
    B: Default,
{
    let mut total = Duration::ZERO;
    let mut batch = Vec::with_capacity(BATCH as usize);
    let mut left = count;
    wait_for_others();
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
}

fn subject<S, B>(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, service: S)
where
    S: Service<Request<B>> + Clone + Sync,
    S::Error: Debug,
    B: Default,
{
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|count| at_once(threads, |wait| requests(count, &service, wait)));
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
    subject(&mut group, "floor", Floor(Nothing));
    subject(&mut group, "tower-drain", drain.layer().layer(Nothing));
    let tracking = drain.layer().track_requests();
    subject(&mut group, "tower-drain tracking", tracking.layer(Nothing));
    let ending = drain.layer().end_streams(is_event_stream);
    subject(&mut group, "tower-drain end_streams", ending.layer(Nothing));
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
    let drain = Drain::new();
    let (in_flight, _counter) = InFlightRequestsLayer::pair();
    for (name, router) in [
        ("bare", router()),
        ("tower-drain", router().layer(drain.layer())),
        ("InFlightRequests", router().layer(in_flight)),
    ] {
        subject::<_, Body>(&mut group, name, serving(router));
    }
    group.finish();
}

criterion_group!(benches, per_request, axum_router);
criterion_main!(benches);
