//! The layer and its settings.

use std::fmt;
use std::time::Duration;

use http::{Method, Request, Response, Uri, response};
use tower_layer::Layer;

use super::refusal::{DefaultRefusal, NeverExempt};
use super::service::{DrainService, Settings};
use crate::drain::Drain;

/// Layer that counts the requests in flight, and refuses new ones once draining has started.
///
/// ```
/// use axum::{Router, routing::get};
/// use tower_drain::Drain;
///
/// let drain = Drain::new();
/// let app = Router::new().route("/", get(|| async { "hello" }));
/// let app: Router = app.layer(drain.layer().track_requests());
/// ```
///
/// # Where to add it
///
/// Where the server is made: `axum::serve(listener, app.layer(drain.layer()))`. In axum, `.layer` covers only the routes
/// that the router has by then; one that is added later is neither counted nor waited for.
///
/// Around timeouts and authentication: the drain does not wait for layers outside of it. CORS, gRPC-Web, compression and
/// logging go outside; [the order of layers](crate::recipes#the-order-of-layers) shows a whole stack. In a
/// `ServiceBuilder`, the first layer is the outermost. A request should pass a drain's layer only once. If it passes two,
/// the inner one may refuse a request that the outer one has admitted.
///
/// One layer may be applied to several services, which then share its drain. `axum::serve` takes a service
/// other than a `Router` only if its body is axum's own: see [the order of
/// layers](crate::recipes#the-order-of-layers).
///
/// An inner layer that holds requests back, such as a concurrency limit, does not delay refusals. A request that
/// waits there when draining starts is served; [`DrainService`] has the rule. Capacity that the inner layer reserved in
/// `poll_ready` is returned when the service is dropped, which servers do after each request.
///
/// # Refusals
///
/// A refused request gets an empty 503, with `Connection: close` on HTTP/1, `Retry-After` and
/// `Cache-Control: no-store`. A gRPC call (a `POST` with a gRPC content type) gets status 14, `UNAVAILABLE`.
/// The request's body is not read: on HTTP/1 a client in the middle of an upload may see the connection reset
/// instead of the response, as with every early response.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use http::Request;
/// use tower_drain::{Drain, DrainLayer};
///
/// let drain = Drain::new();
/// let layer = DrainLayer::new(&drain)
///     .retry_after(Duration::from_secs(5))
///     .exempt(|request: &Request<_>| request.uri().path() == "/metrics");
/// # let _ = tower_layer::Layer::layer(&layer, ());
/// # fn is_service<S: tower_service::Service<Request<()>>>(_: S) {}
/// # is_service(tower_layer::Layer::layer(&layer, drain.readiness()));
/// ```
#[derive(Clone)]
pub struct DrainLayer<R = DefaultRefusal, E = NeverExempt> {
    drain: Drain,
    settings: Settings,
    track_requests: bool,
    refuse: R,
    exempt: E,
}

impl DrainLayer {
    /// Creates a layer that counts requests for `drain`.
    pub fn new(drain: &Drain) -> Self {
        Self {
            drain: drain.clone(),
            settings: Settings::default(),
            track_requests: false,
            refuse: DefaultRefusal,
            exempt: NeverExempt,
        }
    }

    /// Creates a layer and the drain that it counts for.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_drain::DrainLayer;
    ///
    /// let (layer, drain) = DrainLayer::pair();
    /// # let _ = (layer, drain);
    /// ```
    pub fn pair() -> (Self, Drain) {
        let drain = Drain::new();
        (Self::new(&drain), drain)
    }
}

impl<R, E> DrainLayer<R, E> {
    /// Sets the `Retry-After` of refusals, in whole seconds, rounded up, at most 136 years. The default is 1 s.
    pub fn retry_after(mut self, after: Duration) -> Self {
        let fraction = u64::from(after.subsec_nanos() > 0);
        let seconds = after.as_secs().saturating_add(fraction);
        // At most 136 years.
        self.settings.retry_after = seconds.try_into().unwrap_or(u32::MAX);
        self
    }

