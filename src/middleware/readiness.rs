//! The service for readiness probes.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Request, Response, StatusCode};
use tower_service::Service;

use super::headers::ConnectionRule;
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
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let phase = self.drain.phase();
        let text = match phase {
            Phase::Serving => "serving\n",
            Phase::LameDuck => "lame duck\n",
            Phase::Closing => "closing\n",
            Phase::Draining => "draining\n",
            Phase::Drained => "drained\n",
        };
        let mut response = Response::new(String::from(text));
        let no_store = HeaderValue::from_static("no-store");
        response.headers_mut().insert(CACHE_CONTROL, no_store);
        if phase != Phase::Serving {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            ConnectionRule::of(&request).close(&mut response);
            self.drain.record_failed_probe();
        }
        ready(Ok(response))
    }
}
