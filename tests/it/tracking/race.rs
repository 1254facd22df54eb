//! Cancelling, again and again and from several threads.

use super::*;
use crate::support::{panicking_waker, spin_until};

#[test]
fn each_request_is_cancelled_once_and_later_requests_are_not() {
    let drain = Drain::new();
    assert_eq!(drain.cancel(), 0, "before anything");
    let _first = stuck(&drain, get("/first"));
    assert_eq!(drain.cancel(), 1);
    let mut second = stuck(&drain, get("/second"));
    assert!(!second.is_woken());
    assert_eq!(drain.cancel(), 1);
    assert_eq!(drain.cancel(), 0);
    assert_eq!(drain.requests().len(), 2, "until their tasks have run");
    assert!(second.is_woken());
    assert_ready_ok!(second.poll());
}

#[test]
fn cancelled_requests_drain() {
    let drain = Drain::new();
    let mut response = stuck(&drain, get("/"));
    let mut body = streaming(&drain, get("/"), Poll::Pending);
    let mut wait = task::spawn(drain.drain(SECOND.saturating_mul(u32::MAX)));
    drain.cancel();
    assert_ready_ok!(response.poll());
    let _ = task::spawn(body.frame()).poll();
    drop(body);
    assert_ready_ok!(wait.poll());
}

/// Reads the list when it is woken, and when it is dropped, as the last owner of another tracked request would.
struct LooksWhenDropped(Drain);

impl Wake for LooksWhenDropped {
    fn wake(self: Arc<Self>) {
        self.0.requests();
    }
}

impl Drop for LooksWhenDropped {
    fn drop(&mut self) {
        self.0.requests();
    }
}

/// On a separate thread, because a failure is a deadlock.
#[test]
fn a_waker_may_run_anything_when_it_is_dropped() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let drain = Drain::new();
        let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
        let mut response = Box::pin(tracked(&drain, never).call(get("/")));
        let mut body = streaming(&drain, get("/"), Poll::Pending);
        for _ in 0..2 {
            // The previous waker is dropped when this one replaces it.
            let waker = Waker::from(Arc::new(LooksWhenDropped(drain.clone())));
            let cx = &mut Context::from_waker(&waker);
            assert!(response.as_mut().poll(cx).is_pending());
            assert!(Pin::new(&mut body).poll_frame(cx).is_pending());
        }
        drain.cancel();
        done.send(drain.requests().len()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(60 * SECOND), Ok(2));
}

/// Requests on several threads, and cancelling on others. Each request ends in one of the possible ways, and
/// none is left.
#[test]
fn cancelling_races_every_end() {
    const REQUESTS: usize = 2_000;
    let drain = Drain::new();
    let cancelled = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        let stop = StopOnDrop(&done);
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    cancelled.fetch_add(drain.cancel(), Ordering::SeqCst);
                    thread::yield_now();
                }
            });
        }
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                for request in drain.requests() {
                    assert_eq!(request.path(), "/storm");
                }
                thread::yield_now();
            }
        });
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let drain = &drain;
                scope.spawn(move || {
                    (0..REQUESTS)
                        .map(|nth| one_of_a_storm(drain, worker + nth))
                        .sum::<usize>()
                })
            })
            .collect();
        let ended: usize = workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum();
        drop(stop);
        ended
    });
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
    assert!(
        ended <= cancelled.load(Ordering::SeqCst),
        "ended without being cancelled"
    );
    drain.start_draining();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Stops the other threads, even if a worker panics.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a request that yields a few times and then answers with a few frames; some requests are given up on
