//! Endless responses, which the layer ends at their goodbye.

mod choice;
mod spread;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, Method, Request, Response, Uri, Version, response};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer, Service};
use tower_drain::{Drain, DrainLayer, NeverExempt, ResponseBody, is_event_stream};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::DecompressionLayer;

use crate::support::{Body, get, get_over};

/// A body that a test feeds. It ends only if it has trailers.
#[derive(Clone, Default)]
struct Stream {
    frames: Arc<Mutex<VecDeque<Frame<Bytes>>>>,
    waker: Arc<Mutex<Option<Waker>>>,
    length: Option<u64>,
}

impl Stream {
    fn send(&self, data: &'static str) {
        self.send_frame(Frame::data(Bytes::from(data)));
    }

    fn send_frame(&self, frame: Frame<Bytes>) {
        self.frames.lock().unwrap().push_back(frame);
        if let Some(waker) = self.waker.lock().unwrap().take() {
            waker.wake();
        }
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.frames.lock().unwrap().pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => {
                *self.waker.lock().unwrap() = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

/// Answers with this stream.
fn service(
    header: HeaderName,
    value: &'static str,
    stream: &Stream,
) -> impl Service<Request<Body>, Response = Response<Stream>, Error = Infallible> + use<> {
    let stream = stream.clone();
    tower::service_fn(move |_| {
        let response = Response::builder().header(&header, value);
        ready(Ok(response.body(stream.clone()).unwrap()))
    })
}

type Ended = Spawn<Pin<Box<ResponseBody<Stream>>>>;

/// Returns the body of a response of this content type to `request`, through `layer`.
async fn through(
    layer: &DrainLayer,
    request: Request<Body>,
    content_type: &'static str,
    stream: &Stream,
) -> Ended {
    let inner = service(CONTENT_TYPE, content_type, stream);
    let response = layer.layer(inner).call(request).await.unwrap();
    task::spawn(Box::pin(response.into_body()))
}

fn next(body: &mut Ended) -> Poll<Option<Result<Frame<Bytes>, tower_drain::BoxError>>> {
    body.enter(|cx, body| body.poll_frame(cx))
}

#[track_caller]
fn assert_data(body: &mut Ended, expected: &str) {
    let frame = assert_ready!(next(body)).unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), expected);
}

#[track_caller]
fn assert_end(body: &mut Ended) {
    assert!(assert_ready!(next(body)).is_none());
    assert!(body.is_end_stream());
    assert!(assert_ready!(next(body)).is_none());
}

const EVENTS: &str = "text/event-stream";

#[tokio::test]
async fn an_event_stream_ends_when_the_server_closes() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(is_event_stream);
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    stream.send("one");
    assert_data(&mut body, "one");
    assert_pending!(next(&mut body));
    drain.lame_duck();
    assert_pending!(next(&mut body));
    drain.close();
    assert!(body.is_woken());
    assert_end(&mut body);
    assert_eq!(drain.in_flight(), 1);
    drop(body);
    assert_eq!(drain.in_flight(), 0);
}

#[tokio::test]
async fn a_frame_that_is_there_passes_first() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(is_event_stream);
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    assert_pending!(next(&mut body));
    // A stream that always has another frame ends too.
    for data in ["one", "two"] {
        stream.send(data);
    }
    drain.close();
    assert_data(&mut body, "one");
    assert_end(&mut body);
}

#[tokio::test]
async fn a_stream_that_begins_while_closing_ends_at_its_first_pause() {
    let drain = Drain::new();
    drain.close();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(is_event_stream);
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    assert_end(&mut body);
}

#[tokio::test]
async fn draining_without_closing_first_ends_it_too() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(is_event_stream);
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    assert_pending!(next(&mut body));
    drain.start_draining();
    assert!(body.is_woken());
    assert_end(&mut body);
}

