//! Requests by name, and how they are cancelled: each stage, each way to end.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use tokio::time::advance;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower::{Layer, Service, service_fn};
use tower_drain::{
    BodyError, Cancelled, Drain, DrainService, InFlightRequest, Permit, Phase, ResponseBody, Stage,
};

use crate::support::{Body, Hello, by_hand, get, hello};

const SECOND: Duration = Duration::from_secs(1);

/// A body whose frames never end, there or not as it is made.
struct Endless(Poll<()>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        self.0
            .map(|()| Some(Ok(Frame::data(Bytes::from_static(b"tick")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

fn tracked<S>(drain: &Drain, inner: S) -> DrainService<S> {
    drain.layer().track_requests().layer(inner)
}

/// A request whose handler never answers, polled once.
fn stuck(
    drain: &Drain,
    request: Request<Body>,
) -> Spawn<impl Future<Output = Result<Response<ResponseBody<Body>>, Infallible>>> {
    let mut service = tracked(
        drain,
        service_fn(|_| pending::<Result<Response<Body>, Infallible>>()),
    );
    let mut response = task::spawn(service.call(request));
    assert_pending!(response.poll());
    response
}

/// A response whose body never ends.
fn streaming(drain: &Drain, request: Request<Body>, more: Poll<()>) -> ResponseBody<Endless> {
    let inner =
        service_fn(async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Endless(more))));
    let mut response = task::spawn(tracked(drain, inner).call(request));
    assert_ready_ok!(response.poll()).into_body()
}

fn grpc(content_type: &str) -> Request<Body> {
    let request = Request::post("/greeter/Greet").header(CONTENT_TYPE, content_type);
    let request = request.version(Version::HTTP_2);
    request.body(Body::default()).unwrap()
}

fn names(drain: &Drain) -> Vec<String> {
    let requests = drain.requests();
    requests.iter().map(InFlightRequest::to_string).collect()
}

#[test]
fn without_tracking_there_are_no_names_and_nothing_to_cancel() {
    let drain = Drain::new();
    let mut service = drain.layer().layer(Hello);
    let _response = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(drain.in_flight(), 1);
    assert_eq!((drain.requests().len(), drain.cancel()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn requests_are_named_oldest_first() {
    let drain = Drain::new();
    let _slow = stuck(&drain, get("/slow?token=secret"));
    advance(SECOND).await;
    let order = Request::post("/orders").body(Body::default()).unwrap();
    let _streaming = streaming(&drain, order, Poll::Pending);
    advance(2 * SECOND).await;
    let [slow, order] = &drain.requests()[..] else {
        panic!("{:?}", drain.requests());
    };
    assert_eq!((slow.method(), slow.path()), (&Method::GET, "/slow"));
    assert_eq!((slow.age(), slow.stage()), (3 * SECOND, Stage::Handler));
    assert_eq!((order.method(), order.path()), (&Method::POST, "/orders"));
    assert_eq!((order.age(), order.stage()), (2 * SECOND, Stage::Body));
    assert_eq!(
        names(&drain),
        ["GET /slow (handler, 3.0s)", "POST /orders (body, 2.0s)"]
    );
}

#[test]
fn a_long_path_is_cut() {
    let drain = Drain::new();
    let path = format!("/{}", "x".repeat(1_000));
    let _response = stuck(&drain, get(&path));
    assert_eq!(drain.requests()[0].path(), &path[..128]);
}

#[test]
fn each_drain_has_its_own() {
    let (one, other) = (Drain::new(), Drain::new());
    let mut response = stuck(&one, get("/one"));
    let _other = stuck(&other, get("/other"));
    assert_eq!(names(&one).len(), 1);
    assert_eq!(one.requests()[0].path(), "/one");
    assert_eq!(other.cancel(), 1);
    assert!(!response.is_woken());
    assert_pending!(response.poll());
}

#[test]
fn neither_exempt_nor_refused_requests_are_tracked() {
    let drain = Drain::new();
    let layer = drain.layer().track_requests();
    let layer = layer.exempt(|request: &Request<Body>| request.uri().path() == "/health");
    let mut service = layer.layer(Hello);
    let _exempt = service.call(get("/health"));
    drain.start();
    let _refused = service.call(get("/"));
    assert_eq!((drain.requests().len(), drain.cancel()), (0, 0));
}

// Every way to leave the list.

#[test]
fn struck_out_when_the_body_is_dropped_and_not_before() {
    let drain = Drain::new();
    let mut service = tracked(&drain, Hello);
    let response = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(drain.requests()[0].stage(), Stage::Body);
    drop(response);
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
}

#[test]
fn struck_out_when_the_client_goes_away() {
    let drain = Drain::new();
    let response = stuck(&drain, get("/"));
    assert_eq!(drain.requests().len(), 1);
    drop(response);
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
}

#[test]
fn struck_out_on_an_error_and_on_panics() {
    let drain = Drain::new();
    let (inner, answer) = by_hand();
    let mut response = task::spawn(tracked(&drain, inner).call(get("/")));
    answer.send(Err("broken")).unwrap();
    assert_ready_err!(response.poll());
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));

    type Never = std::future::Ready<Result<Response<Body>, Infallible>>;
    let in_call = service_fn(|_: Request<Body>| -> Never { panic!("in call") });
    let mut service = tracked(&drain, in_call);
    catch_unwind(AssertUnwindSafe(|| drop(service.call(get("/"))))).unwrap_err();
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));

    let in_poll = service_fn(|_: Request<Body>| {
        poll_fn(|_| -> Poll<Result<Response<Body>, Infallible>> { panic!("in poll") })
    });
    let mut response = task::spawn(tracked(&drain, in_poll).call(get("/")));
    catch_unwind(AssertUnwindSafe(|| drop(response.poll()))).unwrap_err();
    drop(response);
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
}

#[test]
fn an_upgrade_leaves_the_list_and_its_permit_the_count_later() {
    let drain = Drain::new();
    let mut kept = None;
    let inner = service_fn(|mut request: Request<Body>| {
        kept = request.extensions_mut().remove::<Permit>();
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        std::future::ready(response.body(Body::default()))
    });
    let mut service = drain.layer().track_requests().share_permit().layer(inner);
    let response = assert_ready_ok!(task::spawn(service.call(get("/socket"))).poll());
    // As hyper does.
    drop((response, service));
    assert_eq!((drain.requests().len(), drain.cancel()), (0, 0));
    assert_eq!(drain.in_flight(), 1);
    drop(kept.expect("a permit in the extensions"));
    assert_eq!(drain.in_flight(), 0);
}

// Cancelled handlers.

#[test]
fn a_cancelled_handler_is_dropped_and_its_client_refused() {
    let drain = Drain::new();
    let mut response = stuck(&drain, get("/"));
    assert_eq!(drain.cancel(), 1);
    assert!(response.is_woken());
    assert_eq!(drain.in_flight(), 1, "until its task has run");
    let refusal = assert_ready_ok!(response.poll());
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refusal.headers()[CONNECTION], "close");
    assert_eq!(refusal.headers()[RETRY_AFTER], "1");
    assert!(refusal.body().is_end_stream());
    assert_pending!(response.poll(), "done, and polled again");
}

#[test]
fn the_refusal_is_in_the_words_of_the_protocol() {
    let drain = Drain::new();
    let mut request = get("/");
    *request.version_mut() = Version::HTTP_2;
    let mut http2 = stuck(&drain, request);
    let mut grpc = stuck(&drain, grpc("application/grpc+proto"));
    assert_eq!(drain.cancel(), 2);
    let http2 = assert_ready_ok!(http2.poll());
    assert_eq!(http2.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!http2.headers().contains_key(CONNECTION));
    let grpc = assert_ready_ok!(grpc.poll());
    assert_eq!(grpc.status(), StatusCode::OK);
    assert_eq!(grpc.headers()["grpc-status"], "14");
    assert_eq!(grpc.headers()[CONTENT_TYPE], "application/grpc+proto");
    assert!(grpc.body().is_end_stream());
}

#[test]
fn the_layers_retry_after_is_kept() {
    let drain = Drain::new();
    let layer = drain.layer().track_requests().retry_after(9 * SECOND);
    let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    let mut response = task::spawn(layer.layer(never).call(get("/")));
    assert_pending!(response.poll());
    drain.cancel();
    let refusal = assert_ready_ok!(response.poll());
    assert_eq!(refusal.headers()[RETRY_AFTER], "9");
}

#[test]
fn a_handler_that_answers_after_it_was_cancelled_is_refused_and_not_cut() {
    let drain = Drain::new();
    let (inner, answer) = by_hand();
    let mut response = task::spawn(tracked(&drain, inner).call(get("/")));
    assert_pending!(response.poll());
    drain.cancel();
    answer.send(Ok(hello())).unwrap();
    let refusal = assert_ready_ok!(response.poll());
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(drain.in_flight(), 0);
}

#[test]
fn a_handler_that_was_never_polled_is_cancelled_too() {
    let drain = Drain::new();
    let mut response = task::spawn(tracked(&drain, Hello).call(get("/")));
    assert_eq!(drain.cancel(), 1);
    let refusal = assert_ready_ok!(response.poll());
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn an_error_of_the_handler_passes_though_it_was_cancelled() {
    let drain = Drain::new();
    let (inner, answer) = by_hand();
    let mut response = task::spawn(tracked(&drain, inner).call(get("/")));
    drain.cancel();
    answer.send(Err("broken")).unwrap();
    assert_eq!(assert_ready_err!(response.poll()), "broken");
}

/// Panics when dropped, as a handler's guard may.
struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

#[test]
fn a_handler_that_panics_when_dropped_is_released_once() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<Body>| {
        let guard = PanicsWhenDropped;
        poll_fn(move |_| {
            let _kept = &guard;
            Poll::<Result<Response<Body>, Infallible>>::Pending
        })
    });
    let mut response = task::spawn(tracked(&drain, inner).call(get("/")));
    assert_pending!(response.poll());
    assert_eq!(drain.cancel(), 1);
    catch_unwind(AssertUnwindSafe(|| drop(response.poll()))).unwrap_err();
    drop(response);
    drain.start();
    assert_eq!((drain.requests().len(), drain.phase()), (0, Phase::Drained));
}

