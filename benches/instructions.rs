//! The instructions of a request: service clone, call, response and body drop, around a service that does
//! nothing. valgrind counts them, so the figures do not depend on the machine's load.
//!
//! ```sh
//! apt-get install valgrind
//! cargo install gungraun-runner --version 0.18.2
//! cargo bench --bench instructions
//! ```
//!
//! Without these two, it prints a message and is skipped. The profile is that of an optimized service: one
//! codegen unit, and LTO.

#![allow(missing_docs)]

mod subjects;

use std::fmt::Debug;
use std::process::{Command, Stdio};

use axum::Router;
use axum::body::Body;
use gungraun::{library_benchmark, library_benchmark_group};
use http::Request;
use tower::{Layer, Service};
use tower_drain::{Drain, DrainService, is_event_stream};
use tower_http::metrics::{InFlightRequests, InFlightRequestsLayer};

use subjects::{Floor, Nothing, router, serve, serving};

/// A service, and a request to it. Boxed, so that moving it is not counted.
struct Subject<S, B = ()> {
    service: S,
    request: Option<Request<B>>,
}

type Boxed<S, B = ()> = Box<Subject<S, B>>;

fn subject<S, B>(service: S) -> Boxed<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Debug,
    B: Default,
{
    // The first request of a thread assigns its index, and the first ones fill the allocator's caches.
    for _ in 0..16 {
        serve(&service, Request::new(B::default()));
    }
    let request = Some(Request::new(B::default()));
    Box::new(Subject { service, request })
}

impl<S, B> Subject<S, B>
where
    S: Service<Request<B>> + Clone,
    S::Error: Debug,
{
    /// Returns the subject, so that dropping it is not counted.
    #[inline(always)]
    fn serve(mut self: Box<Self>) -> Box<Self> {
        if let Some(request) = self.request.take() {
            serve(&self.service, request);
        }
        self
    }
}

fn in_flight() -> InFlightRequestsLayer {
    InFlightRequestsLayer::pair().0
}

#[library_benchmark]
#[bench::request(subject(Nothing))]
fn bare(subject: Boxed<Nothing>) -> Boxed<Nothing> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(Floor(Nothing)))]
fn floor(subject: Boxed<Floor<Nothing>>) -> Boxed<Floor<Nothing>> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(Drain::new().layer().layer(Nothing)))]
fn drain(subject: Boxed<DrainService<Nothing>>) -> Boxed<DrainService<Nothing>> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(Drain::new().layer().track_requests().layer(Nothing)))]
fn drain_tracking(subject: Boxed<DrainService<Nothing>>) -> Boxed<DrainService<Nothing>> {
    subject.serve()
}

// For a response that is not chosen.
#[library_benchmark]
#[bench::request(subject(Drain::new().layer().end_streams(is_event_stream).layer(Nothing)))]
fn drain_end_streams(subject: Boxed<DrainService<Nothing>>) -> Boxed<DrainService<Nothing>> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(in_flight().layer(Nothing)))]
fn in_flight_requests(
    subject: Boxed<InFlightRequests<Nothing>>,
) -> Boxed<InFlightRequests<Nothing>> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(serving(router())))]
fn router_bare(subject: Boxed<Router, Body>) -> Boxed<Router, Body> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(serving(router().layer(Drain::new().layer()))))]
fn router_drain(subject: Boxed<Router, Body>) -> Boxed<Router, Body> {
    subject.serve()
}

// Around the whole router, as an accept loop can have it.
#[library_benchmark]
#[bench::request(subject(Drain::new().layer().layer(serving(router()))))]
fn drain_router(subject: Boxed<DrainService<Router>, Body>) -> Boxed<DrainService<Router>, Body> {
    subject.serve()
}

#[library_benchmark]
#[bench::request(subject(serving(router().layer(in_flight()))))]
fn router_in_flight_requests(subject: Boxed<Router, Body>) -> Boxed<Router, Body> {
    subject.serve()
}

library_benchmark_group!(
    name = per_request;
    benchmarks =
        bare, floor, drain, drain_tracking, drain_end_streams, in_flight_requests,
        router_bare, router_drain, drain_router, router_in_flight_requests
);

fn is_installed(program: &str) -> bool {
    let mut version = Command::new(program);
    version.arg("--version");
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok()
}

fn main() {
    gungraun::main!(library_benchmark_groups = per_request);

    // The runner starts this program again for each function that it counts.
    let is_counted = std::env::args().any(|arg| arg == "--gungraun-run");
    let missing = ["valgrind", "gungraun-runner"];
    match missing
        .iter()
        .find(|program| !is_counted && !is_installed(program))
    {
        Some(program) => println!("instructions: skipped, {program} is not installed"),
        None => main(),
    }
}
