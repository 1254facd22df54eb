//! The time from the drop of the last body until the waiting task's waker is called, by the number of
//! requests in flight when draining started. The time until the runtime runs the task is not included.
//!
//! `cargo bench --bench wake`.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use tower_drain::{Drain, ResponseBody};

/// When the waiting task was woken.
#[derive(Default)]
struct Woken(OnceLock<Instant>);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.get_or_init(Instant::now);
    }
}

async fn hello(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

/// Returns the bodies of `count` requests in flight.
fn in_flight(drain: &Drain, count: usize) -> Vec<Response<ResponseBody<Body>>> {
    let mut service = drain.layer().layer(service_fn(hello));
    let cx = &mut Context::from_waker(Waker::noop());
    let mut one = || match pin!(service.call(Request::new(Body::empty()))).poll(cx) {
        Poll::Ready(Ok(response)) => response,
        Poll::Pending => panic!("not answered at once"),
    };
    (0..count).map(|_| one()).collect()
}

fn drop_to_wake(count: usize) -> Duration {
    let drain = Drain::new();
    let mut bodies = in_flight(&drain, count);
    drain.start_draining();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut drained = pin!(drain.drained());
    assert!(
        drained
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    bodies.truncate(1);
    let start = Instant::now();
    drop(bodies);
    *woken.0.get().expect("woken by the last drop") - start
}

fn wake(c: &mut Criterion) {
    let mut group = c.benchmark_group("wake at zero");
    group.sample_size(20);
    for count in [1, 1_000, 100_000] {
        group.bench_function(BenchmarkId::new("in flight", count), |bencher| {
            bencher.iter_custom(|iterations| (0..iterations).map(|_| drop_to_wake(count)).sum());
        });
    }
    group.finish();
}

criterion_group!(benches, wake);
criterion_main!(benches);
