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
