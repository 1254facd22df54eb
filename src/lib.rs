//! Stop a server without losing a request.
//!
//! [`DrainLayer`] counts the requests in flight to the last byte of their bodies, and refuses
//! newcomers once draining has started. Its handle, [`Drain`], starts that and gives a future that
//! resolves when none is left or the time is up. It is a plain tower layer, for axum, tonic and hyper
//! alike. [`Shutdown`] is the sequence around it that a service behind a load balancer needs.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::{Router, routing::get};
//! use tokio::net::TcpListener;
//! use tower_drain::{Drain, Shutdown};
//!
//! # #[cfg(feature = "signal")]
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let drain = Drain::new();
//!     let app = Router::new()
//!         .route("/", get(|| async { "hello" }))
//!         .layer(drain.layer())
//!         .route_service("/readyz", drain.readiness());
//!
//!     let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!     let server = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
//!
//!     let report = Shutdown::new(&drain) // on SIGTERM or Ctrl-C
//!         .lame_duck(Duration::from_secs(10))
//!         .quiet(Duration::from_secs(2))
//!         .timeout(Duration::from_secs(20))
//!         .run(server)
//!         .await?;
//!     println!("drained {} in {:?}", report.in_flight_at_start(), report.elapsed());
//!     Ok(())
//! }
//! # #[cfg(not(feature = "signal"))]
//! # fn main() {}
//! ```
//!
//! # The phases
//!
//! ```text
//! Serving ──lame_duck()──▶ LameDuck ──start()──▶ Draining ──last permit──▶ Drained
//!    ▲───────resume()─────────┘
//! ```
//!
//! `start()` also goes straight from `Serving`, and with nothing in flight straight to `Drained`.
//!
//! | | Serving | LameDuck | Draining | Drained |
//! |---|---|---|---|---|
//! | [`readiness()`](Drain::readiness) | 200 | 503 | 503 | 503 |
//! | a new request | served | served | refused, 503 | refused, 503 |
//! | HTTP/1 response heads | untouched | `Connection: close` | `Connection: close` | `Connection: close` |
//! | [`try_enter()`](Drain::try_enter) | `Ok` | `Ok` | `Err(Closed)` | `Err(Closed)` |
//!
//! Draining is final: once [`Phase::Drained`] is reached, nothing is in flight ever after.
//!
//! # What counts as in flight
//!
//! A request, from the call of the layer's service until its response body is dropped, however that
//! comes about: sent, cut off, its client gone, an error, a panic. Beyond requests, whatever holds a
//! [`Permit`]. Not in flight are requests that the layer [exempts](DrainLayer::exempt), and work that
//! a handler spawned without keeping a permit.
//!
//! # Zero is not yet on the wire
//!
//! hyper drops a response body as soon as the last of it is in its write buffer. [`Shutdown`]
//! therefore waits for the server too, which flushes and closes the connections, inside the same
//! timeout. Whoever uses the layer by itself has to await two things: the drain, and then the server's
//! own graceful shutdown (the future of `axum::serve(..)`, of tonic's `serve_with_shutdown`, or of
//! hyper-util's `GracefulShutdown`). A process that exits after the first alone may cut off the last
//! response.
//!
//! ```no_run
//! # use std::time::Duration;
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! use tokio::time::{Instant, timeout_at};
//! # use tower_drain::Drain;
//! # async fn example(drain: Drain, app: Router, listener: TcpListener)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let serve = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
//! let server = tokio::spawn(serve.into_future());
//!
//! tokio::signal::ctrl_c().await?;
//! let deadline = Instant::now() + Duration::from_secs(30);
//! let report = drain.drain_until(deadline).await?; // no request is left, ...
//! timeout_at(deadline, server).await???; // ... and all bytes are sent
//! # Ok(())
//! # }
//! ```
//!
//! # Who is late
//!
//! With [`DrainLayer::track_requests`] the requests in flight have names: in the error of a drain that
//! [timed out](TimedOut), in the events, in [`Drain::requests`] and [`Drain::status`]. They can be
//! [cancelled](Drain::cancel), too, which is what a [`Shutdown`] does at its deadline.
//!
//! # What it costs
//!
//! Two atomic operations per request, on a cache line that no other thread writes, and no
//! allocation. `src/gate/mod.rs` says how, and the README carries the measurements, those of tracking
//! among them.
//!
//! # Features
//!
//! None is on by default, and each works alone.
//!
//! - `signal`: `signal::shutdown()`, which is SIGINT or SIGTERM; and with it what starts and forces a
//!   [`Shutdown`] by default.
//! - `tracing`: events, with the target `tower_drain`: at info each change of phase, and progress once a
//!   second while a [`Shutdown`] drains; at warn a timeout; at debug each refusal. The path of a request
//!   that is served has none.
//!
//! # Platforms
//!
//! Wherever tokio runs and there are 64-bit atomics; the signals of Unix, and Ctrl-C on Windows. No
//! unsafe code.

mod drain;
mod gate;
mod http;
mod shutdown;

pub use crate::drain::{
    Closed, Drain, DrainWait, InFlightRequest, Phase, Reached, Report, Stage, Status, TimedOut,
};
pub use crate::gate::Permit;
pub use crate::http::{
    BodyError, Cancelled, DrainLayer, DrainService, Exempt, ExemptNone, Readiness, ReadinessFuture,
    Refuse, ResponseBody, ResponseFuture, Unavailable,
};
#[cfg(feature = "signal")]
pub use crate::shutdown::signal;
pub use crate::shutdown::{DefaultForce, DefaultOn, Run, Shutdown, ShutdownError, Signal};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
