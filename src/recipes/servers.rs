//! Servers: several, of other crates, and accept loops of your own.
//!
//! Bind all listeners first, pass each to [`Shutdown::listener`](crate::Shutdown::listener), and then to its server.
//! That includes listeners that you wrap later (`tap_io`, `TcpListenerStream`) or serve from another function.
//!
//! # Two servers
//!
//! Two ports that close together, and whose requests are both waited for. (One for probes, metrics or a status page should
//! not close: see [a port that stays open](#a-port-that-stays-open).)
//!
//! One drain, a layer for each. Both get `closing`. If one fails, the other one is dropped, the shutdown starts, and requests
//! in flight on both are waited for:
//!
//! ```no_run
//! use std::future::IntoFuture; // the 2024 edition has it
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! # use tower_drain::{Drain, Shutdown};
//! # async fn example(public: Router, internal: Router, port: TcpListener, internal_port: TcpListener, stop: impl Future<Output = ()>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! Shutdown::new(&drain, stop)
//!     .listener(&port)?
//!     .listener(&internal_port)?
//!     .run(async |closing| {
//!         let public = axum::serve(port, public.layer(drain.layer()));
//!         let public = public.with_graceful_shutdown(closing.clone());
//!         let internal = axum::serve(internal_port, internal.layer(drain.layer()));
//!         let internal = internal.with_graceful_shutdown(closing);
//!         tokio::try_join!(public.into_future(), internal.into_future()).map(|_| ())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! If their errors differ, `async { server.await.map_err(BoxError::from) }` makes them the same:
//! `examples/two_servers.rs` does so for axum and tonic.
//!
//! # A port that stays open
//!
//! Probes, metrics and a status page should answer to the end. Spawn their server before `run`, and pass its listener to
//! nothing. It ends with the process:
//!
//! ```no_run
//! # async fn example(drain: tower_drain::Drain) -> std::io::Result<()> {
//! # use axum::{Router, routing::get};
//! let status = drain.clone();
//! let admin = Router::new()
//!     .route_service("/readyz", drain.readiness())
//!     .route("/livez", get(|| async { "alive\n" }))
//!     .route("/status", get(async move || format!("{:?}\n", status.status())));
//! let port = tokio::net::TcpListener::bind("0.0.0.0:9090").await?;
//! tokio::spawn(axum::serve(port, admin).into_future()); // of `std::future::IntoFuture`
//! # Ok(())
//! # }
//! ```
//!
//! With a layer of the drain around some of its routes, their requests are waited for, too.
//!
//! # tonic and axum on one port
//!
//! tonic's routes become a part of axum's router (with axum's feature `http2`), and the layer goes around both. The health service is what readiness is
//! to HTTP: it says NOT_SERVING from the lame duck on. It is exempt, because its `Watch` never ends, and it is cleared in
//! closing, which ends each `Watch`. Forget that, and each deploy waits for [`flush`](crate::Shutdown::flush).
//!
//! ```no_run
//! # use axum::{Router, routing::get};
//! # use tokio::net::TcpListener;
//! use tonic::service::Routes;
//! use tonic_health::ServingStatus;
//! use tower_drain::{Drain, Phase, Shutdown};
//!
//! # async fn example(listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let (mut health, health_service) = tonic_health::server::health_reporter();
//! let leaving = drain.clone();
//! tokio::spawn(async move {
//!     let services = [""]; // the whole server; and `GreeterServer::<()>::NAME`, if it is checked by name
//!     leaving.reached(Phase::LameDuck).await;
//!     for service in services {
//!         health.set_service_status(service, ServingStatus::NotServing).await;
//!     }
//!     leaving.closing().await;
//!     for service in services {
//!         health.clear_service_status(service).await;
//!     }
//! });
//! let grpc = Routes::new(health_service); // .add_service(GreeterServer::new(..))
//! let app = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .merge(grpc.into_axum_router().reset_fallback()); // unknown paths get axum's 404
//! let is_check =
//!     |request: &axum::extract::Request| request.uri().path().starts_with("/grpc.health.v1.");
//! Shutdown::new(&drain, stop)
//!     .listener(&listener)?
//!     .run(|closing| {
//!         let app = app.layer(drain.layer().exempt(is_check));
//!         axum::serve(listener, app).with_graceful_shutdown(closing)
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # axum-server
//!
//! Its `Handle` takes the place of `with_graceful_shutdown`, and needs no deadline, because the shutdown has one:
//!
//! ```no_run
//! # use axum::Router;
//! use axum_server::Handle;
//! # use axum_server::tls_rustls::RustlsConfig;
//! # use tower_drain::{Drain, Shutdown};
//!
//! # async fn example(app: Router, tls: RustlsConfig, stop: impl Future<Output = ()>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let listener = std::net::TcpListener::bind("0.0.0.0:8443")?;
//! listener.set_nonblocking(true)?;
//! let shutdown = Shutdown::new(&drain, stop).listener(&listener)?;
//! let server = axum_server::from_tcp_rustls(listener, tls)?; // or `from_tcp(listener)`
//! shutdown
//!     .run(|closing| {
//!         let handle = Handle::new();
//!         let leave = handle.clone();
//!         tokio::spawn(async move {
//!             closing.await;
//!             leave.graceful_shutdown(None);
//!         });
//!         let app = app.layer(drain.layer());
//!         server.handle(handle).serve(app.into_make_service())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! It closes connections that have sent no request when it is asked to close, and to the kernel a TLS handshake is data
//! like a request: [`settle`](crate::Shutdown::settle) does not wait for the request after it. If distant clients connect
//! directly, set `settle(Duration::from_secs(1))`, or use the accept loop with TLS below. A peer that never completes its
//! handshake costs [`flush`](crate::Shutdown::flush).
//!
//! # An accept loop
//!
//! With the feature `hyper-util`, [`Drain::watch`](crate::Drain::watch) asks each connection to leave, gives a new one a
//! second for its first request, and closes what is left at the deadline. The shutdown runs beside the loop. It waits for
//! the watched connections, so `closing` is all that it needs of a server:
//!
//! ```no_run
//! # #[cfg(feature = "hyper-util")]
//! # mod example {
//! # use std::pin::pin;
//! # use std::time::Duration;
//! # use axum::Router;
//! use hyper_util::rt::{TokioExecutor, TokioIo};
//! use hyper_util::server::conn::auto;
//! use hyper_util::service::TowerToHyperService;
//! # use tokio::net::TcpListener;
//! # use tokio::time::sleep;
//! # use tower_drain::{Drain, Shutdown};
//!
//! # async fn example(app: Router, listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! // Builds the routes once, as `axum::serve` does. Without this, axum builds them for each request.
//! let app: Router = app.layer(drain.layer()).with_state(());
//! let server = auto::Builder::new(TokioExecutor::new());
//! let shutdown = tokio::spawn(Shutdown::new(&drain, stop).run(|closing| closing));
//! let mut closing = pin!(drain.closing());
//! loop {
//!     let accepted = tokio::select! {
//!         accepted = listener.accept() => accepted,
//!         () = &mut closing => break,
//!     };
//!     let Ok((stream, _)) = accepted else {
//!         sleep(Duration::from_millis(100)).await; // no descriptor is left, or the client has gone
//!         continue;
//!     };
//!     let service = TowerToHyperService::new(app.clone());
//!     let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service);
//!     tokio::spawn(drain.watch(connection.into_owned()));
//! }
//! drop(listener); // closes the port
//! shutdown.await??;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! `examples/hyper.rs` is the whole program, with a timeout for request heads and with keep-alive pings. Around the whole
//! router, `drain.layer().layer(app.with_state(()))`, the layer costs less than `app.layer(..)`.
//!
//! # hyper's `service_fn`
//!
//! The layer wraps tower services. tower's own `service_fn` takes the same function as hyper's, and
//! `drain.layer().layer(tower::service_fn(answer))` takes the place of `app` above. Without the crate tower, a few lines
//! make a tower service of hyper's:
//!
//! ```
//! use std::task::{Context, Poll};
//!
//! use hyper::service::{Service, service_fn};
//! use tower_drain::{Drain, DrainService};
//! # use http::{Request, Response};
//!
//! #[derive(Clone)]
//! struct Tower<S>(S);
//!
//! impl<S: Service<R>, R> tower_service::Service<R> for Tower<S> {
//!     type Response = S::Response;
//!     type Error = S::Error;
//!     type Future = S::Future;
//!
//!     fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//!         Poll::Ready(Ok(())) // hyper's services have no backpressure
//!     }
//!
//!     fn call(&mut self, request: R) -> S::Future {
//!         self.0.call(request)
//!     }
//! }
//!
//! # async fn answer(_: Request<hyper::body::Incoming>) -> Result<Response<String>, std::convert::Infallible> {
//! #     Ok(Response::new("hello".into()))
//! # }
//! # let drain = Drain::new();
//! let service = DrainService::new(Tower(service_fn(answer)), &drain);
//! // For each connection: `TowerToHyperService::new(service.clone())`
//! # let _ = hyper_util::service::TowerToHyperService::new(service.clone());
//! ```
//!
//! # An accept loop with TLS
//!
//! With tokio-rustls on hyper-util (feature `hyper-util`), do the handshake in the connection's own task, so that a slow
//! client does not keep others from being accepted. [`Drain::watch`](crate::Drain::watch) does not cover the handshake, so
//! the server waits for these tasks itself. A handshake that is not complete a second after the server was asked to close is
//! dropped: its client has sent no request.
//!
//! ```
//! # #[cfg(feature = "hyper-util")]
//! # mod example {
//! # use std::{pin::pin, time::Duration};
//! # use axum::Router;
//! # use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
//! # use hyper_util::server::conn::auto;
//! # use hyper_util::service::TowerToHyperService;
//! # use tokio::net::{TcpListener, TcpStream};
//! # use tokio::time::{sleep, timeout};
//! use tokio_rustls::TlsAcceptor;
//! use tokio_util::task::TaskTracker;
//! # use tower_drain::{BoxError, Drain, Reached};
//!
//! async fn serve(
//!     tls: TlsAcceptor,
//!     stream: TcpStream,
//!     app: Router,
//!     drain: Drain,
//! ) -> Result<(), BoxError> {
//!     let leaving = async {
//!         drain.closing().await;
//!         sleep(Duration::from_secs(1)).await;
//!     };
//!     let stream = tokio::select! {
//!         stream = timeout(Duration::from_secs(10), tls.accept(stream)) => stream??,
//!         () = leaving => return Ok(()),
//!     };
//!     let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
//!     let mut builder = auto::Builder::new(TokioExecutor::new());
//!     if is_http2 {
//!         builder = builder.http2_only();
//!     }
//!     // A request head has 30 s, and a peer that has gone is noticed.
//!     builder.http1().timer(TokioTimer::new());
//!     let interval = Duration::from_secs(20);
//!     builder.http2().timer(TokioTimer::new()).keep_alive_interval(interval);
//!     let service = TowerToHyperService::new(app);
//!     let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
//!     let mut connection = drain.watch(connection.into_owned());
//!     if is_http2 {
//!         connection = connection.spread_goodbye(); // GOAWAYs one by one, in the lame duck
//!     }
//!     connection.await
//! }
//!
//! // In `run(|closing| accept(listener, tls, app, drain.clone(), closing))`.
//! async fn accept(
//!     listener: TcpListener,
//!     tls: TlsAcceptor,
//!     app: Router, // with the layer of `drain`
//!     drain: Drain,
//!     closing: Reached,
//! ) {
//!     // Builds the routes once, as `axum::serve` does. Without this, axum builds them for each request.
//!     let app: Router = app.with_state(());
//!     let tasks = TaskTracker::new();
//!     let mut closing = pin!(closing);
//!     loop {
//!         let accepted = tokio::select! {
//!             accepted = listener.accept() => accepted,
//!             () = &mut closing => break,
//!         };
//!         let Ok((stream, _)) = accepted else {
//!             sleep(Duration::from_millis(100)).await; // no descriptor is left, or the client has gone
//!             continue;
//!         };
//!         let served = serve(tls.clone(), stream, app.clone(), drain.clone());
//!         tasks.spawn(async {
//!             if let Err(error) = served.await {
//!                 tracing::debug!("connection: {error}");
//!             }
//!         });
//!     }
//!     drop(listener);
//!     tasks.close();
//!     tasks.wait().await;
//! }
//! # }
//! ```
//!
//! # A port without Linux
//!
//! [`Shutdown::listener`](crate::Shutdown::listener) needs Linux: elsewhere, new connections are reset as without it. If
//! clients connect directly, there are two ways, which lose hardly anything:
//!
//! - An accept loop with [`Drain::watch`](crate::Drain::watch), as in `examples/hyper.rs`: each new connection gets a
//!   second for its first request.
//! - A server that stops accepting when the lame duck begins, and serves those that have connected for the rest of it.
//!   New connections are refused from then on, so this is not for servers behind a load balancer. For axum:
//!
//! ```no_run
//! use std::future::pending;
//! use std::io;
//! use std::net::SocketAddr;
//! use std::time::Duration;
//!
//! # use axum::Router;
//! use axum::serve::Listener;
//! use tokio::net::{TcpListener, TcpStream};
//! use tower_drain::{Drain, Phase, Shutdown};
//!
//! /// Accepts until the lame duck begins, then closes the port.
//! struct UntilLameDuck {
//!     listener: Option<TcpListener>,
//!     /// What had connected before the port was closed.
//!     waiting: Vec<(TcpStream, SocketAddr)>,
//!     drain: Drain,
//! }
//!
//! impl Listener for UntilLameDuck {
//!     type Io = TcpStream;
//!     type Addr = SocketAddr;
//!
//!     async fn accept(&mut self) -> (TcpStream, SocketAddr) {
//!         if let Some(listener) = &mut self.listener {
//!             tokio::select! {
//!                 biased;
//!                 () = self.drain.reached(Phase::LameDuck) => {}
//!                 accepted = Listener::accept(listener) => return accepted,
//!             }
//!         }
//!         if let Some(Ok(listener)) = self.listener.take().map(TcpListener::into_std) {
//!             while let Ok((stream, address)) = listener.accept() {
//!                 let stream = stream.set_nonblocking(true).and(TcpStream::from_std(stream));
//!                 self.waiting.extend(stream.ok().map(|stream| (stream, address)));
//!             }
//!         }
//!         match self.waiting.pop() {
//!             Some(accepted) => accepted,
//!             None => pending().await,
//!         }
//!     }
//!
//!     fn local_addr(&self) -> io::Result<SocketAddr> {
//!         let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?;
//!         listener.local_addr()
//!     }
//! }
//!
//! # async fn example(app: Router, stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let listener = TcpListener::bind("0.0.0.0:8080").await?;
//! let listener = UntilLameDuck { listener: Some(listener), waiting: Vec::new(), drain: drain.clone() };
//! Shutdown::new(&drain, stop)
//!     .lame_duck(Duration::from_secs(1)) // longer than clients take to send their first request
//!     .run(|closing| {
//!         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
