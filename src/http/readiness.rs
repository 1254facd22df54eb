use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body_util::Full;
use tower_service::Service;

use crate::drain::{Drain, Phase};

/// A service that answers any request with 200 while the drain is [`Phase::Serving`], and with 503
/// from then on: for the readiness probe of a balancer.
///
/// Made by [`Drain::readiness`]. The body is the phase in words, for people with curl. Do not
/// answer a liveness probe by it: a server that drains is alive, and to restart it cuts off what it
/// waits for.
///
/// Its answers never hold a drain open. Mount it beside the layer, or inside it with
/// [`DrainLayer::exempt`](crate::DrainLayer::exempt); either way it answers in every phase. How
/// often it has answered 503 is what [`Shutdown::probes`](crate::Shutdown::probes) goes by.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_drain::Drain;
///
/// let drain = Drain::new();
/// let app: Router = Router::new()
///     .route("/", get(|| async { "hello" }))
///     .layer(drain.layer())
///     // Added after the layer, so outside of it.
///     .route_service("/readyz", drain.readiness());
/// ```
#[derive(Clone, Debug)]
pub struct Readiness {
    drain: Drain,
}

/// The response future of [`Readiness`]: ready at once.
#[must_use = "futures do nothing unless polled"]
pub struct ReadinessFuture {
    response: Ready<Response<Full<Bytes>>>,
}

impl Drain {
    /// A service for readiness probes: 200 while serving, 503 from the lame duck on.
    pub fn readiness(&self) -> Readiness {
        let drain = self.clone();
        Readiness { drain }
    }
}

impl<ReqBody> Service<Request<ReqBody>> for Readiness {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ReadinessFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> ReadinessFuture {
        let phase = self.drain.phase();
        let (status, words) = match phase {
            Phase::Serving => (StatusCode::OK, "serving\n"),
            Phase::LameDuck => (StatusCode::SERVICE_UNAVAILABLE, "lame duck\n"),
            Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            Phase::Drained => (StatusCode::SERVICE_UNAVAILABLE, "drained\n"),
        };
        let mut response = Response::new(Full::from(words));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if phase != Phase::Serving && request.version() <= Version::HTTP_11 {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if phase != Phase::Serving {
            self.drain.note_probe();
        }
        ReadinessFuture {
            response: ready(response),
        }
    }
}

impl Future for ReadinessFuture {
    type Output = Result<Response<Full<Bytes>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.response).poll(cx).map(Ok)
    }
}

impl fmt::Debug for ReadinessFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadinessFuture").finish_non_exhaustive()
    }
}