// Cancelled bodies.

#[test]
fn a_cancelled_body_ends_with_an_error() {
    for more in [Poll::Pending, Poll::Ready(())] {
        let drain = Drain::new();
        let mut body = streaming(&drain, get("/"), more);
        let mut frame = task::spawn(body.frame());
        assert_eq!(frame.poll().is_pending(), more.is_pending());
        assert_eq!(drain.cancel(), 1);
        assert!(frame.is_woken() || more.is_ready());
        drop(frame);
        assert!(!body.is_end_stream());
        let Poll::Ready(Some(Err(error))) = task::spawn(body.frame()).poll() else {
            panic!("it does not end");
        };
        assert!(matches!(error, BodyError::Cancelled(_)), "{error:?}");
        let words = "the request was cancelled: the server is shutting down";
        assert_eq!(error.to_string(), words);
        let inner = BodyError::Inner("broken");
        assert_eq!(inner.to_string(), "broken");
        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
        assert!(error.is::<Cancelled>());
        assert!(matches!(
            task::spawn(body.frame()).poll(),
            Poll::Ready(None)
        ));
        assert_eq!(drain.in_flight(), 1, "until it is dropped");
        drop(body);
        assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
    }
}

#[test]
fn a_grpc_body_ends_with_its_status() {
    let drain = Drain::new();
    let mut body = streaming(&drain, grpc("application/grpc"), Poll::Pending);
    drain.cancel();
    let Poll::Ready(Some(Ok(frame))) = task::spawn(body.frame()).poll() else {
        panic!("no frame");
    };
    let trailers = frame.into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    assert!(matches!(
        task::spawn(body.frame()).poll(),
        Poll::Ready(None)
    ));
}

