//! Which responses are ended.

use super::*;

#[tokio::test]
async fn each_response_is_asked_about_once() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let drain = Drain::new();
    let stream = Stream::default();
    let layer: DrainLayer<_, NeverExempt> = drain.layer().end_streams(|_, _, _| {
        ASKED.fetch_add(1, Ordering::Relaxed);
        true
    });
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    stream.send("one");
    assert_data(&mut body, "one");
    assert_pending!(next(&mut body));
    assert_eq!(ASKED.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_method_and_the_uri_of_the_request_are_seen() {
    static SEEN: Mutex<Vec<(Method, Uri)>> = Mutex::new(Vec::new());
    let drain = Drain::new();
    let layer = drain.layer().end_streams(|method, uri, head| {
        assert_eq!(head.headers[CONTENT_TYPE], EVENTS);
        SEEN.lock().unwrap().push((method.clone(), uri.clone()));
        method == Method::PUT && uri.path() == "/a"
    });
    let purge = Method::from_bytes(b"PURGE-EVERYTHING-THERE-IS").unwrap();
    let (mut requests, mut asked) = (Vec::new(), Vec::new());
    let mut bodies = Vec::new();
    for (method, uri) in [
        (Method::PUT, "/a?b=c%20d"),
        (Method::GET, "/a"),
        (Method::PUT, "/"),
        (Method::OPTIONS, "*"),
        (Method::CONNECT, "user@here:443"),
        (purge, "https://user@here:8443/a/%C3%A4?b"),
        (Method::GET, "http://here"),
    ] {
        let uri: Uri = uri.parse().unwrap();
        requests.push((method, uri));
    }
    // `OPTIONS *` of HTTP/2, and one whose text would be too long for a URI.
    for (authority, path) in [
        ("here", "*".into()),
        ("x".repeat(1_000).as_str(), "/y".repeat(32_000)),
    ] {
        let uri = Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query(path);
        requests.push((Method::OPTIONS, uri.build().unwrap()));
    }
    for (method, uri) in requests {
        asked.push((method.clone(), uri.clone()));
        let request = Request::builder().method(method).uri(uri);
        let request = request.body(Body::default()).unwrap();
        let mut body = through(&layer, request, EVENTS, &Stream::default()).await;
        assert_pending!(next(&mut body));
        bodies.push(body);
    }
    assert_eq!(*SEEN.lock().unwrap(), asked);
    drain.close();
    let is_woken: Vec<_> = bodies.iter().map(|body| body.is_woken()).collect();
    assert!(is_woken[0] && !is_woken[1..].contains(&true));
}

#[test]
fn an_event_stream_is_known_by_its_method_and_content_type() {
    let chosen = |method: Method, value: Option<&str>| {
        let mut response = Response::builder();
        if let Some(value) = value {
            response = response.header(CONTENT_TYPE, value);
        }
        let (head, ()): (response::Parts, _) = response.body(()).unwrap().into_parts();
        is_event_stream(&method, &Uri::from_static("/"), &head)
    };
    for yes in ["text/event-stream", "Text/Event-Stream ; charset=utf-8"] {
        assert!(chosen(Method::GET, Some(yes)), "{yes}");
        assert!(!chosen(Method::POST, Some(yes)), "{yes}");
    }
    for no in [
        "text/event-streams",
        "text/plain",
        "",
        "x; text/event-stream",
    ] {
        assert!(!chosen(Method::GET, Some(no)), "{no}");
    }
    assert!(!chosen(Method::GET, None));
}
