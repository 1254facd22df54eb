//! A request is in flight from the call until its response body is dropped, and is released once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use http::{Request, Response};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, Service, service_fn};
use tower_drain::{Drain, Permit, Phase};

use crate::support::{Body, Hello, by_hand, get, hello, text};

#[test]
fn in_flight_from_the_call_until_the_body_is_dropped() {
    let drain = Drain::new();
    let (inner, answer) = by_hand();
    let mut service = drain.layer().layer(inner);
    assert_eq!(drain.in_flight(), 0);
    let mut response = task::spawn(service.call(get("/")));
    assert_eq!(drain.in_flight(), 1, "before the first poll");
    assert_pending!(response.poll());
    drain.start_draining();
    answer.send(Ok(hello())).unwrap();
    let head = assert_ready_ok!(response.poll());
    drop(response);
    assert_eq!(drain.in_flight(), 1, "not released by the head");
    assert_eq!(drain.phase(), Phase::Draining);
    drop(head);
    assert_eq!((drain.in_flight(), drain.phase()), (0, Phase::Drained));
}

#[tokio::test]
async fn released_by_the_drop_of_the_body_and_not_by_its_end() {
    let drain = Drain::new();
    let response = drain.layer().layer(Hello).call(get("/")).await.unwrap();
    let mut body = response.into_body();
    while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
        frame.unwrap();
    }
    assert_eq!(drain.in_flight(), 1);
    drop(body);
    assert_eq!(drain.in_flight(), 0);
}

#[test]
fn released_when_the_client_goes_away() {
    let drain = Drain::new();
    let (inner, _answer) = by_hand();
    let mut service = drain.layer().layer(inner);
    let mut response = task::spawn(service.call(get("/")));
    assert_pending!(response.poll());
    drop(response);
    assert_eq!(drain.in_flight(), 0);
}

#[test]
fn released_on_an_inner_error() {
    let drain = Drain::new();
    let (inner, answer) = by_hand();
    let mut service = drain.layer().layer(inner);
    let mut response = task::spawn(service.call(get("/")));
    answer.send(Err("broken")).unwrap();
    assert_eq!(assert_ready_err!(response.poll()), "broken");
    assert_eq!(drain.in_flight(), 0);
    drop(response);
    assert_eq!(drain.in_flight(), 0, "released twice");
}

#[test]
fn released_on_a_panic_in_call() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<Body>| -> std::future::Ready<Result<_, ()>> {
        if true {
            panic!("in call");
        }
        std::future::ready(Ok(hello()))
    });
    let mut service = drain.layer().layer(inner);
    catch_unwind(AssertUnwindSafe(|| drop(service.call(get("/"))))).unwrap_err();
    assert_eq!(drain.in_flight(), 0);
}

#[test]
fn released_on_a_panic_in_poll() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<Body>| async {
        if true {
            panic!("in poll");
        }
        Ok::<_, ()>(hello())
    });
    let mut service = drain.layer().layer(inner);
    let mut response = task::spawn(service.call(get("/")));
    catch_unwind(AssertUnwindSafe(|| drop(response.poll()))).unwrap_err();
    drop(response);
    assert_eq!(drain.in_flight(), 0);
}

/// Records how many requests are in flight when it is dropped.
struct Witness(Drain, Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.1.store(self.0.in_flight(), Ordering::SeqCst);
    }
}

#[test]
fn entered_before_the_inner_call_and_released_after_the_inner_future() {
    let drain = Drain::new();
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    for fails in [false, true] {
        let witness = Witness(drain.clone(), seen.clone());
        let mut witness = Some(witness);
        let in_call = drain.clone();
        let inner = service_fn(move |_: Request<Body>| {
            assert_eq!(in_call.in_flight(), 1, "entered after the call");
            let witness = witness.take();
            // Keeps the witness until it is dropped itself, even once it is done.
            std::future::poll_fn(move |_| {
                let _kept = &witness;
                match fails {
                    true => Poll::Ready(Err("broken")),
                    false => Poll::<Result<Response<Body>, _>>::Pending,
                }
            })
        });
        let mut service = drain.layer().layer(inner);
        let mut response = task::spawn(service.call(get("/")));
        assert_eq!(response.poll().is_ready(), fails);
        drop(response);
        assert_eq!(seen.swap(usize::MAX, Ordering::SeqCst), 1);
        assert_eq!(drain.in_flight(), 0);
    }
}

