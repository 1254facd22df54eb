//! `poll_ready` is that of the inner service. A request that waits for it is in flight; one that arrives while
//! draining is refused at once.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;

use http::{Request, Response, StatusCode};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::limit::ConcurrencyLimit;
use tower::steer::Steer;
use tower::{Layer, Service, ServiceExt};
use tower_drain::{Drain, DrainService, Phase};

use crate::support::{Body, Hello, get, spin_until};

fn poll_ready<S: Service<Request<Body>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// Inner services that are ready when the test lets them be.
#[derive(Clone, Debug)]
struct Limited(&'static AtomicUsize);

/// In [`Limited`]: fails, or panics.
const BROKEN: usize = usize::MAX;
const PANICS: usize = usize::MAX - 1;

fn limited() -> Limited {
    Limited(Box::leak(Box::default()))
}

impl Limited {
    fn set(&self, ready: usize) {
        self.0.store(ready, Ordering::SeqCst);
    }
}

impl Service<Request<Body>> for Limited {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        match self.0.load(Ordering::SeqCst) {
            0 => Poll::Pending,
            BROKEN => Poll::Ready(Err("broken")),
            PANICS => panic!("in poll_ready"),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let ready = self.0.load(Ordering::SeqCst);
        assert!((1..PANICS).contains(&ready), "called without being ready");
        std::future::ready(Ok(Response::new(Body::from("hello"))))
    }
}

/// A drain, and a clone of a service whose request waits.
fn waiting() -> (Drain, Limited, DrainService<Limited>) {
    let (drain, limited) = (Drain::new(), limited());
    let mut service = drain.layer().layer(limited.clone()).clone();
    assert!(poll_ready(&mut service).is_pending());
    assert_eq!(drain.in_flight(), 1);
    (drain, limited, service)
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
async fn a_request_that_waits_is_in_flight_and_is_served_while_draining() {
    let (drain, limited, mut service) = waiting();
    drain.start_draining();
    assert!(poll_ready(&mut service).is_pending(), "not refused");
    assert_eq!(drain.phase(), Phase::Draining);
    limited.set(1);
    assert!(poll_ready(&mut service).is_ready());
    let response = service.call(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((drain.in_flight(), drain.refused()), (1, 0));
    drop(response);
    assert_eq!(drain.phase(), Phase::Drained);
    // The instance may serve on. The next request is another one.
    assert!(poll_ready(&mut service).is_ready());
    let refused = service.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_saturated_inner_service_does_not_delay_a_refusal() {
    let drain = Drain::new();
    let mut service = drain.layer().layer(limited());
    drain.start_draining();
    for service in [&mut service.clone(), &mut service] {
        assert!(poll_ready(service).is_ready());
        assert_eq!(drain.in_flight(), 0);
        let refused = service.call(get("/")).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

// Instances that are kept, and serve one request after the other.

#[tokio::test]
async fn an_instance_that_is_kept_counts_nothing_and_is_woken_by_draining() {
    let drain = Drain::new();
    let limited = limited();
    let original = drain.layer().layer(limited.clone());
    let mut used = original.clone();
    limited.set(1);
    assert!(poll_ready(&mut used).is_ready());
    limited.set(0);
    let mut services = [original, used];
    let mut tasks = services.each_mut().map(|kept| task::spawn(kept.ready()));
    for ready in &mut tasks {
        assert_pending!(ready.poll());
    }
    drain.lame_duck();
    for ready in &mut tasks {
        assert_pending!(ready.poll());
    }
    assert_eq!(drain.in_flight(), 0);
    drain.start_draining();
    assert_eq!(drain.phase(), Phase::Drained);
    for ready in &mut tasks {
        assert!(ready.is_woken());
        let service = assert_ready_ok!(ready.poll());
        let refused = service.call(get("/")).await.unwrap();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[test]
fn a_clone_that_was_ready_or_called_is_kept() {
    let drain = Drain::new();
    let limited = limited();
    limited.set(1);
    let service = drain.layer().layer(limited.clone());
    let (mut ready, mut called) = (service.clone(), service.clone());
    assert!(poll_ready(&mut ready).is_ready());
    drop(called.call(get("/")));
    limited.set(0);
    for mut service in [ready, called] {
        assert!(poll_ready(&mut service).is_pending());
        assert_eq!(drain.in_flight(), 0);
    }
}

#[test]
fn a_steer_of_originals_holds_nothing_open() {
    let drain = Drain::new();
    let services = [(); 3].map(|()| drain.layer().layer(limited()));
    let mut steer = Steer::new(services, |_: &Request<Body>, _: &[_]| 0);
    assert!(poll_ready(&mut steer).is_pending());
    drain.start_draining();
    assert_eq!(drain.phase(), Phase::Drained);
    assert!(poll_ready(&mut steer).is_ready());
}

#[tokio::test]
async fn a_buffer_whose_message_was_cancelled_holds_nothing_open() {
    let drain = Drain::new();
    let service = drain.layer().layer(limited());
    let mut buffer = tower::buffer::Buffer::new(service, 1);
    let response = tokio::spawn(buffer.ready().await.unwrap().call(get("/")));
    tokio::task::yield_now().await;
    response.abort();
    tokio::task::yield_now().await;
    drain.start_draining();
    assert_eq!(drain.phase(), Phase::Drained);
}

// Each way to release a request that waits.

#[test]
fn released_when_the_clone_is_dropped_while_it_waits_or_when_it_is_ready() {
    for is_ready in [false, true] {
        let (drain, limited, mut service) = waiting();
        limited.set(usize::from(is_ready));
        assert_eq!(poll_ready(&mut service).is_ready(), is_ready);
        assert_eq!(drain.in_flight(), 1, "polled and never called");
        drain.start_draining();
        drop(service);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}

#[test]
fn released_by_an_error_while_it_waits() {
    let (drain, limited, mut service) = waiting();
    drain.start_draining();
    limited.set(BROKEN);
    assert!(matches!(
        poll_ready(&mut service),
        Poll::Ready(Err("broken"))
    ));
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn released_by_a_panic_while_it_waits() {
    let (drain, limited, mut service) = waiting();
    limited.set(PANICS);
    catch_unwind(AssertUnwindSafe(|| poll_ready(&mut service))).unwrap_err();
    assert_eq!(drain.in_flight(), 0);
    drop(service);
    drain.start_draining();
    assert_eq!((drain.in_flight(), drain.phase()), (0, Phase::Drained));
}

#[tokio::test]
async fn an_exempt_request_counts_while_it_waits() {
    let (drain, limited) = (Drain::new(), limited());
    let layer = drain.layer().exempt(|_: &Request<Body>| true);
    let mut service = layer.layer(limited.clone()).clone();
    assert!(poll_ready(&mut service).is_pending());
    assert_eq!(drain.in_flight(), 1);
    drain.start_draining();
    limited.set(1);
    assert!(poll_ready(&mut service).is_ready());
    let response = service.call(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!((drain.in_flight(), drain.refused()), (0, 0));
}

#[test]
fn released_by_a_panic_of_the_exemption() {
    let (drain, limited) = (Drain::new(), limited());
    let layer = drain
        .layer()
        .exempt(|_: &Request<Body>| panic!("in exempt"));
    let mut service = layer.layer(limited.clone()).clone();
    assert!(poll_ready(&mut service).is_pending());
    limited.set(1);
    assert!(poll_ready(&mut service).is_ready());
    assert_eq!(drain.in_flight(), 1);
    catch_unwind(AssertUnwindSafe(|| drop(service.call(get("/"))))).unwrap_err();
    assert_eq!(drain.in_flight(), 0);
}

// With the rest of the crate.

#[tokio::test]
async fn a_request_that_waits_has_no_name_and_is_cancelled_when_its_turn_comes() {
    let (drain, limited) = (Drain::new(), limited());
    let service = drain.layer().track_requests().layer(limited.clone());
    let mut waiting = service.clone();
    assert!(poll_ready(&mut waiting).is_pending());
    assert_eq!(drain.requests().len(), 0);
    let unfinished = assert_ready_err!(task::spawn(drain.drain(std::time::Duration::ZERO)).poll());
    assert_eq!(unfinished.in_flight(), 1);
    assert_eq!(drain.cancel(), 0);
    limited.set(1);
    assert!(poll_ready(&mut waiting).is_ready());
    // Its handler is ready at once, so it is served; see `tracking` for one that is not.
    let response = waiting.call(get("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn nested_drains_count_a_request_that_waits() {
    let drains = [(); 3].map(|()| Drain::new());
    let limited = limited();
    let inner = drains[0].layer().layer(limited.clone());
    let middle = drains[1].layer().layer(inner);
    let mut service = drains[2].layer().layer(middle).clone();
    assert!(poll_ready(&mut service).is_pending());
    for drain in &drains {
        assert_eq!(drain.in_flight(), 1);
        drain.start_draining();
    }
    limited.set(1);
    assert!(poll_ready(&mut service).is_ready());
    let response = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(response.status(), StatusCode::OK);
    drop(response);
    assert!(drains.iter().all(|drain| drain.phase() == Phase::Drained));
}

/// Each request is either refused, or counted when draining starts and served.
#[test]
fn requests_that_begin_to_wait_race_with_draining() {
    for _ in 0..2_000 {
        let (drain, limited) = (Drain::new(), limited_once());
        let service = drain.layer().layer(limited);
        let started = AtomicBool::new(false);
        thread::scope(|scope| {
            let draining = scope.spawn(|| {
                spin_until(|| started.load(Ordering::Acquire));
                drain.start_draining();
                drain.in_flight()
            });
            started.store(true, Ordering::Release);
            let mut clones = [(); 4].map(|()| service.clone());
            let mut arrived = 0;
            for clone in &mut clones {
                arrived += usize::from(poll_ready(clone).is_pending());
            }
            assert!(draining.join().unwrap() <= arrived);
            assert_eq!(drain.in_flight(), arrived, "refused after it was counted");
            service.get_ref().set(1);
            for clone in &mut clones {
                assert!(poll_ready(clone).is_ready());
                let response = assert_ready_ok!(task::spawn(clone.call(get("/"))).poll());
                let served = usize::from(response.status() == StatusCode::OK);
                arrived -= served;
            }
            assert_eq!(arrived, 0);
        });
        assert_eq!(drain.phase(), Phase::Drained);
    }
}

/// One for all turns, so that the test leaks nothing.
fn limited_once() -> Limited {
    static READY: AtomicUsize = AtomicUsize::new(0);
    READY.store(0, Ordering::SeqCst);
    Limited(&READY)
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
    let exempt = drain.layer().exempt(|_: &Request<Body>| true);
    let mut service = exempt.layer(Saturated);
    drain.start_draining();
    assert!(poll_ready(&mut service).is_ready());
    let refused = service.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn the_error_of_an_inner_service_passes_until_draining_makes_it_a_refusal() {
    let (drain, limited) = (Drain::new(), limited());
    limited.set(BROKEN);
    let mut service = drain.layer().layer(limited);
    let broken = poll_ready(&mut service);
    assert!(matches!(broken, Poll::Ready(Err("broken"))));
    drain.start_draining();
    assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))));
    let refused = service.call(get("/")).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
}
