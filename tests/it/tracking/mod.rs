//! Tracked requests: how they are listed, and how they are cancelled.

mod cancel;
mod list;
mod race;

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
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower::{Layer, Service, service_fn};
use tower_drain::{
    Cancelled, Drain, DrainService, InFlightRequest, Permit, Phase, RequestStage, ResponseBody,
};

use crate::support::{Body, Hello, by_hand, get, hello, text};

const SECOND: Duration = Duration::from_secs(1);

/// A body without an end. Its frames are either always ready or never.
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
