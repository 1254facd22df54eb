//! The memory of requests and drains. A single test in its own process, so that nothing else is measured.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

use std::alloc::System;
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio_test::{assert_ready_ok, task};
use tower::{Layer, Service, service_fn};
use tower_drain::Drain;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Resident memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

async fn inner(_: Request<()>) -> Result<Response<Empty<Bytes>>, Infallible> {
    Ok(Response::new(Empty::new()))
}

/// Creates a drain, serves a request with it, and returns the response and the drain.
fn use_one(tracked: bool) -> (Response<impl Sized>, Drain) {
    let drain = Drain::new();
    let layer = drain.layer();
    let layer = if tracked {
        layer.track_requests()
    } else {
        layer
    };
    let mut service = layer.layer(service_fn(inner));
    let response = assert_ready_ok!(task::spawn(service.call(Request::new(()))).poll());
    assert_eq!(drain.in_flight(), 1);
    (response, drain)
}

#[test]
fn requests_allocate_nothing_and_drained_drains_are_reused() {
    a_request_in_flight_allocates_nothing();
    a_million_drained_drains_do_not_grow_the_process();
    a_drain_that_is_dropped_undrained_leaks_what_the_docs_say();
}

fn a_million_drained_drains_do_not_grow_the_process() {
    let drain_one = |tracked| {
        let (response, drain) = use_one(tracked);
        drain.start_draining();
        drop(response);
    };
    for tracked in [false, true] {
        (0..1_000).for_each(|_| drain_one(tracked));
        let before = resident();
        (0..1_000_000).for_each(|_| drain_one(tracked));
        let grown = resident().saturating_sub(before);
        assert!(grown < 2 << 20, "grown by {grown} bytes");
    }
}

fn a_drain_that_is_dropped_undrained_leaks_what_the_docs_say() {
    const DRAINS: usize = 1_000;
    let leaked = |use_drain: fn()| {
        // Empties the list of free gates, which are used first.
        let _in_use: Vec<_> = (0..2_000).map(|_| Drain::new()).collect();
        let region = Region::new(ALLOCATOR);
        (0..DRAINS).for_each(|_| use_drain());
        let change = region.change();
        (change.bytes_allocated - change.bytes_deallocated) / DRAINS
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = threads.next_power_of_two().min(64);
    // A shard is 128 bytes; the shards share the rest.
    let open = leaked(|| drop(use_one(false)));
    assert!(open <= 256 + 128 * shards, "{open} bytes");
    let with_a_permit = leaked(|| {
        let drain = Drain::new();
        let permit = drain.try_acquire();
        drain.start_draining();
        drop(drain);
        drop(permit);
    });
    assert_eq!(with_a_permit, open);
}

fn a_request_in_flight_allocates_nothing() {
    let drain = Drain::new();
    let service = drain.layer().layer(service_fn(inner));
    // The first use of a thread assigns its index.
    drop(drain.try_acquire());
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let mut in_flight = Vec::with_capacity(1_000);
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        let future = std::pin::pin!(service.clone().call(Request::new(())));
        in_flight.push(future.poll(cx));
    }
    assert_eq!(drain.in_flight(), 1_000);
    // The thread of the test harness may allocate a little meanwhile, but not once per request.
    let allocations = region.change().allocations;
    assert!(allocations < 100, "{allocations} allocations");
}
