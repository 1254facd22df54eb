//! Refusals, and the headers of responses once the server is leaving.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, Service, service_fn};
use tower_drain::Drain;

use crate::support::{Body, Hello, ask, by_hand, get, get_over, hello, text};

#[tokio::test]
async fn a_refusal_is_an_empty_503_that_closes_the_connection() {
    let drain = Drain::new();
    drain.start_draining();
    for version in [Version::HTTP_10, Version::HTTP_11] {
        let response = ask(&drain.layer(), get_over(version)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONNECTION], "close");
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
    }
    assert_eq!((drain.refused(), drain.in_flight()), (2, 0));
}

#[tokio::test]
async fn on_http_2_and_3_a_refusal_carries_no_connection_header() {
    let drain = Drain::new();
    drain.start_draining();
    for version in [Version::HTTP_2, Version::HTTP_3] {
        let response = ask(&drain.layer(), get_over(version)).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(!response.headers().contains_key(CONNECTION));
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}

#[tokio::test]
async fn an_unsent_refusal_does_not_delay_the_drain() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    drain.start_draining();
    let refusal = ask(&drain.layer(), get("/")).await;
    assert_eq!(drain.in_flight(), 1);
    drop(permit);
    assert_eq!(drain.phase(), tower_drain::Phase::Drained);
    drop(refusal);
}

#[tokio::test]
async fn retry_after_is_whole_seconds_rounded_up() {
    let drain = Drain::new();
    drain.start_draining();
    for (after, says) in [
        (Duration::ZERO, "0"),
        (Duration::from_nanos(1), "1"),
        (Duration::from_secs(7), "7"),
        (Duration::from_millis(7001), "8"),
        (Duration::MAX, "4294967295"),
    ] {
        let response = ask(&drain.layer().retry_after(after), get("/")).await;
        assert_eq!(response.headers()[RETRY_AFTER], says);
    }
}

#[tokio::test]
async fn grpc_calls_are_refused_with_a_grpc_status() {
    let drain = Drain::new();
    drain.start_draining();
    for (version, content_type) in [
        (Version::HTTP_2, "application/grpc"),
        (Version::HTTP_2, "application/grpc+proto"),
        (Version::HTTP_11, "application/grpc-web-text"),
    ] {
        let request = Request::post("/").version(version);
        let request = request.header(CONTENT_TYPE, content_type);
        let request = request.body(Body::default()).unwrap();
        let response = ask(&drain.layer(), request).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "server is draining");
        assert_eq!(response.headers()[CONTENT_TYPE], content_type);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(response.body().is_end_stream(), "headers only");
        let closes = response.headers().contains_key(CONNECTION);
        assert_eq!(closes, version == Version::HTTP_11);
    }
}

#[tokio::test]
async fn a_request_with_a_grpc_type_that_is_no_call_gets_the_503() {
    let drain = Drain::new();
    drain.start_draining();
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        let mut request = get("/");
        *request.method_mut() = method;
        let value = "application/grpc".parse().unwrap();
        request.headers_mut().insert(CONTENT_TYPE, value);
        let response = ask(&drain.layer(), request).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        assert!(!response.headers().contains_key("grpc-status"));
    }
}

#[test]
fn a_refusal_whose_closure_panics_is_not_counted() {
    let drain = Drain::new();
    drain.start_draining();
    let layer = drain
        .layer()
        .refuse_with(|_: &Request<Body>| -> Response<Body> { panic!("in refuse_with") });
    let mut service = layer.layer(Hello);
    catch_unwind(AssertUnwindSafe(|| drop(service.call(get("/"))))).unwrap_err();
    assert_eq!((drain.refused(), drain.in_flight()), (0, 0));
}

#[tokio::test]
async fn a_refusal_keeps_the_other_connection_tokens_and_its_own_cache_control() {
    let drain = Drain::new();
    drain.start_draining();
    let layer = drain.layer().refuse_with(|_: &Request<Body>| {
        Response::builder()
            .header(CONNECTION, "x-hop, keep-alive")
            .header(CACHE_CONTROL, "max-age=1")
            .body(Body::default())
            .unwrap()
    });
    let response = ask(&layer, get("/")).await;
    assert_eq!(response.headers()[CONNECTION], "x-hop, close");
    assert_eq!(response.headers()[CACHE_CONTROL], "max-age=1");
}

#[tokio::test]
async fn refuse_with_makes_the_refusal_and_the_layer_adds_the_headers() {
    let drain = Drain::new();
    drain.start_draining();
    let layer = drain.layer().refuse_with(|request: &Request<Body>| {
        Response::builder()
            .status(StatusCode::IM_A_TEAPOT)
            .header(CONNECTION, "keep-alive")
            .header("path", request.uri().path())
            .body(Body::from("gone"))
            .unwrap()
    });
    let response = ask(&layer, get("/tea")).await;
    assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers()["path"], "/tea");
    assert_eq!(response.headers()[CONNECTION], "close");
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert_eq!(text(response.into_body()).await, "gone");
    let response = ask(&layer, get_over(Version::HTTP_2)).await;
    assert!(!response.headers().contains_key(CONNECTION));
    assert_eq!((drain.refused(), drain.in_flight()), (2, 0));
}