/// the way. Returns 1 if the request was cancelled.
fn one_of_a_storm(drain: &Drain, nth: usize) -> usize {
    let inner = service_fn(|_: Request<Body>| async move {
        for _ in 0..nth % 4 {
            tokio::task::yield_now().await;
        }
        let frames = (0..nth % 5).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from("x"))));
        let frames = tokio_stream::iter(frames.collect::<Vec<_>>());
        Ok::<_, Infallible>(Response::new(StreamBody::new(frames)))
    });
    let cx = &mut Context::from_waker(Waker::noop());
    let mut response = Box::pin(tracked(drain, inner).call(get("/storm")));
    let response = loop {
        match response.as_mut().poll(cx) {
            Poll::Ready(response) => break response.unwrap(),
            Poll::Pending if nth % 7 == 0 => return 0,
            Poll::Pending => thread::yield_now(),
        }
    };
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        return 1;
    }
    let mut body = std::pin::pin!(response.into_body());
    let mut frames = 0;
    loop {
        match body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(_))) => frames += 1,
            Poll::Ready(Some(Err(error))) => {
                assert!(error.is::<Cancelled>(), "{error:?}");
                return 1;
            }
            Poll::Ready(None) => break,
            Poll::Pending => thread::yield_now(),
        }
        if nth % 11 == 0 {
            return 0;
        }
    }
    assert_eq!(frames, nth % 5, "a cut body looks complete");
    0
}

/// `drained` would wait forever for a request that was missed.
#[test]
fn cancelling_while_draining_misses_no_request_that_is_being_admitted() {
    let missed = (0..2_000).filter(|turn| {
        let drain = Drain::new();
        let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
        let service = tracked(&drain, never);
        let started = AtomicUsize::new(0);
        let meet = || {
            started.fetch_add(1, Ordering::AcqRel);
            spin_until(|| started.load(Ordering::Acquire) == 2);
        };
        let mut response = thread::scope(|scope| {
            scope.spawn(|| {
                meet();
                for _ in 0..turn % 64 {
                    std::hint::spin_loop();
                }
                drain.start_draining();
                drain.cancel();
            });
            let mut service = service.clone();
            meet();
            task::spawn(service.call(get("/")))
        });
        // Refused, or cancelled.
        response.poll().is_pending()
    });
    assert_eq!(missed.count(), 0);
}

#[test]
fn requests_that_come_after_a_final_cancel_are_cancelled_and_later_drains_are_not() {
    let drain = Drain::new();
    let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    let service = tracked(&drain, tower::limit::ConcurrencyLimit::new(never, 1));
    let cx = &mut Context::from_waker(Waker::noop());
    let mut first = service.clone();
    assert!(Service::<Request<Body>>::poll_ready(&mut first, cx).is_ready());
    let mut running = task::spawn(first.call(get("/first")));
    assert_pending!(running.poll());
    let mut second = service.clone();
    assert!(Service::<Request<Body>>::poll_ready(&mut second, cx).is_pending());
    drain.start_draining();
    assert_eq!(drain.cancel(), 1);
    drop(assert_ready_ok!(running.poll()));
    drop((running, first));
    // Its turn has come.
    assert!(Service::<Request<Body>>::poll_ready(&mut second, cx).is_ready());
    let mut cancelled = task::spawn(second.call(get("/second")));
    assert_eq!(drain.requests()[0].path(), "/second");
    let refusal = assert_ready_ok!(cancelled.poll());
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop((refusal, cancelled, second, service));
    assert_eq!(drain.phase(), Phase::Drained);
    drop(drain);
    // They may get its registry.
    let later = [(); 50].map(|()| Drain::new());
    for drain in &later {
        let mut response = stuck(drain, get("/"));
        assert_pending!(response.poll());
    }
}

#[test]
fn a_waker_that_panics_keeps_no_other_request_from_being_cancelled() {
    let drain = Drain::new();
    let mut responses: Vec<_> = (0..9).map(|_| stuck(&drain, get("/"))).collect();
    let mut first = responses.remove(0).into_inner();
    let waker = panicking_waker();
    let cx = &mut Context::from_waker(&waker);
    assert!(Pin::new(&mut first).poll(cx).is_pending());
    assert_eq!(drain.cancel(), 9);
    for response in &mut responses {
        assert!(response.is_woken());
        assert_ready_ok!(response.poll());
    }
}
