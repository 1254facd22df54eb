//! Cancelling in each stage.

use super::*;

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
    assert_eq!(refusal.headers()["cache-control"], "no-store");
    assert!(refusal.body().is_end_stream());
    assert_pending!(response.poll(), "done, and polled again");
}

#[test]
fn the_refusal_is_in_the_clients_protocol() {
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

/// Its work is done, so the client should not be invited to try again.
#[tokio::test]
async fn a_handler_that_responds_when_it_is_cancelled_is_served() {
    let drain = Drain::new();
    let (inner, answer) = by_hand();
    let mut response = task::spawn(tracked(&drain, inner).call(get("/")));
    assert_pending!(response.poll());
    assert_eq!(drain.cancel(), 1);
    answer.send(Ok(hello())).unwrap();
    let served = assert_ready_ok!(response.poll());
    assert_eq!(served.status(), StatusCode::OK);
    // A body of one frame is complete with it.
    assert_eq!(text(served.into_body()).await, "hello");
    assert_eq!(drain.in_flight(), 0);
}

/// Only its head is sent. Its body ends like one that was being sent.
#[test]
fn a_stream_that_begins_when_it_is_cancelled_ends_with_an_error() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<Body>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(Endless(Poll::Pending))))
    });
    let mut response = task::spawn(tracked(&drain, inner).call(get("/")));
    drain.cancel();
    let mut body = task::spawn(assert_ready_ok!(response.poll()).into_body());
    assert_pending!(body.enter(|cx, body| body.poll_frame(cx)));
    let frame = assert_ready!(body.enter(|cx, body| body.poll_frame(cx)));
    assert!(frame.unwrap().unwrap_err().is::<Cancelled>());
}

#[test]
fn a_handler_that_was_never_polled_is_cancelled_too() {
    let drain = Drain::new();
    let never = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    let mut response = task::spawn(tracked(&drain, never).call(get("/")));
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

/// Panics when it is dropped, as a guard in a handler may.
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
    drain.start_draining();
    assert_eq!((drain.requests().len(), drain.phase()), (0, Phase::Drained));
}

// Cancelled bodies.

#[test]
fn a_cancelled_body_is_pending_once_and_ends_with_an_error() {
    for more in [Poll::Pending, Poll::Ready(())] {
        let drain = Drain::new();
        let mut body = streaming(&drain, get("/"), more);
        let mut frame = task::spawn(body.frame());
        assert_eq!(frame.poll().is_pending(), more.is_pending());
        assert_eq!(drain.cancel(), 1);
        assert!(frame.is_woken() || more.is_ready());
        drop(frame);
        assert!(!body.is_end_stream());
        // The head of the response is flushed while the body is pending.
        let mut frame = task::spawn(body.frame());
        assert_pending!(frame.poll());
        assert!(frame.is_woken());
        let Poll::Ready(Some(Err(error))) = frame.poll() else {
            panic!("it does not end");
        };
        assert!(error.is::<Cancelled>());
        let words = "the request was cancelled: the server is shutting down";
        assert_eq!(error.to_string(), words);
        drop(frame);
        assert!(matches!(
            task::spawn(body.frame()).poll(),
            Poll::Ready(None)
        ));
        assert_eq!(drain.in_flight(), 1, "until it is dropped");
        drop(body);
        assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
    }
}

/// Returns a body that is cancelled before its first poll, which then returns this frame.
fn cancelled_with<B>(body: B) -> ResponseBody<B>
where
    B: http_body::Body + Send + 'static,
{
    let drain = Drain::new();
    let mut body = Some(body);
    let inner = service_fn(move |_: Request<Body>| {
        std::future::ready(Ok::<_, Infallible>(Response::new(body.take().unwrap())))
    });
    let response = assert_ready_ok!(task::spawn(tracked(&drain, inner).call(get("/"))).poll());
    assert_eq!(drain.cancel(), 1);
    response.into_body()
}

#[test]
fn a_frame_that_completes_a_cancelled_body_passes() {
    let mut body = cancelled_with(Body::from("all of it"));
    let Poll::Ready(Some(Ok(frame))) = task::spawn(body.frame()).poll() else {
        panic!("no frame");
    };
    assert_eq!(frame.into_data().unwrap(), "all of it");
    assert!(body.is_end_stream());

    let trailers = Frame::<Bytes>::trailers(http::HeaderMap::new());
    let frames = stream::iter([Ok::<_, Infallible>(trailers)]);
    let mut body = cancelled_with(StreamBody::new(frames));
    let Poll::Ready(Some(Ok(frame))) = task::spawn(body.frame()).poll() else {
        panic!("no frame");
    };
    assert!(frame.is_trailers());

    let frames = stream::iter([] as [Result<Frame<Bytes>, Infallible>; 0]);
    let mut body = cancelled_with(StreamBody::new(frames));
    assert!(matches!(
        task::spawn(body.frame()).poll(),
        Poll::Ready(None)
    ));
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

/// hyper would drop the trailers and send the last chunk, and the body would look complete.
#[test]
fn a_grpc_body_on_http_1_ends_with_an_error() {
    let drain = Drain::new();
    let mut request = grpc("application/grpc");
    *request.version_mut() = Version::HTTP_11;
    let mut body = streaming(&drain, request, Poll::Pending);
    drain.cancel();
    let mut frame = task::spawn(body.frame());
    assert_pending!(frame.poll());
    assert!(matches!(frame.poll(), Poll::Ready(Some(Err(_)))));
}

#[test]
fn a_grpc_web_body_ends_with_an_error() {
    for kind in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let drain = Drain::new();
        let mut body = streaming(&drain, grpc(kind), Poll::Pending);
        drain.cancel();
        let mut frame = task::spawn(body.frame());
        assert_pending!(frame.poll());
        assert!(matches!(frame.poll(), Poll::Ready(Some(Err(_)))));
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
fn a_body_that_is_cancelled_while_it_is_polled_is_woken() {
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
    let mut frame = task::spawn(body.frame());
    assert_pending!(frame.poll());
    assert!(frame.is_woken());
    assert!(matches!(frame.poll(), Poll::Ready(Some(Err(_)))));
}
