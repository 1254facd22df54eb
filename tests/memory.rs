//! What requests and drains take. Alone in its process, and one step after the other in a single
//! test, so that what is measured is this and nothing else.

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

/// Resident, in bytes.
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

/// A drain is created, used and dropped.
fn use_one(drained: bool) {
    let drain = Drain::new();
    let mut service = drain.layer().layer(service_fn(inner));
    let response = assert_ready_ok!(task::spawn(service.call(Request::new(()))).poll());
    assert_eq!(drain.in_flight(), 1);
    if drained {
        drain.start_draining();
    }
    drop(response);
}

#[test]
fn requests_allocate_nothing_and_drains_give_back_what_they_took() {
    a_request_in_flight_allocates_nothing();
    a_million_drains_do_not_grow_the_process();
}

fn a_million_drains_do_not_grow_the_process() {
    for drained in [true, false] {
        (0..1_000).for_each(|_| use_one(drained));
        let before = resident();
        (0..1_000_000).for_each(|_| use_one(drained));
        let grown = resident().saturating_sub(before);
        assert!(
            grown < 2 << 20,
            "grown by {grown} bytes, drained: {drained}"
        );
    }
}

fn a_request_in_flight_allocates_nothing() {
    let drain = Drain::new();
    let service = drain.layer().layer(service_fn(inner));
    // The first use of a thread takes its index.
    drop(drain.try_acquire());
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let mut in_flight = Vec::with_capacity(1_000);
    let region = Region::new(ALLOCATOR);
    for _ in 0..1_000 {
        let future = std::pin::pin!(service.clone().call(Request::new(())));
        in_flight.push(future.poll(cx));
    }
    assert_eq!(drain.in_flight(), 1_000);
    assert_eq!(region.change().allocations, 0);
}
