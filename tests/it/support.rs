//! An inner service that a test drives by hand.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use tokio::sync::oneshot;
use tower::{Layer, Service};
use tower_drain::{DrainLayer, DrainService, Exempt, Refuse, ResponseBody};

pub(crate) type Body = Full<Bytes>;

/// Longer than anything takes, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets other tasks run until this is so.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never is");
        tokio::task::yield_now().await;
    }
}

/// Lets other threads run until this is so.
#[track_caller]
pub(crate) fn spin_until(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "it never is");
        thread::yield_now();
    }
}

/// The waker of a task that panics when it is woken.
pub(crate) fn panicking_waker() -> Waker {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }

    Waker::from(Arc::new(Panics))
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::default()).unwrap()
}

pub(crate) fn get_over(version: Version) -> Request<Body> {
    Request::get("/")
        .version(version)
        .body(Body::default())
        .unwrap()
}

pub(crate) fn hello() -> Response<Body> {
    Response::new(Body::from("hello"))
}

/// Answers at once, with "hello".
#[derive(Clone, Debug)]
pub(crate) struct Hello;

impl<B> Service<Request<B>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        std::future::ready(Ok(hello()))
    }
}

/// Answers when the test sends an answer through the service's sender.
pub(crate) struct ByHand(Option<oneshot::Receiver<Result<Response<Body>, &'static str>>>);
pub(crate) type Answer = oneshot::Sender<Result<Response<Body>, &'static str>>;

pub(crate) fn by_hand() -> (ByHand, Answer) {
    let (answer, answered) = oneshot::channel();
    (ByHand(Some(answered)), answer)
}

impl<B> Service<Request<B>> for ByHand {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, &'static str>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        let answered = self.0.take().expect("one request only");
        Box::pin(async { answered.await.expect("the test sent no answer") })
    }
}

/// One request through `layer` to [`Hello`].
pub(crate) async fn ask<R, E>(
    layer: &DrainLayer<R, E>,
    request: Request<Body>,
) -> Response<ResponseBody<Body>>
where
    R: Refuse<Body, Body> + Clone,
    E: Exempt<Body> + Clone,
{
    let mut service: DrainService<Hello, R, E> = layer.layer(Hello);
    service.call(request).await.unwrap()
}

pub(crate) async fn text<B>(body: B) -> String
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let bytes = body.collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