    /// Refuses with the response that `f` returns, instead of [`DefaultRefusal`]. Its body has the type of
    /// the inner service's: in axum, `axum::body::Body`.
    ///
    /// The layer adds the headers that a refusal needs: `Retry-After` and `Cache-Control: no-store` unless
    /// they are set, and on HTTP/1 `close` to `Connection`. On later versions it removes `Connection`. `f`
    /// gets gRPC calls too. A refusal is counted after `f` has returned. Requests that are
    /// [cancelled](Drain::cancel) get the default refusal.
    ///
    /// The layer clones `f` for each service, and servers clone the service for each request. If `f` captures
    /// an `Arc`, each request writes to shared memory.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::http::{Request, StatusCode};
    /// use axum::response::IntoResponse;
    /// use axum::{Router, routing::get};
    ///
    /// # let drain = tower_drain::Drain::new();
    /// let app: Router = Router::new()
    ///     .route("/", get(|| async { "hello" }))
    ///     .layer(drain.layer().refuse_with(|_: &Request<_>| {
    ///         (StatusCode::SERVICE_UNAVAILABLE, "moving, please try again").into_response()
    ///     }));
    /// ```
    pub fn refuse_with<F, ReqBody, ResBody>(self, f: F) -> DrainLayer<F, E>
    where
        F: Fn(&Request<ReqBody>) -> Response<ResBody>,
    {
        DrainLayer {
            drain: self.drain,
            settings: self.settings,
            track_requests: self.track_requests,
            refuse: f,
            exempt: self.exempt,
        }
    }

    /// Exempts the requests for which `f` returns true: they are neither counted nor refused.
    ///
    /// Use it for liveness checks and metrics. Otherwise they count as new requests in the lame duck, and are
    /// refused while draining. A later call replaces an earlier one.
    ///
    /// While draining, exempt requests still reach the inner service. One that arrives when that is not ready is refused
    /// like others, because a refusal must not wait. One that waits since before draining counts until it is called.
    ///
    /// `f` is cloned as in [`refuse_with`](Self::refuse_with). To name the type of the layer, pass a
    /// function pointer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use http::Request;
    /// # let drain = tower_drain::Drain::new();
    /// let layer = drain.layer().exempt(|request: &Request<_>| request.uri().path() == "/metrics");
    /// # let _ = tower_layer::Layer::layer(&layer, ());
    /// # fn is_service<S: tower_service::Service<Request<()>>>(_: S) {}
    /// # is_service(tower_layer::Layer::layer(&layer, drain.readiness()));
    /// ```
    pub fn exempt<F, ReqBody>(self, f: F) -> DrainLayer<R, F>
    where
        F: Fn(&Request<ReqBody>) -> bool,
    {
        DrainLayer {
            drain: self.drain,
            settings: self.settings,
            track_requests: self.track_requests,
            refuse: self.refuse,
            exempt: f,
        }
    }

    /// Puts a clone of each request's [`Permit`](crate::Permit) into its extensions, for a handler whose
    /// work outlives the response: an upgraded connection, a spawned task.
    ///
    /// Without this setting, and for exempt requests, there is no permit: axum answers 500 if a handler asks for an
    /// `Extension<Permit>`.
    ///
    /// The clone adds one to [`Drain::in_flight`] until the handler drops it or the request. So a request that
    /// a handler keeps counts as two. Extensions allocate. If layers of several drains
    /// share their permits, such as a tenant's inside of the server's, the permit belongs to all of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Extension, Router, routing::post};
    /// use tower_drain::{Drain, Permit};
    ///
    /// async fn enqueue(Extension(permit): Extension<Permit>) {
    ///     tokio::spawn(async move {
    ///         // ... the work ...
    ///         drop(permit);
    ///     });
    /// }
    ///
    /// let drain = Drain::new();
    /// let app: Router = Router::new()
    ///     .route("/jobs", post(enqueue))
    ///     .layer(drain.layer().share_permit());
    /// ```
    pub fn share_permit(mut self) -> Self {
        self.settings.share_permit = true;
        self
    }

