//! The wrapped body reads like the inner one.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, Service, service_fn};
use tower_drain::Drain;

use crate::support::{Hello, get};

#[tokio::test]
async fn end_of_stream_and_size_hint_are_forwarded() {
    let drain = Drain::new();
    let body = drain
        .layer()
        .layer(Hello)
        .call(get("/"))
        .await
        .unwrap()
        .into_body();
    assert_eq!(body.size_hint().exact(), Some(5));
    assert!(!body.is_end_stream());
    drop(body);

    let empty = service_fn(|_: Request<_>| async {
        Ok::<_, ()>(Response::new(http_body_util::Empty::<Bytes>::new()))
    });
    let body = drain
        .layer()
        .layer(empty)
        .call(get("/"))
        .await
        .unwrap()
        .into_body();
    assert!(body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(0));
    assert_eq!(
        drain.in_flight(),
        1,
        "an ended body is in flight until it is dropped"
    );
}

#[tokio::test]
async fn frames_and_trailers_pass_untouched() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<_>| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("sum", "1".parse().unwrap());
        let frames = [
            Ok(Frame::data("a")),
            Ok(Frame::data("b")),
            Ok(Frame::trailers(trailers)),
        ]
        .map(|frame: Result<_, std::convert::Infallible>| {
            frame.map(|frame| frame.map_data(Bytes::from))
        });
        Ok::<_, ()>(Response::new(StreamBody::new(tokio_stream::iter(frames))))
    });
    let mut body = drain
        .layer()
        .layer(inner)
        .call(get("/"))
        .await
        .unwrap()
        .into_body();
    for data in ["a", "b"] {
        assert_eq!(
            body.frame().await.unwrap().unwrap().into_data().unwrap(),
            data
        );
    }
    let trailers = body
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_trailers()
        .unwrap();
    assert_eq!(trailers["sum"], "1");
    assert!(body.frame().await.is_none());
}

/// A body that is not `Unpin`, `Default` or `Send`, and whose data is not `Bytes`.
struct Odd(std::marker::PhantomPinned, PhantomData<std::rc::Rc<()>>);

impl Body for Odd {
    type Data = std::collections::VecDeque<u8>;
    type Error = &'static str;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(Some(Err("torn")))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[tokio::test]
async fn any_body_works_and_its_error_passes_and_releases() {
    let drain = Drain::new();
    let inner = service_fn(|_: Request<_>| async {
        Ok::<_, ()>(Response::new(Odd(std::marker::PhantomPinned, PhantomData)))
    });
    let mut service = drain.layer().layer(inner);
    let response = service.call(get("/")).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "torn");
    drop(body);
    assert_eq!(drain.in_flight(), 0);
    drain.start_draining();
    assert!(service.call(get("/")).await.unwrap().body().is_end_stream());
}

/// One frame of this size, and then the end.
async fn one_frame<D: bytes::Buf + 'static>(drain: &Drain, data: D) -> Frame<D> {
    let mut data = Some(data);
    let inner = service_fn(move |_: Request<_>| {
        std::future::ready(Ok::<_, ()>(Response::new(http_body_util::Full::new(
            data.take().unwrap(),
        ))))
    });
    let response = drain.layer().layer(inner).call(get("/")).await.unwrap();
    let mut body = response.into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!(drain.in_flight(), 1, "until the body is dropped");
    assert!(body.is_end_stream());
    frame
}

#[tokio::test]
async fn a_large_last_frame_is_in_flight_until_it_is_dropped() {
    let drain = Drain::new();
    let frame = one_frame(&drain, Bytes::from(vec![b'x'; 64 * 1024])).await;
    assert_eq!(drain.in_flight(), 1);
    let mut data = frame.into_data().unwrap();
    assert_eq!(data, vec![b'x'; 64 * 1024]);
    // A server sends it in parts.
    let rest = data.split_off(1_000);
    drop(data);
    drain.start_draining();
    assert_eq!(drain.in_flight(), 1);
    drop(rest);
    assert_eq!(drain.phase(), tower_drain::Phase::Drained);
}

#[tokio::test]
async fn other_last_frames_hold_nothing() {
    let drain = Drain::new();
    let _small = one_frame(&drain, Bytes::from(vec![b'x'; 64 * 1024 - 1])).await;
    assert_eq!(drain.in_flight(), 0);
    let other = std::collections::VecDeque::from(vec![b'x'; 64 * 1024]);
    let _other = one_frame(&drain, other).await;
    assert_eq!(drain.in_flight(), 0);
}

#[tokio::test]
async fn a_large_frame_that_is_not_the_last_holds_nothing() {
    let drain = Drain::new();
    let large = || Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(vec![b'x'; 1 << 20])));
    let inner = service_fn(move |_: Request<_>| {
        let frames = tokio_stream::iter([large(), large()]);
        std::future::ready(Ok::<_, ()>(Response::new(StreamBody::new(frames))))
    });
    let response = drain.layer().layer(inner).call(get("/")).await.unwrap();
    let mut body = response.into_body();
    // The body does not know that the second one is the last.
    let _frames = [body.frame().await, body.frame().await];
    assert_eq!(drain.in_flight(), 1);
    drop(body);
    assert_eq!(drain.in_flight(), 0);
}

/// That data is `'static` follows from the body, so code over any body needs no other bound.
#[test]
fn a_static_body_of_any_type_is_a_body() {
    fn is_body<B: Body>(_: B) {}
    fn generic<B>(body: tower_drain::ResponseBody<B>)
    where
        B: Body + 'static,
        B::Error: Into<tower_drain::BoxError>,
    {
        is_body(body);
    }
    generic(tower_drain::ResponseBody::<String>::default());
}
