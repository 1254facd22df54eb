//! Graceful shutdown for tower, axum, tonic and hyper: no request is lost.
//!
//! [`DrainLayer`] counts the requests in flight, until their response bodies are dropped, and refuses new requests
//! once draining has started. Its handle, [`Drain`], returns a future that resolves when no request is left or
//! the time is up. It is a tower layer, for axum, tonic and hyper. [`Shutdown`] runs the sequence around it:
//! signal, lame duck (not ready, still serving), close, drain.
//!
//! # axum
//!
//! `cargo add tower-drain --features listener,signal,tracing`. The layer goes on where the server is made, so that it covers every
//! route:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_drain::{Drain, Shutdown};
//!
//! # #[cfg(all(feature = "signal", feature = "listener"))]
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let drain = Drain::new();
//!     let shutdown = Shutdown::on_signal(&drain) // SIGTERM or Ctrl-C, from here on
//!         .lame_duck(Duration::from_secs(10))
//!         .timeout(Duration::from_secs(20));
//!
//!     let app = Router::new().route("/", get(|| async { "hello" }));
//!     let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!     shutdown
//!         .listener(&listener)?
//!         .run(|closing| {
//!             let app = app
//!                 .layer(drain.layer())
//!                 .route_service("/readyz", drain.readiness());
//!             axum::serve(listener, app).with_graceful_shutdown(closing)
//!         })
//!         .await?;
//!     Ok(())
//! }
//! # #[cfg(not(all(feature = "signal", feature = "listener")))]
//! # fn main() {}
//! ```
//!
//! | for | see |
//! |---|---|
//! | what happens when, and how long it may take | [`Shutdown`] |
//! | a test of your own service | [`recipes::testing`] |
//! | two servers, tonic and axum on one port, axum-server, TLS, an accept loop | [`recipes::servers`] |
//! | workers, jobs, tokens | [`recipes::tasks`] |
//! | exit codes, the last lines of a log, other signals | [`recipes::process`] |
//! | WebSockets, event streams, answers of language models, MCP | [`recipes::long_lived`] |
//! | CORS, tracing, compression, timeouts: in which order | [`recipes`](recipes#the-order-of-layers) |
//! | which request holds up the shutdown | [`DrainLayer::track_requests`] |
//!
//! # tonic
//!
//! Add the layer to tonic's server. A refused call gets status 14, `UNAVAILABLE`, which clients with a retry
//! policy send to another server. tonic's channel has none. When a GOAWAY arrives, it fails the calls that it has
//! queued and not sent, with any server; retry these in the client. [Server streams](recipes::long_lived#grpc-streams)
//! that end save some of them.
//!
//! A health service has a call without an end, `Watch`. Exempt it, report NOT_SERVING from the lame duck on, and clear its
//! statuses in closing: [a recipe](recipes::servers#tonic-and-axum-on-one-port) does so, and `examples/tonic.rs`.
//!
//! ```no_run
//! # #[cfg(all(feature = "signal", feature = "listener"))]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! # let (_, service) = tonic_health::server::health_reporter();
//! use http::Request;
//! use tokio::net::TcpListener;
//! use tokio_stream::wrappers::TcpListenerStream;
//! use tonic::body::Body;
//! use tower_drain::{Drain, Shutdown};
//!
//! let drain = Drain::new();
//! let shutdown = Shutdown::on_signal(&drain);
//! let health = |call: &Request<Body>| call.uri().path().starts_with("/grpc.health.v1.");
//! let server = tonic::transport::Server::builder()
//!     .layer(drain.layer().exempt(health))
//!     .add_service(service);
//! let listener = TcpListener::bind("0.0.0.0:50051").await?;
//! let shutdown = shutdown.listener(&listener)?;
//! let incoming = TcpListenerStream::new(listener);
//! shutdown
//!     .run(|closing| server.serve_with_incoming_shutdown(incoming, closing))
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # hyper
//!
//! In an accept loop of your own, [`Drain::watch`] (feature `hyper-util`) asks each connection to leave, and closes the rest
//! at the deadline: `tokio::spawn(drain.watch(connection))`. [A recipe](recipes::servers#an-accept-loop) has the loop, and
//! `examples/hyper.rs` the whole program.
//!
//! # Phases
//!
//! ```text
//!       lame_duck()       close()       start_draining()       last permit
//! Serving ──────▶ LameDuck ────▶ Closing ────────────▶ Draining ──────▶ Drained
//!    ▲─── resume() ──┘
//! ```
//!
//! A call may skip phases: `close()` works from `Serving`, `start_draining()` from any phase, and with
//! nothing in flight it goes straight to `Drained`.
//!
//! | | Serving | LameDuck | Closing | Draining | Drained |
//! |---|---|---|---|---|---|
//! | [`readiness()`](Drain::readiness) | 200 | 503 | 503 | 503 | 503 |
//! | the server | accepts | accepts | asked to close: port, idle connections, GOAWAY | same | same |
//! | a new request | served | served | served | refused, 503 | refused, 503 |
//! | HTTP/1 response heads | untouched | `Connection: close` | `Connection: close` | `Connection: close` | `Connection: close` |
//! | [`try_acquire()`](Drain::try_acquire) | `Ok` | `Ok` | `Ok` | `Err` | `Err` |
//!
//! `Closing` exists because an HTTP/2 client learns of a GOAWAY one round trip late. If the server refused new
//! requests at once, those that the client sends until then would fail. So the server sends the GOAWAY first,
//! and refuses requests later.
//!
//! # Which case is yours
//!
//! | clients connect | what to use |
//! |---|---|
//! | in Kubernetes, which removes endpoints at deletion | [`lame_duck`](Shutdown::lame_duck) for the time in which endpoints, ingress and resolvers drop the pod, and [`listener`](Shutdown::listener). A route for [`Drain::readiness`]. No [`min_failed_probes`](Shutdown::min_failed_probes) and no [`quiet_period`](Shutdown::quiet_period): the pod cannot see whether all have noticed |
//! | through a load balancer that checks readiness: HAProxy, Envoy | a route for [`Drain::readiness`], [`lame_duck`](Shutdown::lame_duck) with [`min_failed_probes`](Shutdown::min_failed_probes) and [`quiet_period`](Shutdown::quiet_period), and [`listener`](Shutdown::listener) |
//! | directly, or through a sidecar, a gRPC channel or nginx, outside Kubernetes | [`listener`](Shutdown::listener), and a [`lame_duck`](Shutdown::lame_duck) longer than the pauses of keep-alive clients, or none if they pause for less than `settle` |
//! | to one port on one machine, where the next process takes over | a socket that outlives the process, or two processes on one port, see below |
//!
//! `listener` and `settle` are methods of [`Shutdown`], with the feature `listener`. They close the port without
//! resetting a connection. From the lame duck on, each response asks an HTTP/1 client to close its connection.
//! If a connection is idle when the server closes, the request that its client sends at that moment is lost, as
//! with any server. So if clients pause for longer than `settle`, set a lame duck that is longer than their
//! pauses. On a network that loses segments, a lame duck of a second or more also covers keep-alive clients whose
//! request has to be sent again.
//!
//! **A socket that outlives the process.** With socket activation, systemd owns the port and passes it to each
//! process. At the signal the old process stops accepting, finishes its requests and exits. New connections wait
//! in the socket's queue for the next process, and none is refused. `examples/systemd.rs` shows this, with its
//! units. Do not pass such a socket to `listener`, because another process continues to use it. Set a short
//! lame duck instead (two seconds), and stop accepting when it begins.
//!
//! A crate that restarts in place, such as `ecdysis`, passes the sockets to its child, and starts the child before
//! the old process stops. New connections do not wait. Pass its upgrade future to [`Shutdown::new`], and
//! let it handle the signals. Its stream of connections ends at the upgrade. Keep the accept loop pending
//! then: if the server returns, the lame duck and closing are skipped. `examples/restart_in_place.rs` is the whole
//! program.
//!
//! **Two processes on one port** (`SO_REUSEPORT`): start the new one, then stop the old one. With
//! `net.ipv4.tcp_migrate_req=1` (Linux 5.14), the kernel moves the queue of a listener that is closed to the other
//! one. So the old process closes its listener when the lame duck begins, and does not pass it to `listener`.
//! `examples/reuse_port.rs` shows this.
//!
//! # What is in flight
//!
//! A request is in flight from its arrival until its response body is dropped: because it was sent or cut off, the
//! client has gone, or the handler failed or panicked. It has arrived when the layer's service is called, or before
//! that when its clone of the service has to wait for the inner one: for a concurrency or rate limit, or a full
//! `Buffer`. So a request that waits when draining starts is served, however long that takes; one that arrives later is
//! refused at once. [`DrainService`] has the exact rule.
//!
//! Work that holds a [`Permit`] is in flight too. Requests that the layer [exempts](DrainLayer::exempt) are not once they
//! are called, nor is work that a handler spawns without a permit.
//!
//! # Work without an end
//!
//! WebSockets, event streams, long polls and jobs that hold a permit would keep a shutdown waiting until its deadline, and
//! if they all end together, all their clients reconnect together. Each ends at its [`goodbye`](Drain::goodbye): at a random
//! time in the second half of the lame duck, with `Closing` at the latest. [`recipes::long_lived`] has a few lines for each
//! kind: WebSockets, server-sent events, long polls, gRPC streams, MCP, Socket.IO, GraphQL subscriptions.
//!
//! # Zero in flight is not the end of the server
//!
//! hyper drops a response body when the last of it is in its write buffer. A last frame of 64 KiB or more stays in
//! flight until it is written, if it is [`Bytes`](bytes::Bytes) and the connection has vectored writes, as TCP and TLS
//! have; smaller ones, and other types of data, do not. So
//! [`Shutdown`] also waits, within the same timeout, until the server has flushed and closed its connections, and, with
//! [`listener`](Shutdown::listener) on Linux, until the clients' systems have acknowledged everything. If you use
//! the layer without it, wait for both: [`Drain::close`] shows how.
//!
//! # Requests that hold up a shutdown
//!
//! With [`DrainLayer::track_requests`], errors, events, [`Drain::requests`] and [`Drain::status`] name the
//! requests in flight. [`Drain::cancel`] cancels them, and a [`Shutdown`] does so at its deadline. Requests that
//! are not tracked end with the process. Other work that holds a permit is counted and has no name.
//!
//! # Limits
//!
//! - A response that is cut off on HTTP/1.0 looks complete. nginx speaks HTTP/1.0 to its upstreams unless
//!   `proxy_http_version 1.1` is set or its version is recent.
//! - To the kernel, a TLS handshake is data like a request. A client that has done one, and has not sent its first
//!   request when the server is asked to close, is lost, unless [`settle`](Shutdown::settle) is longer than it pauses, or
//!   the connection is [watched](Drain::watch) and it pauses for less than a second.
//! - A client that is uploading when it gets an early response may see the connection reset instead.
//! - While every worker thread is blocked, signals go unnoticed and deadlines are missed.
//! - Health checks and metrics that must be reachable to the end belong on a port of their own: spawn its server
//!   before `run`, and do not pass its listener to the shutdown. It ends with the process.
//! - hyper may reset an HTTP/2 connection that it closes while a large response is on its way to a slow client, with any
//!   server that shuts down gracefully: the client makes room for more (WINDOW_UPDATE), and the server's system answers
//!   with a reset. The client can then lose the end of the response.
//! - Peers that vanish without closing keep HTTP/2 connections open. Keep-alive pings end them: hyper's
//!   `http2().keep_alive_interval(..)`, tonic's `http2_keepalive_interval(..)`. [`Shutdown::flush`] bounds how
//!   long a shutdown waits for them.
//!
//! # Cost
//!
//! Two atomic operations per request, on a cache line that other threads rarely write, and no allocation, unless a request waits or ends with a large frame.
//! `src/gate/mod.rs` explains it, and `benches/README.md` has the measurements.
//!
//! # Features
//!
//! None is enabled by default.
//!
//! | feature | what it adds | dependencies |
//! |---|---|---|
//! | `signal` | [`Shutdown::on_signal`] and [`signal::shutdown`]: SIGINT and SIGTERM, or the console's events on Windows | tokio's `signal` |
//! | `listener` | [`Shutdown::listener`] and [`Shutdown::settle`], which close the port without resetting a connection. [It needs Linux](#platforms): elsewhere, new connections are reset as without it | rustix, socket2 (on Unix) |
//! | `hyper-util` | [`Drain::watch`], [`Drain::connections`] and [`Drain::close_connections`], for accept loops | hyper-util |
//! | `tracing` | events, see below | tracing |
//!
//! Events have the target `tower_drain`:
//!
//! | level | events |
//! |---|---|
//! | info | changes of phase, the start of a [`Shutdown`], a port that settles (also the lame duck, if there is no other), progress while it closes and drains (after 1, 2, 4, 8 and 16 seconds, later each half minute), and its end, unless it timed out or was forced |
//! | warn | a timeout, a forced stop, connections that were abandoned, clients that have not acknowledged everything, a drain that was closed before its shutdown |
//! | error | a server that failed |
//! | debug | each refusal; a port without a filter, or about which the kernel cannot be asked |
//!
//! Requests that are served cause no events. A process needs a subscriber to show them, such as
//! `tracing_subscriber::fmt().init()`. In "shutdown finished", `lame_duck` is the time from the signal to the close, with
//! `settle`; the other times count from the close.
//!
//! # Platforms
//!
//! Runs wherever tokio does, given 64-bit atomics: without them (mips, riscv32) it does not compile. There is no unsafe
//! code. "Each change" means that `.ci/run`, the project's gate, does it.
//!
//! | system | what is tested, and how | what the crate does not do there |
//! |---|---|---|
//! | Linux, x86_64 | each change: everything, with real processes, signals, load balancers and lossy networks | |
//! | Linux, others | each change: i686 and s390x (big-endian) compile. Compiled once: musl, aarch64, armv7 | |
//! | Android | compiled once | apps may not ask the kernel: `listener` takes fixed times |
//! | macOS, BSD, other Unix | each change: macOS (aarch64) compiles, with tests and examples, and the tests run on Linux without what only Linux has. Compiled once: FreeBSD | `listener`: new connections are reset as without it, see below |
//! | Windows | each change: it compiles, with tests and examples. The tests have been run under wine (`.ci/systems wine`), without the events of a console | `listener` and `settle` do nothing. No SIGTERM, but Ctrl-Break, close, logoff and shutdown: [`signal::shutdown`] |
//! | WebAssembly | nothing | there are no signals, and `listener` does not exist. On `wasm32-unknown-unknown`, the clock panics |
//!
//! **`listener` needs Linux: elsewhere, new connections are reset as without it.** Other kernels cannot be asked to stop
//! handshakes, nor what has reached the port. Clients that have just connected when the server is asked to close see a
//! reset. Behind a load balancer none connects then. For direct clients, an accept loop with [`Drain::watch`] helps, or
//! a server that stops accepting when the lame duck begins: [a recipe](recipes::servers#a-port-without-linux). `benches/README.md`
//! has the measurements.
//!
//! # Versions
//!
//! The layer works with anything built on `http` 1, `tower-layer` 0.3 and `tower-service` 0.3: axum 0.7 and 0.8, tonic 0.12 to 0.14, hyper
//! 1, tower 0.4 and 0.5. It is tested with axum 0.8, tonic 0.14 and tower 0.5.
//!
//! The minimum supported Rust version is 1.85: each change is compiled with it, with the oldest and with the newest
//! versions of the dependencies. A later version may raise it to one that is at least six months old, which is a
//! minor change.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(target_has_atomic = "64"))]
compile_error!("tower-drain needs 64-bit atomics, which this target does not have");

#[macro_use]
mod trace;

mod drain;
mod gate;
mod middleware;
mod shutdown;

// After the others, so that the documentation of `Drain` begins with its own methods.
#[cfg(feature = "hyper-util")]
mod connection;

#[cfg(feature = "hyper-util")]
pub use crate::connection::{ConnectionClosed, WatchedConnection};
pub use crate::drain::{
    BoxError, Drain, DrainReport, DrainStatus, DrainWait, Goodbye, InFlightRequest, Phase, Reached,
    RequestStage, TryAcquireError, Unfinished,
};
pub use crate::gate::Permit;
pub use crate::middleware::{
    Cancelled, DefaultRefusal, DrainLayer, DrainService, Exempt, NeverExempt, Readiness, Refuse,
    ResponseBody, is_event_stream,
};
pub use crate::shutdown::{ServerOutput, Shutdown, ShutdownError, ShutdownReport, Signal};

/// Future types.
pub mod future {
    pub use crate::middleware::ResponseFuture;
}

#[cfg(doc)]
pub mod recipes;

/// Handling of operating system signals.
#[cfg(feature = "signal")]
pub mod signal {
    pub use crate::shutdown::{ForceSignal, ShutdownSignal, shutdown};
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