    /// Records the method, path, start time and stage of each request in flight, so that [`Drain::requests`]
    /// and [`Unfinished`](crate::Unfinished) can name it and [`Drain::cancel`] can end it.
    ///
    /// A [`Shutdown`](crate::Shutdown) cancels tracked requests at its deadline: the handler is dropped where it waits, and
    /// may have done a part of its work. Its client gets the default refusal, with `Retry-After`, and may ask again. So use
    /// a transaction, or what can be repeated, or spawn the work with a [shared permit](Self::share_permit). Requests that
    /// are not tracked end with the process, and their clients get nothing.
    ///
    /// The method is truncated to 20 bytes and the path, without the query, to 128. Memory is allocated in chunks of 64
    /// requests per core (16 KiB), reused, and never freed. Exempt requests and upgraded connections are not tracked, nor
    /// is a request that waits until the inner service is ready.
    ///
    /// # Examples
    ///
    /// ```
    /// # let drain = tower_drain::Drain::new();
    /// let layer = drain.layer().track_requests();
    /// # let _ = tower_layer::Layer::layer(&layer, ());
    /// ```
    pub fn track_requests(mut self) -> Self {
        self.track_requests = true;
        self
    }

    /// Ends the responses for which `choose` returns true, each at a [`goodbye`](Drain::goodbye) of its own: in the second
    /// half of the lame duck, and with [`Phase::Closing`](crate::Phase::Closing) at the latest. Endless streams, such as
    /// server-sent events, would otherwise keep a shutdown waiting until its deadline.
    ///
    /// `choose` is called once for each response without a `Content-Length`, with the request's method and URI and the
    /// head of the response. [`is_event_stream`](crate::is_event_stream) chooses what an `EventSource` gets, which then
    /// reconnects to another server. For other endless streams, choose by the path, or let the handler put a marker into
    /// the response's extensions.
    ///
    /// **Do not choose a stream that has an end.** The answers of language models and of MCP servers are
    /// `text/event-stream` too. If one is cut off, the client gets a complete response without a result.
    ///
    /// `choose` is a function, or a closure that captures nothing. A later call replaces it.
    ///
    /// A chosen body ends after the current frame, as if the handler had ended it. Later frames may be
    /// dropped, even if they are ready. A gRPC response on HTTP/2 ends with its own trailers if they are
    /// ready, or else with status 14, `UNAVAILABLE`; so do not choose unary calls. Responses with a known
    /// length are never ended. If a shutdown is forced before the goodbye, tracked streams are cut off. Add a compression
    /// layer outside of this layer, so that it can finish its output.
    ///
    /// A server does not poll the body while its client reads nothing, so such a stream is in flight until the deadline. On
    /// HTTP/1, a client that comes back on the same connection reaches the same server once more, because the head of the
    /// first response was sent before the server had to leave.
    ///
    /// With this setting, each request allocates a few times, because its method and URI are kept until the response is
    /// there. Without it, requests pay nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, response::Sse, routing::get};
    /// use tower_drain::is_event_stream;
    ///
    /// # use axum::response::sse::Event;
    /// # type Events = tokio_stream::Pending<Result<Event, std::convert::Infallible>>;
    /// # let drain = tower_drain::Drain::new();
    /// # let events = || async { Sse::new(tokio_stream::pending()) as Sse<Events> };
    /// let app: Router = Router::new()
    ///     .route("/events", get(events))
    ///     .layer(drain.layer().end_streams(is_event_stream));
    ///
    /// // Event streams but one that has an end, and a stream of gRPC:
    /// let layer = drain.layer().end_streams(|method, uri, head| match uri.path() {
    ///     "/import/progress" => false,
    ///     "/news.News/Subscribe" => true,
    ///     _ => is_event_stream(method, uri, head),
    /// });
    /// # let _ = layer;
    /// ```
    pub fn end_streams(mut self, choose: fn(&Method, &Uri, &response::Parts) -> bool) -> Self {
        self.settings.end_streams = Some(choose);
        self
    }
}

impl Drain {
    /// Returns a layer that counts requests for this drain: [`DrainLayer::new`].
    pub fn layer(&self) -> DrainLayer {
        DrainLayer::new(self)
    }
}

impl<S, R: Clone, E: Clone> Layer<S> for DrainLayer<R, E> {
    type Service = DrainService<S, R, E>;

    fn layer(&self, inner: S) -> Self::Service {
        DrainService {
            inner,
            gate: self.drain.gate(),
            registry: self.track_requests.then(|| self.drain.registry()),
            settings: self.settings,
            refuse: self.refuse.clone(),
            exempt: self.exempt.clone(),
            is_fresh: false,
            waiting: None,
            must_refuse: false,
        }
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
