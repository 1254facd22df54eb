use std::fmt;
use std::time::Duration;

use http::{Request, Response};
use tower_layer::Layer;

use super::exempt::ExemptNone;
use super::refusal::Unavailable;
use super::service::{DrainService, Settings};
use crate::drain::Drain;

/// Counts the requests in flight, and refuses newcomers once draining has started.
///
/// Made by [`Drain::layer`], or by [`new`](Self::new) with a drain of its own. The builder methods
/// take the layer by value:
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use tower_drain::Drain;
///
/// let drain = Drain::new();
/// let layer = drain
///     .layer()
///     .retry_after(Duration::from_secs(5))
///     .exempt(|request: &Request<_>| request.uri().path().starts_with("/health"));
/// # let _ = tower_layer::Layer::layer(&layer, ());
/// # fn is_service<S: tower_service::Service<Request<()>>>(_: S) {}
/// # is_service(tower_layer::Layer::layer(&layer, drain.readiness()));
/// ```
///
/// # Where to put it
///
/// Outermost, that is: added last in axum, first in a `ServiceBuilder`. What lies outside of it is
/// not waited for. What lies inside and holds requests back (a concurrency limit, a buffer) cannot
/// delay a refusal; but capacity that such a service gave away in `poll_ready` is not given back by
/// a refusal, only by the drop of that service instance. Servers drop theirs after each request.
///
/// Everything is decided per request, so one layer may be applied to several services, and they all
/// belong to the one drain.
///
/// # What a refused client sees
///
/// A refusal is made without reading the request's body. Over HTTP/1 a client that is in the middle
/// of an upload may find the connection reset instead of the answer, as with any early answer.
#[derive(Clone)]
pub struct DrainLayer<R = Unavailable, E = ExemptNone> {
    drain: Drain,
    settings: Settings,
    refuse: R,
    exempt: E,
}

impl DrainLayer {
    /// A layer with a [`Drain`] of its own; [`handle`](Self::handle) gives it.
    pub fn new() -> Self {
        Drain::new().layer()
    }
}

impl<R, E> DrainLayer<R, E> {
    /// The handle of this layer's drain.
    pub fn handle(&self) -> Drain {
        self.drain.clone()
    }

    /// What a refusal says in `Retry-After`, in whole seconds, rounded up. The default is 1 s.
    pub fn retry_after(mut self, after: Duration) -> Self {
        let part = u64::from(after.subsec_nanos() > 0);
        self.settings.retry_after = after.as_secs().saturating_add(part);
        self
    }

    /// Makes the refusal by `f` instead of the default: an empty 503, or for gRPC an HTTP 200 with
    /// `grpc-status: 14`.
    ///
    /// Whatever `f` returns leaves with the headers that a refusal has to have: on HTTP/1
    /// `Connection: close`, on later versions no `Connection`, and a `Retry-After` unless there is
    /// one. `f` sees gRPC requests too.
    ///
    /// The layer clones `f` for each service, and servers clone the service for each request: keep
    /// its captures cheap to clone. An `Arc` in it is a shared write on every request.
    pub fn refuse_with<F, ReqBody, ResBody>(self, f: F) -> DrainLayer<F, E>
    where
        F: Fn(&Request<ReqBody>) -> Response<ResBody>,
    {
        DrainLayer {
            drain: self.drain,
            settings: self.settings,
            refuse: f,
            exempt: self.exempt,
        }
    }

    /// Lets the requests pass for which `f` is true, neither counted nor refused: health checks and
    /// metrics, which would else keep the drain from ever being idle, or fail while it runs.
    ///
    /// Exempt requests reach the inner service while draining too, unless it is saturated then (its
    /// `poll_ready` is pending): those are refused, for a refusal is not to wait for the inner
    /// service, and which one a request will get is not known yet when the service is polled.
    ///
    /// `f` is cloned as that of [`refuse_with`](Self::refuse_with) is. A later call replaces it.
    pub fn exempt<F, ReqBody>(self, f: F) -> DrainLayer<R, F>
    where
        F: Fn(&Request<ReqBody>) -> bool,
    {
        DrainLayer {
            drain: self.drain,
            settings: self.settings,
            refuse: self.refuse,
            exempt: f,
        }
    }

    /// Puts a clone of the request's [`Permit`](crate::Permit) into its extensions, for handlers
    /// whose work outlives the response: an upgraded connection, a task that they spawn.
    ///
    /// The clone counts as one more in [`in_flight`](Drain::in_flight) until the request, or who
    /// took it from there, drops it. Putting it there allocates, as extensions do. Exempt requests
    /// get none.
    pub fn share_permit(mut self) -> Self {
        self.settings.share_permit = true;
        self
    }

    /// Keeps the method, path, start and stage of each request in flight, so that
    /// [`Drain::requests`] and a [`TimedOut`](crate::TimedOut) can name them, and [`Drain::cancel`] can
    /// end them. Without it the list is empty and there is nothing to cancel.
    ///
    /// The path is kept without its query, which can hold secrets, and cut to 128 bytes.
    ///
    /// What it costs is in the README; a request takes some 300 bytes more, which are kept to be used
    /// again. Exempt requests are not tracked, nor is a connection after its upgrade.
    pub fn track_requests(mut self) -> Self {
        self.settings.track_requests = true;
        self
    }
}

impl Drain {
    /// A layer that counts into this drain, with the defaults.
    pub fn layer(&self) -> DrainLayer {
        DrainLayer {
            drain: self.clone(),
            settings: Settings {
                retry_after: 1,
                share_permit: false,
                track_requests: false,
            },
            refuse: Unavailable,
            exempt: ExemptNone,
        }
    }
}

impl Default for DrainLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S, R: Clone, E: Clone> Layer<S> for DrainLayer<R, E> {
    type Service = DrainService<S, R, E>;

    fn layer(&self, inner: S) -> Self::Service {
        DrainService::new(
            inner,
            self.drain.entrance(),
            self.settings,
            self.refuse.clone(),
            self.exempt.clone(),
        )
    }
}

impl<R, E> fmt::Debug for DrainLayer<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainLayer")
            .field("drain", &self.drain)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
