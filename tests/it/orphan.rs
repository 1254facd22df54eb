//! Services that outlive their handles.

use http::StatusCode;
use tower::{Layer, Service};
use tower_drain::{Drain, DrainLayer, Phase};

use crate::support::{Hello, get};

#[tokio::test]
async fn a_service_whose_handles_are_gone_serves_on() {
    let mut service = DrainLayer::new().layer(Hello);
    for _ in 0..3 {
        // Later drains take over what the dropped ones used.
        let later = Drain::new();
        assert_eq!(
            service.call(get("/")).await.unwrap().status(),
            StatusCode::OK
        );
        assert_eq!((later.in_flight(), later.refused()), (0, 0));
        later.start();
    }
}

#[tokio::test]
async fn a_service_of_a_finished_drain_refuses_for_ever() {
    let drain = Drain::new();
    let mut service = drain.layer().layer(Hello);
    drain.start();
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

#[test]
fn a_permit_outlives_its_handles_and_disturbs_no_later_drain() {
    let drain = Drain::new();
    let permit = drain.try_enter().unwrap();
    drain.start();
    drop(drain);
    let later = Drain::new();
    drop(permit);
    assert_eq!((later.phase(), later.in_flight()), (Phase::Serving, 0));
}

#[test]
fn a_waiter_keeps_the_drain_that_it_waits_for() {
    let drain = Drain::new();
    let permit = drain.try_enter().unwrap();
    let wait = drain.drain(std::time::Duration::MAX);
    drop(drain);
    let mut wait = tokio_test::task::spawn(wait);
    tokio_test::assert_pending!(wait.poll());
    drop(permit);
    tokio_test::assert_ready_ok!(wait.poll());
}