#[test]
fn the_handler_is_dropped_before_its_permit_is_released_with_the_body() {
    let drain = Drain::new();
    let seen = Arc::new(AtomicUsize::new(usize::MAX));
    let mut witness = Some(Witness(drain.clone(), seen.clone()));
    let inner = service_fn(move |_: Request<Body>| {
        let witness = witness.take();
        // Keeps the witness until it is dropped itself, even once it is ready.
        std::future::poll_fn(move |_| {
            let _kept = &witness;
            Poll::Ready(Ok::<_, ()>(hello()))
        })
    });
    let mut response = task::spawn(drain.layer().layer(inner).call(get("/")));
    drop(assert_ready_ok!(response.poll()));
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    drop(response);
}

#[test]
fn layers_and_services_do_not_keep_the_drain_from_finishing() {
    let drain = Drain::new();
    let layer = drain.layer();
    let services = [(); 10].map(|()| layer.layer(Hello));
    drain.start_draining();
    assert_eq!(drain.phase(), Phase::Drained);
    drop(services);
}

#[tokio::test]
async fn a_shared_permit_outlives_the_response() {
    let drain = Drain::new();
    let kept: Arc<std::sync::Mutex<Option<Permit>>> = Arc::default();
    let keep = kept.clone();
    let inner = service_fn(move |mut request: Request<Body>| {
        *keep.lock().unwrap() = request.extensions_mut().remove::<Permit>();
        std::future::ready(Ok::<_, ()>(hello()))
    });
    let response = drain
        .layer()
        .share_permit()
        .layer(inner)
        .call(get("/"))
        .await
        .unwrap();
    drain.start_draining();
    assert_eq!(text(response.into_body()).await, "hello");
    assert_eq!((drain.in_flight(), drain.phase()), (1, Phase::Draining));
    let permit = kept.lock().unwrap().take();
    drop(permit.expect("a permit in the extensions"));
    assert_eq!(drain.phase(), Phase::Drained);
}

#[tokio::test]
async fn without_share_permit_there_is_none_in_the_extensions() {
    let drain = Drain::new();
    let inner = service_fn(|request: Request<Body>| {
        assert!(request.extensions().get::<Permit>().is_none());
        std::future::ready(Ok::<_, ()>(hello()))
    });
    drain.layer().layer(inner).call(get("/")).await.unwrap();
}

#[test]
fn a_shared_permit_of_nested_drains_holds_all_of_them() {
    let drains = [(); 3].map(|()| Drain::new());
    let mut kept = None;
    let inner = service_fn(|mut request: Request<Body>| {
        kept = request.extensions_mut().remove::<Permit>();
        std::future::ready(Ok::<_, ()>(hello()))
    });
    let [server, other, tenant] = &drains;
    let service = tenant.layer().share_permit().layer(inner);
    // One that does not share its permit is passed over.
    let service = other.layer().layer(service);
    let mut service = server.layer().share_permit().layer(service);
    drop(assert_ready_ok!(task::spawn(service.call(get("/"))).poll()));
    drop(service);
    let counts = || drains.each_ref().map(Drain::in_flight);
    assert_eq!(counts(), [1, 0, 1]);
    let permit = kept.expect("a permit in the extensions");
    let clone = permit.clone();
    drop(permit);
    for drain in &drains {
        drain.start_draining();
    }
    assert_eq!(counts(), [1, 0, 1]);
    drop(clone);
    assert!(drains.iter().all(|drain| drain.phase() == Phase::Drained));
}
