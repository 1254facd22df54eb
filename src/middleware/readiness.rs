use std::convert::Infallible;
use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::drain::{Drain, Phase};

/// Service for readiness probes: responds to any request with 200 in [`Phase::Serving`], and with 503 in all
/// later phases.
///
/// Returned by [`Drain::readiness`]. The body names the phase.
///
/// A load balancer sees a 503 only if there is a lame duck, because afterwards the port is closed: set
/// [`Shutdown::lame_duck`](crate::Shutdown::lame_duck).
///
/// Do not use it for a liveness probe: a draining server is alive, and a restart would cut off its requests.
///
/// Add it outside the layer, or inside with [`DrainLayer::exempt`](crate::DrainLayer::exempt): then it
/// responds in every phase and never keeps a drain from finishing. Each 503 counts for
/// [`Shutdown::min_failed_probes`](crate::Shutdown::min_failed_probes), so do not expose it to untrusted
/// clients: they could end a lame duck early.
///
/// # Examples
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

/// Response future of [`Readiness`]. It is ready at once.
#[must_use = "futures do nothing unless polled"]
pub struct ReadinessFuture {
    response: Ready<Response<ReadinessBody>>,
}

/// Response body of [`Readiness`].
#[derive(Debug)]
pub struct ReadinessBody {
    /// Empty once it has been read.
    text: &'static str,
}

impl Drain {
    /// Returns a service for readiness probes: 200 while serving, 503 in all later phases.
    ///
    /// # Examples
    ///
    /// ```
    /// # use axum::{Router, routing::get};
    /// # let drain = tower_drain::Drain::new();
    /// let app: Router = Router::new()
    ///     .route("/", get(|| async { "hello" }))
    ///     .layer(drain.layer())
    ///     .route_service("/readyz", drain.readiness()); // outside of the layer
    /// ```
    pub fn readiness(&self) -> Readiness {
        let drain = self.clone();
        Readiness { drain }
    }
}

impl<ReqBody> Service<Request<ReqBody>> for Readiness {
    type Response = Response<ReadinessBody>;
    type Error = Infallible;
    type Future = ReadinessFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> ReadinessFuture {
        let phase = self.drain.phase();
        let text = match phase {
            Phase::Serving => "serving\n",
            Phase::LameDuck => "lame duck\n",
            Phase::Closing => "closing\n",
            Phase::Draining => "draining\n",
            Phase::Drained => "drained\n",
        };
        let mut response = Response::new(ReadinessBody { text });
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        if phase != Phase::Serving {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            if request.version() <= Version::HTTP_11 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            self.drain.record_failed_probe();
        }
        ReadinessFuture {
            response: ready(response),
        }
    }
}

impl Future for ReadinessFuture {
    type Output = Result<Response<ReadinessBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.response).poll(cx).map(Ok)
    }
}

impl fmt::Debug for ReadinessFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadinessFuture").finish_non_exhaustive()
    }
}

impl Body for ReadinessBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = std::mem::take(&mut self.text);
        let frame = (!text.is_empty()).then(|| Frame::data(Bytes::from_static(text.as_bytes())));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.text.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64)
    }
}
