//! Recipes for combining this crate with other libraries. This module has documentation only.
//!
//! # Tokens and tasks
//!
//! **A [`CancellationToken`] starts the shutdown.** Anything that resolves can:
//!
//! ```no_run
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! use tokio_util::sync::CancellationToken;
//! use tower_drain::{Drain, Shutdown};
//!
//! # async fn example(app: Router, listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let token = CancellationToken::new(); // elsewhere: token.cancel()
//! Shutdown::new(&drain, token.clone().cancelled_owned())
//!     // First polled when the shutdown starts: a Ctrl-C that cancelled the token does not force it.
//!     .force_on(tokio::signal::ctrl_c())
//!     .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! **Tasks end on a token, after the requests.** Cancel it when [`Shutdown::run`] has returned, and bound the
//! wait for a [`TaskTracker`]. A task that requests depend on lives until then; one that takes new work of its
//! own should watch [`Drain::closing`] instead, and hold a [`Permit`] for each piece of work:
//!
//! ```
//! # use std::time::Duration;
//! # async fn serve() {}
//! use tokio::time::timeout;
//! use tokio_util::sync::CancellationToken;
//! use tokio_util::task::TaskTracker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
//! let stopped = stop.child_token();
//! tasks.spawn(async move { stopped.cancelled().await });
//!
//! serve().await; // the shutdown
//! stop.cancel();
//! tasks.close();
//! if timeout(Duration::from_secs(5), tasks.wait()).await.is_err() {
//!     eprintln!("{} tasks have not ended", tasks.len());
//! }
//! # }
//! ```
//!
//! # A queue inside the process
//!
//! If handlers queue jobs for a worker, send a permit with each job. The drain then waits for the jobs too. Let the
//! worker run until [`Shutdown::run`] has returned, not only until the server closes:
//!
//! ```
//! # use axum::{Extension, Router, routing::post};
//! # use tokio::sync::mpsc;
//! use tower_drain::{Drain, Permit};
//!
//! async fn work(mut jobs: mpsc::Receiver<(u32, Permit)>) {
//!     while let Some((job, permit)) = jobs.recv().await {
//!         println!("job {job}");
//!         drop(permit);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let drain = Drain::new();
//! let (queue, jobs) = mpsc::channel(100);
//! tokio::spawn(work(jobs));
//! let enqueue = async move |Extension(permit): Extension<Permit>| {
//!     let _ = queue.send((7, permit)).await;
//! };
//! let app: Router = Router::new()
//!     .route("/jobs", post(enqueue))
//!     .layer(drain.layer().share_permit());
//! # }
//! ```
//!
//! # WebSockets, event streams, long polls
//!
//! See [`long_lived`]: a few lines for each kind of work that has no end of its own.
//!
//! # What comes after `run`
//!
//! A request that timed out, or a connection that was abandoned, lives until the process ends, with its clone of
//! the app and everything in it: channel senders, pools, handles. Code that waits for the last of these never
//! returns: a worker that waits until its channel is closed, `Pool::close`, a `join!` with such a task. So set a
//! timeout for each step after `run`. After [`Shutdown::on_signal`](crate::Shutdown::on_signal), further signals do
//! not terminate the process.
//!
//! `#[tokio::main]` waits for `spawn_blocking` without a limit when `main` returns. Exit explicitly, with the
//! error's message and a code; `{:#}` shows the whole chain of an [`anyhow`] error:
//!
//! ```no_run
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! # use tower_drain::{Drain, Shutdown};
//! async fn serve() -> anyhow::Result<()> {
//!     let drain = Drain::new();
//! #   let (app, stop) = (Router::new(), async {});
//!     let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!     Shutdown::new(&drain, stop)
//!         .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
//!         .await?;
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() {
//!     let outcome = serve().await;
//!     if let Err(error) = &outcome {
//!         eprintln!("{error:#}");
//!     }
//!     std::process::exit(outcome.is_err().into())
//! }
//! ```
//!
//! Or build the runtime yourself, and end it with [`Runtime::shutdown_timeout`].
//!
//! # Other signals
//!
//! [`Shutdown::on_signal`](crate::Shutdown::on_signal) knows SIGINT and SIGTERM. Here SIGHUP stops the server too:
//!
//! ```no_run
//! # #[cfg(all(unix, feature = "signal"))]
//! # async fn example() -> std::io::Result<()> {
//! use tokio::signal::unix::{SignalKind, signal};
//! use tower_drain::{Drain, Shutdown, Signal};
//!
//! let drain = Drain::new();
//! let mut hangup = signal(SignalKind::hangup())?;
//! let on = async move {
//!     tokio::select! {
//!         signal = tower_drain::signal::shutdown() => signal,
//!         _ = hangup.recv() => Signal::Terminate,
//!     }
//! };
//! let shutdown = Shutdown::new(&drain, on).force_on(tokio::signal::ctrl_c());
//! # let _ = shutdown;
//! # Ok(())
//! # }
//! ```
//!
//! Create `signal::shutdown()` outside of the block if signals may come before `run`.
//!
//! # A Windows service
//!
//! The service manager asks a service to stop through its control handler, and no signal arrives. Let the handler send
//! it on, for `Stop` and `Shutdown`, and report `StopPending` with a wait hint that is longer than the shutdown may
//! take. After `run`, report `Stopped`. (The names are those of the crate `windows-service`.)
//!
//! ```no_run
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! use tokio::sync::mpsc;
//! use tower_drain::{Drain, Shutdown};
//!
//! # async fn example(app: Router, listener: TcpListener) -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let (stop, mut stopped) = mpsc::channel::<()>(1);
//! let on_control = move || stop.try_send(()); // called by the control handler, perhaps twice
//! # let _ = on_control;
//! Shutdown::new(&drain, async move { drop(stopped.recv().await) })
//!     .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
//!     .await?;
//! # Ok(())
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
//!     .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The order of layers
//!
//! - **Outermost.** The drain does not wait for layers outside of its own. So add it outside of timeouts,
//!   authentication and compression, and around the routes of the whole application: in axum, as the last
//!   `.layer` of the outermost router. Apply it once per request path.
//! - **CORS and gRPC-Web outside of it.** A browser cannot read a refusal without the headers of a CORS layer,
//!   and a gRPC-Web client cannot read one that `tonic_web` has not translated. So add them after this layer:
//!
//!   ```
//!   # use axum::{Router, routing::get};
//!   use tower_drain::Drain;
//!   use tower_http::cors::CorsLayer;
//!
//!   let drain = Drain::new();
//!   let app: Router = Router::new()
//!       .route("/", get(|| async { "hello" }))
//!       .layer(drain.layer())
//!       .layer(CorsLayer::permissive()) // added later: outside
//!       .route_service("/readyz", drain.readiness());
//!   ```
//! - **Logging outside of it too**, if it should show refusals. Readiness outside of logging, because a probe that
//!   gets a 503 is not an error.
//! - **Nested routers.** `Router::nest` strips the prefix from the path that inner layers see. Tracked requests
//!   then have a name without it. The layer of the outermost router sees the whole path.
//! - **Services other than `Router`.** `axum::serve` wants a response with axum's body:
//!   `ServiceBuilder::new().map_response(|response: Response<_>| response.map(Body::new)).layer(drain.layer())`.
//!
//! # A drain per tenant
//!
//! Drains are independent, and layers of different drains may be nested. A permit that both share belongs to both. Here
//! a tenant is taken out of service while the others go on:
//!
//! ```
//! use std::collections::HashMap;
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tower_drain::{Drain, Unfinished};
//!
//! fn tenants(names: &[&str]) -> (Router, HashMap<String, Drain>) {
//!     let mut app = Router::new();
//!     let mut drains = HashMap::new();
//!     for name in names {
//!         let drain = Drain::new();
//!         let routes = Router::new()
//!             .route("/", get(|| async { "hello" }))
//!             .layer(drain.layer());
//!         app = app.nest(&format!("/{name}"), routes);
//!         drains.insert((*name).to_owned(), drain);
//!     }
//!     (app, drains) // and the server's own drain around `app`
//! }
//!
//! async fn remove(tenant: &Drain) -> Result<(), Unfinished> {
//!     // Refuses the tenant's new requests from here on.
//!     tenant.drain(Duration::from_secs(10)).await?;
//!     // Nothing of the tenant is in flight: its database can be closed.
//!     Ok(())
//! }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let (_app, drains) = tenants(&["a", "b"]);
//! # remove(&drains["a"]).await.unwrap();
//! # assert!(drains["b"].is_ready());
//! # }
//! ```
//!
//! # TLS on an accept loop
//!
//! With tokio-rustls on hyper-util, do the handshake in the connection's own task, so that a slow client does not
//! keep others from being accepted. [`Drain::watch`](crate::Drain::watch) does not cover the
//! handshake, so the server waits for these tasks itself. A handshake that is not complete when draining starts
//! is dropped, because its client has sent no request:
//!
//! ```
//! # #[cfg(feature = "hyper-util")]
//! # mod example {
//! # use std::{io, pin::pin};
//! # use axum::Router;
//! # use hyper_util::rt::{TokioExecutor, TokioIo};
//! # use hyper_util::server::conn::auto;
//! # use hyper_util::service::TowerToHyperService;
//! # use tokio::net::{TcpListener, TcpStream};
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
//!     let stream = tokio::select! {
//!         stream = tls.accept(stream) => stream?,
//!         () = drain.draining() => return Ok(()),
//!     };
//!     let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
//!     let mut builder = auto::Builder::new(TokioExecutor::new());
//!     if is_http2 {
//!         builder = builder.http2_only();
//!     }
//!     let service = TowerToHyperService::new(app);
//!     let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
//!     let mut connection = drain.watch(connection.into_owned());
//!     if is_http2 {
//!         connection = connection.spread_goodbye();
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
//! ) -> io::Result<()> {
//!     // Builds the routes once, as `axum::serve` does. Without this, axum builds them for each request.
//!     let app: Router = app.with_state(());
//!     let tasks = TaskTracker::new();
//!     let mut closing = pin!(closing);
//!     loop {
//!         let (stream, _) = tokio::select! {
//!             accepted = listener.accept() => accepted?,
//!             () = &mut closing => break,
//!         };
//!         tasks.spawn(serve(tls.clone(), stream, app.clone(), drain.clone()));
//!     }
//!     drop(listener);
//!     tasks.close();
//!     tasks.wait().await;
//!     Ok(())
//! }
//! # }
//! ```
//!
//! With axum-server, see `examples/tls.rs`.
//!
//! # Several servers, sockets of other kinds
//!
//! Bind all listeners first, pass each to `Shutdown::listener`, and then to its server, including listeners that
//! you wrap later (`tap_io`, `TcpListenerStream`) or serve from another function. `examples/two_servers.rs`
//! runs HTTP and gRPC under one shutdown, `examples/unix_socket.rs` serves on a Unix socket.
//!
//! [`CancellationToken`]: https://docs.rs/tokio-util/latest/tokio_util/sync/struct.CancellationToken.html
//! [`TaskTracker`]: https://docs.rs/tokio-util/latest/tokio_util/task/struct.TaskTracker.html
//! [`Shutdown::run`]: crate::Shutdown::run
//! [`Drain::closing`]: crate::Drain::closing
//! [`Permit`]: crate::Permit
//! [`anyhow`]: https://docs.rs/anyhow
//! [`Runtime::shutdown_timeout`]: https://docs.rs/tokio/latest/tokio/runtime/struct.Runtime.html#method.shutdown_timeout

pub mod long_lived;
