//! Services and permits that outlive the handles of their drain.

use http::{Request, StatusCode};
use tower::{Layer, Service, service_fn};
use tower_drain::{Drain, DrainLayer, Permit, Phase};

use crate::support::{Body, Hello, get, hello};

#[tokio::test]
async fn a_service_whose_drain_was_never_started_serves_on_and_counts() {
    let (layer, drain) = DrainLayer::pair();
    let inner = service_fn(|request: Request<Body>| {
        assert!(request.extensions().get::<Permit>().is_some());
        std::future::ready(Ok::<_, ()>(hello()))
    });
    let mut service = layer.share_permit().track_requests().layer(inner);
    drop(drain);
    for _ in 0..3 {
        // Later drains get other gates and registries.
        let later = Drain::new();
        let _tracking = later.layer().track_requests().layer(Hello);
        let response = service.call(get("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!((later.in_flight(), later.refused()), (0, 0));
        assert!(later.requests().is_empty());
        assert_eq!(later.cancel(), 0);
        later.start_draining();
    }
}

#[tokio::test]
async fn a_service_of_a_drained_drain_refuses() {
    let drain = Drain::new();
    let mut service = drain.layer().track_requests().layer(Hello);
    drain.start_draining();
    drop(drain);
    for _ in 0..3 {
        let later = Drain::new();
        let response = service.call(get("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (later.phase(), later.in_flight(), later.refused()),
            (Phase::Serving, 0, 0)
        );
    }
}

#[tokio::test]
async fn an_exempt_response_of_a_drained_drain_still_closes() {
    let drain = Drain::new();
    let mut service = drain.layer().exempt(|_: &Request<Body>| true).layer(Hello);
    drain.start_draining();
    drop(drain);
    // It may reuse the gate.
    let _later = Drain::new();
    let response = service.call(get("/")).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
}

#[test]
fn a_permit_that_outlives_its_handles_disturbs_no_later_drain() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    drain.start_draining();
    drop(drain);
    let later = Drain::new();
    drop(permit);
    assert_eq!((later.phase(), later.in_flight()), (Phase::Serving, 0));
}

#[test]
fn a_waiter_keeps_its_drain() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let wait = drain.drain(std::time::Duration::MAX);
    drop(drain);
    let mut wait = tokio_test::task::spawn(wait);
    tokio_test::assert_pending!(wait.poll());
    drop(permit);
    tokio_test::assert_ready_ok!(wait.poll());
}

#[test]
fn a_future_that_keeps_no_handle_resolves_if_draining_has_started() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut drained = tokio_test::task::spawn(drain.drained());
    let mut late = tokio_test::task::spawn(drain.reached(Phase::Drained));
    drain.start_draining();
    drop(drain);
    tokio_test::assert_pending!(drained.poll());
    drop(permit);
    assert!(drained.is_woken());
    tokio_test::assert_ready!(drained.poll());
    // Other drains do not reach it.
    let _later = [(); 10].map(|()| Drain::new());
    tokio_test::assert_ready!(late.poll());
}

#[test]
fn a_future_of_a_drain_that_can_no_longer_start_stays_pending() {
    let drain = Drain::new();
    let mut closing = tokio_test::task::spawn(drain.closing());
    drop(drain);
    let later = [(); 10].map(|()| Drain::new());
    later
        .iter()
        .for_each(|drain| assert!(drain.start_draining()));
    tokio_test::assert_pending!(closing.poll());
}