#[test]
fn a_grpc_web_body_cannot_and_ends_with_an_error() {
    for kind in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let drain = Drain::new();
        let mut body = streaming(&drain, grpc(kind), Poll::Pending);
        drain.cancel();
        let polled = task::spawn(body.frame()).poll();
        assert!(matches!(polled, Poll::Ready(Some(Err(_)))));
    }
}

#[tokio::test]
async fn a_body_that_has_ended_is_not_cut() {
    let drain = Drain::new();
    let empty = service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(http_body_util::Empty::<Bytes>::new()))
    });
    let response = tracked(&drain, empty).call(get("/")).await.unwrap();
    drain.cancel();
    assert!(response.body().is_end_stream());
}

#[test]
fn a_body_cancelled_while_it_is_polled_ends_in_that_poll() {
    let drain = Drain::new();
    let cancels = drain.clone();
    let inner = service_fn(move |_: Request<Body>| {
        let cancels = cancels.clone();
        let body = StreamBody::new(stream::poll_fn(move |_| {
            cancels.cancel();
            Poll::<Option<Result<Frame<Bytes>, Infallible>>>::Pending
        }));
        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
    });
    let response = assert_ready_ok!(task::spawn(tracked(&drain, inner).call(get("/"))).poll());
    let mut body = Box::pin(response.into_body());
    let polled = task::spawn(body.frame()).poll();
    assert!(matches!(
        polled,
        Poll::Ready(Some(Err(BodyError::Cancelled(_))))
    ));
}

// Who cancels, and when.

