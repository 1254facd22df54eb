//! Cancelled requests, as their clients see them.

use std::io;

use axum::body::Body;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower_drain::{RequestStage, Shutdown, ShutdownError, Signal};

use super::*;

/// `/stuck` never answers, and `/endless` never ends.
fn app(drain: &Drain) -> Router {
    let endless = || async {
        let (ticks, body) = mpsc::channel::<Result<Bytes, Infallible>>(1);
        tokio::spawn(async move {
            while ticks.send(Ok(Bytes::from_static(b"tick"))).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        Body::from_stream(ReceiverStream::new(body))
    };
    Router::new()
        .route("/stuck", get(pending::<&'static str>))
        .route("/endless", get(endless))
        .layer(drain.layer().track_requests())
}

#[tokio::test]
async fn over_http_1_the_handler_is_refused_and_the_body_has_no_last_chunk() {
    let drain = Drain::new();
    let server = Server::axum(&drain, app(&drain), pending()).await;
    let ask = async |path: &str| {
        let mut stream = server.connect().await;
        let request = format!("GET {path} HTTP/1.1\r\nhost: here\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    };
    let mut stuck = ask("/stuck").await;
    let mut endless = ask("/endless").await;
    let mut head = [0; 200];
    assert!(endless.read(&mut head).await.unwrap() > 0);
    until(|| drain.requests().len() == 2).await;
    assert_eq!(drain.cancel(), 2);

    let mut refusal = String::new();
    stuck.read_to_string(&mut refusal).await.unwrap();
    assert!(refusal.starts_with("HTTP/1.1 503 "), "{refusal}");
    assert!(refusal.contains("connection: close\r\n"), "{refusal}");
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = endless.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks complete");
    drain.start_draining();
    drain.drained().await;
}

#[tokio::test]
async fn over_http_2_the_handler_is_refused_and_the_stream_is_reset() {
    let drain = Drain::new();
    let server = Server::axum(&drain, app(&drain), pending()).await;
    let mut client = server.http2().await;
    let stuck = tokio::spawn(client.send_request(request2("/stuck")));
    let endless = client.send_request(request2("/endless")).await.unwrap();
    until(|| drain.requests().len() == 2).await;
    drain.cancel();
    let refusal = stuck.await.unwrap().unwrap();
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    let error = endless.into_body().collect().await.expect_err("complete");
    assert!(!error.is_incomplete_message(), "{error:?}");
    server.in_flight(0).await;
}

/// hyper drops a connection whose body fails before the head is flushed.
#[tokio::test]
async fn the_head_of_a_response_that_is_cancelled_at_once_is_sent() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let drain = Drain::new();
        let cancels = drain.clone();
        // Cancelled by the first poll of its body, which follows the head before a flush.
        let cancel = move || {
            let cancels = cancels.clone();
            async move {
                Body::from_stream(futures_util::stream::poll_fn(move |_| {
                    cancels.cancel();
                    std::task::Poll::<Option<Result<Bytes, Infallible>>>::Pending
                }))
            }
        };
        let app = Router::new().route("/", get(cancel));
        let app = app.layer(drain.layer().track_requests());
        let server = Server::axum(&drain, app, pending()).await;
        let response = server.get(version, "/").await;
        let response = response.expect("the head");
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.expect_err("complete");
    }
}

#[tokio::test]
async fn at_its_deadline_a_shutdown_ends_axum_with_an_endless_stream_open() {
    for version in [Version::HTTP_11, Version::HTTP_2] {
        let drain = Drain::new();
        let app = app(&drain);
        let (ended, server_ended) = tokio::sync::oneshot::channel();
        let (signal, on) = tokio::sync::oneshot::channel::<Signal>();
        let on = async { on.await.unwrap() };
        let shutdown = Shutdown::new(&drain, on).timeout(Duration::from_millis(50));
        let server = Server::start(&drain, |listener| {
            shutdown.run(async |closing| {
                let serve = axum::serve(listener, app).with_graceful_shutdown(closing);
                let result: io::Result<()> = serve.await;
                let _ = ended.send(());
                result
            })
        });
        let server = server.await;
        let endless = server.get(version, "/endless").await;
        signal.send(Signal::Terminate).unwrap();

        let error = server.serving.await.unwrap().unwrap_err();
        let ShutdownError::TimedOut(unfinished) = error else {
            panic!("{error:?}");
        };
        let [late] = unfinished.requests() else {
            panic!("{unfinished:?}");
        };
        assert_eq!(
            (late.path(), late.stage()),
            ("/endless", RequestStage::Body)
        );
        server_ended.await.expect("axum's server ended by itself");
        assert_eq!(drain.phase(), Phase::Drained);
        let body = endless.unwrap().into_body();
        body.collect().await.expect_err("complete");
    }
}
