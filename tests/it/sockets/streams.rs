//! Event streams with an end and without: one ends by itself, the other at its goodbye.

use axum::body::Body;
use axum::routing::post;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use tower_drain::{Shutdown, is_event_stream};

use super::*;

type Events = http_body_util::channel::Sender<Bytes>;

fn stream(
    body: impl http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
) -> http::Response<Body> {
    let response = http::Response::builder().header("content-type", "text/event-stream");
    response.body(Body::new(body)).unwrap()
}

/// Reads an event.
async fn next(body: &mut Incoming) -> Option<Bytes> {
    let frame = body.frame().await?.unwrap();
    Some(frame.into_data().unwrap())
}

/// As of a language model, which is asked by a `POST`.
#[tokio::test]
async fn an_answer_that_is_a_stream_of_events_is_complete() {
    let drain = Drain::new();
    let (mut events, body) = Channel::<Bytes>::new(1);
    let answer = Arc::new(std::sync::Mutex::new(Some(body)));
    let completions = async move || stream(answer.lock().unwrap().take().unwrap());
    let endless = async || {
        let (sender, body) = Channel::<Bytes>::new(1);
        tokio::spawn(async move {
            let mut sender: Events = sender;
            sender.send_data("data: first\n\n".into()).await.unwrap();
            pending::<()>().await;
            drop(sender);
        });
        stream(body)
    };
    let app = Router::new()
        .route("/completions", post(completions))
        .route("/events", get(endless))
        .layer(drain.layer().end_streams(is_event_stream));
    let (listener, address) = bind().await;
    let closed = drain.closing();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let on = async { _ = stopped.await };
    let shutdown = Shutdown::new(&drain, on).listener(&listener).unwrap();
    let run = shutdown.run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing));
    let run = tokio::spawn(run);

    let connect = async || {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (client, connection) = http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let (mut asking, mut following) = (connect().await, connect().await);
    let ask = Request::post("/completions").header("host", "here");
    let asked = asking.send_request(ask.body(Empty::<Bytes>::new()).unwrap());
    events.send_data("data: a\n\n".into()).await.unwrap();
    let mut answer = asked.await.unwrap().into_body();
    assert_eq!(next(&mut answer).await.unwrap(), "data: a\n\n");
    let followed = following.send_request(request("/events")).await.unwrap();
    let mut endless = followed.into_body();
    assert_eq!(next(&mut endless).await.unwrap(), "data: first\n\n");

    stop.send(()).unwrap();
    assert_eq!(next(&mut endless).await, None);
    closed.await;
    for data in ["data: b\n\n", "data: [DONE]\n\n"] {
        events.send_data(data.into()).await.unwrap();
        assert_eq!(next(&mut answer).await.unwrap(), data);
    }
    drop(events);
    assert_eq!(next(&mut answer).await, None);
    run.await.unwrap().unwrap();
}
