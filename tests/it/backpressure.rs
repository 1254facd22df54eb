//! `poll_ready` is that of the inner service, until draining makes it ready.

use std::convert::Infallible;
use std::task::{Context, Poll, Waker};

use http::{Request, Response, StatusCode};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, Service};
use tower_drain::Drain;

use crate::support::{Body, Hello, get};

fn poll_ready<S: Service<Request<Body>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn readiness_is_that_of_the_inner_service() {
    let drain = Drain::new();
    let mut one = drain.layer().layer(ConcurrencyLimit::new(Hello, 1));
    let mut other = one.clone();
    assert!(poll_ready(&mut one).is_ready());
    assert!(poll_ready(&mut other).is_pending());
    drop(one);
    assert!(poll_ready(&mut other).is_ready());
}

#[tokio::test]
async fn a_saturated_inner_service_does_not_delay_a_refusal() {
    let drain = Drain::new();
    let mut one = drain.layer().layer(ConcurrencyLimit::new(Hello, 1));
    let mut other = one.clone();
    assert!(poll_ready(&mut one).is_ready());
    assert!(poll_ready(&mut other).is_pending());
    drain.start_draining();
    assert!(poll_ready(&mut other).is_ready());
    let refused = other.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn a_task_that_waits_for_a_saturated_inner_service_is_woken_by_draining() {
    let drain = Drain::new();
    let mut one = drain.layer().layer(ConcurrencyLimit::new(Hello, 1));
    let mut other = one.clone();
    assert!(poll_ready(&mut one).is_ready());
    let ready = std::future::poll_fn(|cx| Service::<Request<Body>>::poll_ready(&mut other, cx));
    let mut waiting = task::spawn(ready);
    assert_pending!(waiting.poll());
    drain.lame_duck();
    assert_pending!(waiting.poll());
    drain.start_draining();
    assert!(waiting.is_woken());
    assert_ready_ok!(waiting.poll());
}

/// Never ready, and must not be called.
#[derive(Clone)]
struct Saturated;

impl Service<Request<Body>> for Saturated {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Pending
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        panic!("called without being ready")
    }
}

#[tokio::test]
async fn an_exempt_request_is_refused_rather_than_forced_on_a_saturated_inner_service() {
    let drain = Drain::new();
    let mut service = drain
        .layer()
        .exempt(|_: &Request<Body>| true)
        .layer(Saturated);
    drain.start_draining();
    assert!(poll_ready(&mut service).is_ready());
    let refused = service.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Broken: its readiness is an error.
struct Broken;

impl Service<Request<Body>> for Broken {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Err("broken"))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        panic!("called though broken")
    }
}

#[tokio::test]
async fn the_error_of_an_inner_service_passes_until_draining_makes_it_a_refusal() {
    let drain = Drain::new();
    let mut service = drain.layer().layer(Broken);
    assert!(matches!(
        poll_ready(&mut service),
        Poll::Ready(Err("broken"))
    ));
    drain.start_draining();
    assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))));
    let refused = service.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}