#[test]
fn each_is_cancelled_once_and_later_ones_are_not() {
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

/// Looks at the list when it is dropped, as the last owner of another tracked request would.
struct LooksWhenDropped(Drain);

impl Wake for LooksWhenDropped {
    fn wake(self: Arc<Self>) {}
}

impl Drop for LooksWhenDropped {
    fn drop(&mut self) {
        self.0.requests();
    }
}

/// On a thread of its own, for if it does not hold it never ends.
#[test]
fn a_waker_may_run_anything_when_it_is_dropped() {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        let drain = Drain::new();
        let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
        let mut response = Box::pin(tracked(&drain, never).call(get("/")));
        let mut body = streaming(&drain, get("/"), Poll::Pending);
        for _ in 0..2 {
            // The one before is dropped when this one takes its place.
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

/// Requests on several threads, and cancelling on others, as fast as they can: each request ends, in
/// one of the ways there are, and nothing is left behind.
#[test]
fn cancelling_races_every_end() {
    const REQUESTS: usize = 2_000;
    let drain = Drain::new();
    let cancelled = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
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
        let ended: usize = workers.into_iter().map(|it| it.join().unwrap()).sum();
        done.store(true, Ordering::SeqCst);
        ended
    });
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
    assert!(ended <= cancelled.load(Ordering::SeqCst), "ended by nobody");
    drain.start();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Yields to a few polls, and then answers with a body that has as many frames; given up on the way,
/// now and then. Returns 1 if it was cancelled.
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
            Poll::Ready(Some(Err(BodyError::Cancelled(_)))) => return 1,
            Poll::Ready(Some(Err(error))) => panic!("{error:?}"),
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

// What errors and snapshots say.

#[tokio::test(start_paused = true)]
async fn a_timeout_names_the_oldest_and_counts_the_rest() {
    let drain = Drain::new();
    let _job = drain.try_enter().unwrap();
    let mut stuck_ones = Vec::new();
    for nth in 0..7 {
        stuck_ones.push(stuck(&drain, get(&format!("/{nth}?secret"))));
        advance(SECOND).await;
    }
    let timed_out = drain.drain(SECOND).await.unwrap_err();
    assert_eq!(
        timed_out.to_string(),
        "drain timed out after 1.0s: 8 still in flight: \
         GET /0 (handler, 8.0s), GET /1 (handler, 7.0s), GET /2 (handler, 6.0s), \
         GET /3 (handler, 5.0s), GET /4 (handler, 4.0s) and 3 more"
    );
    let debug = format!("{timed_out:?}");
    assert!(debug.contains("GET /4"), "{debug}");
    assert!(!debug.contains("GET /5"), "as bounded: {debug}");
    assert_eq!(timed_out.requests().len(), 7);
    assert_eq!(timed_out.requests()[6].path(), "/6");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_one_names_it() {
    let drain = Drain::new();
    let _stuck = stuck(&drain, get("/slow"));
    let timed_out = drain.drain(SECOND).await.unwrap_err();
    assert_eq!(
        timed_out.to_string(),
        "drain timed out after 1.0s: 1 still in flight: GET /slow (handler, 1.0s)"
    );
}

/// More than there is room for at first, and in another order than that of their ages: those who come
/// take the places of those who have left.
#[tokio::test(start_paused = true)]
async fn many_are_listed_by_age_whatever_their_places() {
    let drain = Drain::new();
    let mut all = Vec::new();
    for nth in 0..200 {
        all.push(stuck(&drain, get(&format!("/{nth}"))));
        advance(SECOND).await;
    }
    all.drain(..100);
    for nth in 200..300 {
        all.push(stuck(&drain, get(&format!("/{nth}"))));
        advance(SECOND).await;
    }
    let requests = drain.requests();
    let paths: Vec<_> = requests.iter().map(InFlightRequest::path).collect();
    let expected: Vec<_> = (100..300).map(|nth| format!("/{nth}")).collect();
    assert_eq!(paths, expected);
    assert_eq!(drain.status().oldest(), &requests[..20]);
    assert_eq!(drain.cancel(), 200);
    drop(all);
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_status_is_how_it_stands() {
    let drain = Drain::new();
    let status = drain.status();
    assert_eq!((status.phase(), status.in_flight()), (Phase::Serving, 0));
    assert_eq!(status.refused(), 0);
    assert_eq!((status.time_left(), status.oldest().len()), (None, 0));

    let _stuck: Vec<_> = (0..25)
        .map(|nth| stuck(&drain, get(&format!("/{nth}"))))
        .collect();
    let _short = drain.drain(5 * SECOND);
    let _long = drain.drain(9 * SECOND);
    let _endless = drain.drain(Duration::MAX);
    drain.try_enter().unwrap_err();
    advance(SECOND).await;
    let status = drain.status();
    assert_eq!((status.phase(), status.in_flight()), (Phase::Draining, 25));
    assert_eq!(status.refused(), 1);
    assert_eq!(status.time_left(), Some(8 * SECOND));
    assert_eq!(status.oldest().len(), 20);
    assert_eq!(status.oldest(), &drain.requests()[..20]);
}
