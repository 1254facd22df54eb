//! The list of requests: which are in it, and how they are shown.

use super::*;

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
    assert_eq!((slow.method(), slow.path()), ("GET", "/slow"));
    assert_eq!(
        (slow.age(), slow.stage()),
        (3 * SECOND, RequestStage::Handler)
    );
    assert_eq!((order.method(), order.path()), ("POST", "/orders"));
    assert_eq!(
        (order.age(), order.stage()),
        (2 * SECOND, RequestStage::Body)
    );
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
fn a_long_method_is_cut() {
    let drain = Drain::new();
    let mut request = get("/");
    let method = "M".repeat(300_000);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    let _response = stuck(&drain, request);
    assert_eq!(drain.requests()[0].method(), &method[..20]);
    let unfinished = match task::spawn(drain.drain(Duration::ZERO)).poll() {
        Poll::Ready(Err(unfinished)) => unfinished,
        other => panic!("{other:?}"),
    };
    for shown in [
        format!("{unfinished}"),
        format!("{unfinished:?}"),
        format!("{drain:?}"),
    ] {
        assert!(shown.len() < 300, "{} bytes", shown.len());
    }
}

#[tokio::test(start_paused = true)]
async fn unprintable_characters_are_escaped_when_shown() {
    let drain = Drain::new();
    // C1, bidi, zero width, line separator; `http` lets them through, as hyper does.
    let path = "/a\u{9b}31m\u{202e}\u{200b}\u{2028}b'c";
    let _response = stuck(&drain, get(path));
    let request = &drain.requests()[0];
    assert_eq!(request.path(), path, "as it was sent");
    let unfinished = match task::spawn(drain.drain(Duration::ZERO)).poll() {
        Poll::Ready(Err(unfinished)) => unfinished,
        other => panic!("{other:?}"),
    };
    for shown in [
        format!("{request}"),
        format!("{request:?}"),
        format!("{unfinished}"),
        format!("{unfinished:?}"),
    ] {
        assert!(shown.is_ascii(), "{shown}");
        assert!(shown.contains(r"\u{202e}\u{200b}\u{2028}b'c"), "{shown}");
    }
}

#[test]
fn a_connect_is_named_by_its_authority() {
    let drain = Drain::new();
    let connect = |uri: &str| Request::connect(uri).body(Body::default()).unwrap();
    let _plain = stuck(&drain, connect("example.com:443"));
    assert_eq!(drain.requests()[0].path(), "example.com:443");
    let drain = Drain::new();
    let _secret = stuck(&drain, connect("user:pass@word@example.com:443"));
    assert_eq!(drain.requests()[0].path(), "example.com:443");
    assert_eq!(drain.requests()[0].method(), "CONNECT");
}

#[test]
fn each_drain_has_its_own_list() {
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
    drain.start_draining();
    let _refused = service.call(get("/"));
    assert_eq!((drain.requests().len(), drain.cancel()), (0, 0));
}

// Each way to leave the list.

#[test]
fn removed_when_the_body_is_dropped_and_not_before() {
    let drain = Drain::new();
    let mut service = tracked(&drain, Hello);
    let response = assert_ready_ok!(task::spawn(service.call(get("/"))).poll());
    assert_eq!(drain.requests()[0].stage(), RequestStage::Body);
    drop(response);
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
}

#[test]
fn removed_when_the_client_goes_away() {
    let drain = Drain::new();
    let response = stuck(&drain, get("/"));
    assert_eq!(drain.requests().len(), 1);
    drop(response);
    assert_eq!((drain.requests().len(), drain.in_flight()), (0, 0));
}

#[test]
fn removed_on_an_error_and_on_panics() {
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
fn an_upgrade_leaves_the_list_before_its_permit_is_released() {
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

// Errors and snapshots.

#[tokio::test(start_paused = true)]
async fn a_timeout_names_the_oldest_and_counts_the_rest() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let mut stuck_ones = Vec::new();
    for nth in 0..7 {
        stuck_ones.push(stuck(&drain, get(&format!("/{nth}?secret"))));
        advance(SECOND).await;
    }
    let unfinished = drain.drain(SECOND).await.unwrap_err();
    assert_eq!(
        unfinished.to_string(),
        "8 still in flight after 1.0s: \
         GET /0 (handler, 8.0s), GET /1 (handler, 7.0s), GET /2 (handler, 6.0s), \
         GET /3 (handler, 5.0s), GET /4 (handler, 4.0s) and 3 more"
    );
    let debug = format!("{unfinished:?}");
    assert!(debug.contains("GET /4"), "{debug}");
    assert!(!debug.contains("GET /5"), "as bounded: {debug}");
    assert_eq!(unfinished.requests().len(), 7);
    assert_eq!(unfinished.requests()[6].path(), "/6");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_with_one_request_names_it() {
    let drain = Drain::new();
    let _stuck = stuck(&drain, get("/slow"));
    let unfinished = drain.drain(SECOND).await.unwrap_err();
    assert_eq!(
        unfinished.to_string(),
        "1 still in flight after 1.0s: GET /slow (handler, 1.0s)"
    );
}

/// More requests than fit into the first chunk, and not in the order of their ages: new requests take the
/// slots of those that have ended.
#[tokio::test(start_paused = true)]
async fn many_are_listed_by_age() {
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
async fn a_status_is_a_snapshot() {
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
    drain.try_acquire().unwrap_err();
    advance(SECOND).await;
    let status = drain.status();
    assert_eq!((status.phase(), status.in_flight()), (Phase::Draining, 25));
    assert_eq!(status.refused(), 1);
    assert_eq!(status.time_left(), Some(8 * SECOND));
    assert_eq!(status.oldest().len(), 20);
    assert_eq!(status.oldest(), &drain.requests()[..20]);
}

#[tokio::test(start_paused = true)]
async fn an_error_says_if_no_remaining_request_is_tracked() {
    let drain = Drain::new();
    let _service = drain.layer().track_requests().layer(Hello);
    let _job = drain.try_acquire().unwrap();
    let unfinished = drain.drain(SECOND).await.unwrap_err();
    assert_eq!(
        unfinished.to_string(),
        "1 still in flight after 1.0s, none of them a tracked request"
    );
}

/// The layer inside of `nest` sees paths without the prefix.
#[tokio::test]
async fn the_outermost_router_knows_the_whole_path() {
    let drain = Drain::new();
    let routes = || axum::Router::new().route("/b", axum::routing::get(pending::<()>));
    let layer = drain.layer().track_requests();
    let inside = axum::Router::new().nest("/a", routes().layer(layer.clone()));
    let outside = axum::Router::new().nest("/a", routes()).layer(layer);
    for (mut router, path) in [(inside, "/b"), (outside, "/a/b")] {
        let mut response = task::spawn(router.call(get("/a/b")));
        assert_pending!(response.poll());
        assert_eq!(drain.requests()[0].path(), path);
    }
}
