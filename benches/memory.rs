//! What a request in flight takes, in bytes: what the layer adds to the inner service's future and
//! body, and what it allocates. A table, not a timing: `cargo bench --bench memory`.

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
use tower_drain::{Drain, Permit, ResponseBody, ResponseFuture};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Inner = Ready<Result<Response<Body>, Infallible>>;

fn main() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<()>| -> Inner { ready(Ok(Response::new(Body::empty()))) });
    let service = drain.layer().layer(inner);
    // The first use of a thread takes its index.
    drop(drain.try_enter());
    let cx = &mut Context::from_waker(Waker::noop());
    let mut in_flight = Vec::with_capacity(100_000);
    let bare = Region::new(ALLOCATOR);
    for _ in 0..100_000 {
        in_flight.push(pin!(inner.clone().call(Request::new(()))).poll(cx));
    }
    let bare = bare.change().bytes_allocated;
    let mut in_flight = Vec::with_capacity(100_000);
    let layered = Region::new(ALLOCATOR);
    for _ in 0..100_000 {
        in_flight.push(pin!(service.clone().call(Request::new(()))).poll(cx));
    }
    let layered = layered.change().bytes_allocated;
    assert_eq!(drain.in_flight(), 100_000);

    let row = |what: &str, bytes: usize| println!("{what:<48} {bytes:>6} bytes");
    row("Permit", size_of::<Permit>());
    let future = size_of::<ResponseFuture<Inner, Body>>() - size_of::<Inner>();
    row("added to the response future", future);
    row(
        "added to the response body",
        size_of::<ResponseBody<Body>>() - size_of::<Body>(),
    );
    row(
        "allocated per request in flight",
        (layered - bare) / 100_000,
    );
}