#[tokio::test]
async fn a_retry_after_of_its_own_stays() {
    let drain = Drain::new();
    drain.start_draining();
    let layer = drain.layer().refuse_with(|_: &Request<Body>| {
        let response = Response::builder().header(RETRY_AFTER, "99");
        response.body(Body::default()).unwrap()
    });
    assert_eq!(ask(&layer, get("/")).await.headers()[RETRY_AFTER], "99");
}

#[tokio::test]
async fn exempt_requests_are_neither_counted_nor_refused() {
    let drain = Drain::new();
    let layer = drain
        .layer()
        .exempt(|request: &Request<Body>| request.uri().path() == "/metrics");
    let response = ask(&layer, get("/metrics")).await;
    assert_eq!(drain.in_flight(), 0);
    drop(response);
    drain.start_draining();
    let response = ask(&layer, get("/metrics")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CONNECTION], "close");
    assert_eq!(drain.refused(), 0);
    assert_eq!(
        ask(&layer, get("/")).await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn heads_are_untouched_while_serving_and_close_from_the_lame_duck_on() {
    let drain = Drain::new();
    let layer = drain.layer();
    let head = ask(&layer, get("/")).await;
    assert!(head.headers().is_empty());
    drain.lame_duck();
    assert_eq!(ask(&layer, get("/")).await.headers()[CONNECTION], "close");
    let http2 = ask(&layer, get_over(Version::HTTP_2)).await;
    assert!(http2.headers().is_empty());
    drain.resume();
    assert!(ask(&layer, get("/")).await.headers().is_empty());
}

#[test]
fn a_response_made_in_the_lame_duck_closes_even_if_its_request_came_before() {
    type Step = fn(&Drain) -> bool;
    for step in [Drain::lame_duck as Step, Drain::start_draining as Step] {
        let drain = Drain::new();
        let (inner, answer) = by_hand();
        let mut service = drain.layer().layer(inner);
        let mut response = task::spawn(service.call(get("/")));
        assert_pending!(response.poll());
        step(&drain);
        answer.send(Ok(hello())).unwrap();
        let head = assert_ready_ok!(response.poll());
        assert_eq!(head.headers()[CONNECTION], "close");
    }
}

#[tokio::test]
async fn a_handler_that_begins_the_lame_duck_closes_its_own_connection_if_it_is_polled_again() {
    let drain = Drain::new();
    let duck = drain.clone();
    let inner = service_fn(move |_: Request<Body>| {
        let duck = duck.clone();
        async move {
            duck.lame_duck();
            // The phase is read before each poll.
            tokio::task::yield_now().await;
            Ok::<_, ()>(hello())
        }
    });
    let response = drain.layer().layer(inner).call(get("/")).await.unwrap();
    assert_eq!(response.headers()[CONNECTION], "close");
}

#[tokio::test]
async fn an_upgrade_keeps_its_own_connection_header() {
    let drain = Drain::new();
    drain.lame_duck();
    let inner = service_fn(|_: Request<Body>| async {
        let response = Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "upgrade")
            .header(UPGRADE, "websocket");
        Ok::<_, ()>(response.body(Body::default()).unwrap())
    });
    let response = drain.layer().layer(inner).call(get("/")).await.unwrap();
    assert_eq!(response.headers()[CONNECTION], "upgrade");
}

/// Returns the `Connection` header of a response with these headers, in a lame duck.
async fn leaving(
    request: Request<Body>,
    status: StatusCode,
    connection: &'static str,
) -> Option<String> {
    let drain = Drain::new();
    drain.lame_duck();
    let inner = service_fn(move |_: Request<Body>| async move {
        let mut response = Response::builder().status(status);
        if !connection.is_empty() {
            response = response.header(CONNECTION, connection);
        }
        Ok::<_, ()>(response.body(Body::default()).unwrap())
    });
    let response = drain.layer().layer(inner).call(request).await.unwrap();
    let connection = response.headers().get(CONNECTION);
    connection.map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn close_is_added_to_the_other_tokens() {
    let ok = StatusCode::OK;
    for (before, after) in [
        ("", "close"),
        ("keep-alive", "close"),
        ("close", "close"),
        ("upgrade, x-hop", "upgrade, x-hop, close"),
        ("Keep-Alive, x-hop", "x-hop, close"),
    ] {
        assert_eq!(leaving(get("/"), ok, before).await.unwrap(), after);
    }
    let http2 = leaving(get_over(Version::HTTP_2), ok, "x-hop").await;
    assert_eq!(http2.unwrap(), "x-hop", "untouched");
}

#[tokio::test]
async fn a_tunnel_is_not_closed_and_another_response_to_connect_is() {
    let connect = || {
        let request = Request::connect("example.com:443");
        request.body(Body::default()).unwrap()
    };
    for status in [StatusCode::OK, StatusCode::NO_CONTENT] {
        assert_eq!(leaving(connect(), status, "").await, None);
        assert_eq!(leaving(get("/"), status, "").await.unwrap(), "close");
    }
    for status in [StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY] {
        assert_eq!(leaving(connect(), status, "").await.unwrap(), "close");
    }
}

#[tokio::test]
async fn the_closures_arguments_need_no_types() {
    let drain = Drain::new();
    let layer = drain
        .layer()
        .exempt(|request| request.uri().path() == "/metrics")
        .refuse_with(|_| Response::new(Body::from("gone")));
    assert_eq!(ask(&layer, get("/metrics")).await.status(), StatusCode::OK);
}
