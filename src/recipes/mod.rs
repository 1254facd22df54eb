//! Recipes: this crate together with others, and tests of your own service. This module has documentation only, and each
//! example compiles.
//!
//! - [`testing`]: a request in flight survives the shutdown, and the layer covers each route.
//! - [`servers`]: two servers, a port that stays open, tonic and axum on one port, axum-server, accept loops, TLS, hyper's
//!   `service_fn`, direct clients without Linux.
//! - [`tasks`]: workers, jobs, tokens; a shutdown when a worker dies.
//! - [`process`]: exit codes, and the last lines of a log; other signals, a Windows service.
//! - [`long_lived`]: WebSockets, event streams, answers of language models, long polls, gRPC streams, MCP, Socket.IO, GraphQL
//!   subscriptions.
//! - On this page: [the order of layers](#the-order-of-layers), [a route that starts the lame
//!   duck](#a-route-that-starts-the-lame-duck), [a drain per tenant](#a-drain-per-tenant), [which
//!   frameworks](#which-frameworks).
//!
//! # The order of layers
//!
//! - **Where the server is made.** In axum, `.layer` covers the routes that the router has by then, and its fallback. A
//!   route that is added later is neither counted nor waited for. So write
//!   `axum::serve(listener, app.layer(drain.layer()))`, and [test it](testing#the-layer-covers-each-route). Apply it once
//!   per request path.
//! - **Outside of what requests wait for**: timeouts, authentication, concurrency limits. The drain does not wait for
//!   layers outside of its own.
//! - **Inside of what refusals need**: CORS, because a browser cannot read a refusal without its headers; gRPC-Web
//!   (`tonic_web`), which translates them; logging, if it should show them.
//! - **Inside of compression** if streams are [ended](crate::DrainLayer::end_streams), so that the compressed stream is
//!   completed too. Otherwise it makes no difference.
//! - **Readiness outside of all**: probes are not requests that anyone waits for, and a probe that gets a 503 is not an
//!   error.
//!
//! ```
//! use axum::Router;
//! use tower_drain::{Drain, is_event_stream};
//! use tower_http::{compression::CompressionLayer, cors::CorsLayer, trace::TraceLayer};
//!
//! /// What the server is made of: `axum::serve(listener, app(routes, &drain))`.
//! fn app(routes: Router, drain: &Drain) -> Router {
//!     routes // with their state, and with layers for timeouts and authentication
//!         .layer(drain.layer().track_requests().end_streams(is_event_stream))
//!         .layer(CompressionLayer::new())
//!         .layer(CorsLayer::permissive())
//!         .layer(TraceLayer::new_for_http())
//!         .route_service("/readyz", drain.readiness())
//! }
//! # let _ = app(Router::new(), &Drain::new());
//! ```
//!
//! - **Nested routers.** `Router::nest` strips the prefix from the path that inner layers see. Tracked requests
//!   then have a name without it. The layer of the outermost router sees the whole path.
//! - **Services other than `Router`.** `axum::serve` wants a response with axum's body:
//!   `ServiceBuilder::new().map_response(|response: Response<_>| response.map(Body::new)).layer(drain.layer())`.
//!
//! # A route that starts the lame duck
//!
//! A `preStop` hook or an operator may begin the lame duck before the signal, and take it back. The route belongs outside
//! of the layer, best on an admin port: a handler inside it that waits for [`drained`](crate::Drain::drained) waits for
//! itself.
//!
//! ```
//! use axum::{Router, routing::post};
//! use tower_drain::Drain;
//!
//! fn admin(drain: &Drain) -> Router {
//!     let (leave, stay) = (drain.clone(), drain.clone());
//!     Router::new()
//!         .route("/drain", post(async move || format!("leaving: {}\n", leave.lame_duck())))
//!         .route("/resume", post(async move || format!("back: {}\n", stay.resume())))
//!         .route_service("/readyz", drain.readiness())
//! }
//! # let _ = admin(&Drain::new());
//! ```
//!
//! The lame duck that it begins counts: at SIGTERM, a [`Shutdown`](crate::Shutdown) waits for what is left of its own. To
//! start the whole sequence by a request, let the handler cancel [a token](tasks#a-token-starts-the-shutdown).
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
//! # Which frameworks
//!
//! | framework | does it work? |
//! |---|---|
//! | axum, tonic, and what is made of their routers | yes; tested |
//! | hyper 1 | yes, with [an accept loop](servers#an-accept-loop); tested |
//! | poem, salvo | their feature `tower-compat` takes tower layers; untried. Their servers have a graceful shutdown of their own: start it on [`closing`](crate::Drain::closing) |
//! | warp 0.4 | `warp::service` makes a tower service of a filter, for an accept loop; untried |
//! | actix-web, Rocket | no: they are not made of tower services |

pub mod long_lived;
pub mod process;
pub mod servers;
pub mod tasks;
pub mod testing;
