//! The time to list 100,000 tracked requests and to cancel them, and that of a status after a burst of a million:
//! `cargo bench --bench tracking`. The time
//! that tracking adds to each request is in `per_request`, its memory in `memory`.

use std::convert::Infallible;
use std::future::{Future, Pending, pending};
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_drain::Drain;
use tower_drain::future::ResponseFuture;

const REQUESTS: usize = 100_000;
const BURST: usize = 1_000_000;

type Stuck = ResponseFuture<Pending<Result<Response<Body>, Infallible>>, Body>;

/// Requests whose handlers wait, each with its waker.
fn in_flight(drain: &Drain, requests: usize) -> Vec<Pin<Box<Stuck>>> {
    let inner = service_fn(|_: Request<()>| pending());
    let mut service = drain.layer().track_requests().layer(inner);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut one = |_| {
        let request = Request::get("/api/v1/customers/1234/orders").body(());
        let mut future = Box::pin(service.call(request.expect("a valid request")));
        assert!(future.as_mut().poll(cx).is_pending());
        future
    };
    (0..requests).map(&mut one).collect()
}

fn tracking(c: &mut Criterion) {
    let mut group = c.benchmark_group("100,000 tracked requests");
    group.sample_size(10);
    let drain = Drain::new();
    let stuck = in_flight(&drain, REQUESTS);
    group.bench_function("requests", |bencher| bencher.iter(|| drain.requests()));
    group.bench_function("status", |bencher| bencher.iter(|| drain.status()));
    drop(stuck);
    group.bench_function("cancel", |bencher| {
        bencher.iter_custom(|iterations| {
            let one = |_| -> Duration {
                let stuck = in_flight(&drain, REQUESTS);
                let start = Instant::now();
                assert_eq!(drain.cancel(), REQUESTS);
                let elapsed = start.elapsed();
                drop(stuck);
                elapsed
            };
            (0..iterations).map(one).sum()
        });
    });
    group.finish();

    let drain = Drain::new();
    drop(in_flight(&drain, BURST));
    let _stuck = in_flight(&drain, 1);
    c.bench_function("status, after a burst of a million", |bencher| {
        bencher.iter(|| drain.status());
    });
}

criterion_group!(benches, tracking);
criterion_main!(benches);
