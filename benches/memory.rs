//! The memory of a request in flight, in bytes: the layer's additions to the inner service's future and body,
//! and its allocations. A table, not a timing: `cargo bench --bench memory`.

use std::alloc::System;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::mem::size_of;
use std::pin::pin;
use std::task::{Context, Waker};

use axum::body::Body;
use http::{Request, Response};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};
use tower_drain::future::ResponseFuture;
use tower_drain::{Drain, Permit, ResponseBody};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Inner = Ready<Result<Response<Body>, Infallible>>;

const REQUESTS: usize = 100_000;

/// Allocates many requests in flight. Returns the bytes per request.
fn allocated<S, B>(service: S) -> usize
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
{
    let cx = &mut Context::from_waker(Waker::noop());
    let mut in_flight = Vec::with_capacity(REQUESTS);
    let region = Region::new(ALLOCATOR);
    for _ in 0..REQUESTS {
        in_flight.push(pin!(service.clone().call(Request::new(()))).poll(cx));
    }
    let change = region.change();
    (change.bytes_allocated - change.bytes_deallocated) / REQUESTS
}

fn main() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<()>| -> Inner { ready(Ok(Response::new(Body::empty()))) });
    // The first use of a thread assigns its index.
    drop(drain.try_acquire());
    let bare = allocated(inner);
    let layered = allocated(drain.layer().layer(inner)) - bare;
    let tracked = allocated(drain.layer().track_requests().layer(inner)) - bare;

    let row = |what: &str, bytes: usize| println!("{what:<48} {bytes:>6} bytes");
    row("Permit", size_of::<Permit>());
    let future = size_of::<ResponseFuture<Inner, Body>>() - size_of::<Inner>();
    row("added to the response future", future);
    row(
        "added to the response body",
        size_of::<ResponseBody<Body>>() - size_of::<Body>(),
    );
    row("allocated per request in flight", layered);
    row("allocated per request in flight, tracked", tracked);
}