#[tokio::test]
async fn a_response_that_is_not_chosen_is_untouched() {
    let drain = Drain::new();
    let stream = Stream::default();
    let chooses = drain.layer().end_streams(is_event_stream);
    for (layer, content_type) in [(chooses, "text/plain"), (drain.layer(), EVENTS)] {
        let mut body = through(&layer, get("/"), content_type, &stream).await;
        assert_pending!(next(&mut body));
        drain.close();
        assert!(!body.is_woken());
        assert_pending!(next(&mut body));
        for data in ["one", "two"] {
            stream.send(data);
            assert_data(&mut body, data);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("checksum", "1".parse().unwrap());
        stream.send_frame(Frame::trailers(trailers.clone()));
        let frame = assert_ready!(next(&mut body)).unwrap().unwrap();
        assert_eq!(frame.into_trailers().unwrap(), trailers);
    }
}

#[tokio::test]
async fn a_response_of_a_known_length_is_never_cut() {
    let drain = Drain::new();
    let layer = drain.layer().end_streams(|_, _, _| true);
    let stream = Stream {
        length: Some(6),
        ..Stream::default()
    };
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    stream.send("one");
    drain.close();
    assert_data(&mut body, "one");
    assert_pending!(next(&mut body));
    stream.send("two");
    assert_data(&mut body, "two");
    // The same for a length in the header.
    let stream = Stream::default();
    let inner = service(CONTENT_LENGTH, "6", &stream);
    let response = layer.layer(inner).call(get("/")).await.unwrap();
    let mut body = task::spawn(Box::pin(response.into_body()));
    assert_pending!(next(&mut body));
}

#[tokio::test]
async fn grpc_streams_end_with_a_status() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(|_, _, _| true);
    let call = get_over(Version::HTTP_2);
    let mut body = through(&layer, call, "application/grpc+proto", &stream).await;
    assert_pending!(next(&mut body));
    drain.close();
    let frame = assert_ready!(next(&mut body)).unwrap().unwrap();
    let trailers = frame.into_trailers().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    assert_eq!(trailers["grpc-message"], "server is closing");
    assert_end(&mut body);
    // If no trailers can be sent, the stream ends without them.
    for (version, content_type) in [
        (Version::HTTP_11, "application/grpc"),
        (Version::HTTP_2, "application/grpc-web"),
        (Version::HTTP_2, EVENTS),
    ] {
        let mut body = through(&layer, get_over(version), content_type, &stream).await;
        assert_end(&mut body);
    }
}

#[tokio::test]
async fn the_end_and_trailers_of_the_stream_pass() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(|_, _, _| true);
    let call = get_over(Version::HTTP_2);
    let mut body = through(&layer, call, "application/grpc", &stream).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send("the last message");
    stream.send_frame(Frame::trailers(trailers.clone()));
    drain.close();
    assert_data(&mut body, "the last message");
    let frame = assert_ready!(next(&mut body)).unwrap().unwrap();
    assert_eq!(frame.into_trailers().unwrap(), trailers);
}

#[tokio::test]
async fn a_cancelled_stream_is_still_cancelled() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().track_requests().end_streams(is_event_stream);
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    assert_pending!(next(&mut body));
    assert_eq!(drain.cancel(), 1);
    assert_pending!(next(&mut body), "so that the head is flushed");
    assert!(body.is_woken());
    assert!(assert_ready!(next(&mut body)).unwrap().is_err());
    // A tracked stream ends too.
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    assert_pending!(next(&mut body));
    drain.close();
    assert!(body.is_woken());
    assert_end(&mut body);
}

#[tokio::test]
async fn a_stream_whose_last_frame_has_passed_is_complete_although_it_is_cancelled() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().track_requests().end_streams(is_event_stream);
    let mut body = through(&layer, get("/"), EVENTS, &stream).await;
    assert_pending!(next(&mut body));
    drain.close();
    stream.send("last");
    assert_data(&mut body, "last");
    assert_eq!(drain.cancel(), 1);
    assert_end(&mut body);
}

#[tokio::test]
async fn exempt_streams_end_too() {
    let drain = Drain::new();
    let stream = Stream::default();
    let layer = drain.layer().end_streams(is_event_stream);
    let inner = service(CONTENT_TYPE, EVENTS, &stream);
    let mut service = layer.exempt(|_: &Request<Body>| true).layer(inner);
    let response = service.call(get("/")).await.unwrap();
    let mut body = task::spawn(Box::pin(response.into_body()));
    assert_pending!(next(&mut body));
    assert_eq!(drain.in_flight(), 0);
    drain.close();
    assert!(body.is_woken());
    assert_end(&mut body);
}

/// Inside of the layer, the end of the compressed stream would be cut off.
#[tokio::test]
async fn a_compressed_stream_is_complete_if_the_compression_is_outside() {
    let drain = Drain::new();
    let stream = Stream::default();
    let ends = drain.layer().end_streams(is_event_stream);
    let compresses = CompressionLayer::new().compress_when(SizeAbove::new(0));
    let request = || {
        Request::builder()
            .header("accept-encoding", "gzip")
            .body(Body::default())
    };
    stream.send("one,");
    stream.send("two");
    let outside = compresses.layer(ends.layer(service(CONTENT_TYPE, EVENTS, &stream)));
    let outside = DecompressionLayer::new()
        .layer(outside)
        .call(request().unwrap());
    let response = outside.await.unwrap();
    let whole = tokio::spawn(response.into_body().collect());
    tokio::task::yield_now().await;
    drain.close();
    let whole = whole.await.unwrap().unwrap();
    assert_eq!(whole.to_bytes(), "one,two");
}
