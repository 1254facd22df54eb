//! Recipes for work that has no end of its own: WebSockets, event streams, long polls, subscriptions.
//!
//! Each piece ends at its [`goodbye`](crate::Drain::goodbye), at a time of its own in the second half of the lame duck. So a
//! deploy does not end in a thousand clients that reconnect at once, and those who do reach a server that stays. This needs
//! a [`lame_duck`](crate::Shutdown::lame_duck), without a [`quiet_period`](crate::Shutdown::quiet_period) that ends it early;
//! otherwise they all end with [`Phase::Closing`](crate::Phase::Closing).
//!
//! | I have | what ends it | what its client should do |
//! |---|---|---|
//! | [WebSockets](#websockets) | the handler, at `goodbye()`, by a close handshake | reconnect after 1001: browsers do not by themselves |
//! | [server-sent events](#server-sent-events) without an end | the layer, with [`end_streams`](crate::DrainLayer::end_streams) | nothing: an `EventSource` reconnects after some seconds, or after `retry` |
//! | answers of language models, progress of a job | nothing: such a stream has an end, and is waited for | |
//! | [long polls](#long-polls) | the handler, at `goodbye()` | ask again |
//! | [jobs](#jobs) that hold a permit | the job, at `goodbye()` if it can be resumed, or by itself | |
//! | [gRPC streams](#grpc-streams) | the layer, with `end_streams`, by status 14 | call again |
//! | [an MCP server](#mcp) (rmcp) | the layer, and the handler of `subscriptions/listen` | subscribe again |
//! | [Socket.IO](#socketio) (socketioxide) | `io.close()`, on [`closing`](crate::Drain::closing) | nothing: it reconnects |
//! | [GraphQL subscriptions](#graphql-subscriptions) (async-graphql) | the handler, at `goodbye()` | nothing with `graphql-ws`: it resumes after 1001 |
//!
//! The drain waits for requests, and for other work if that holds a [`Permit`](crate::Permit). What holds none is cut off
//! when the process ends. At the deadline nothing can cancel such work, and `run` returns an error.
//!
//! The examples `websocket` and `sse`, and `tests/services`, are whole programs.
//!
//! # WebSockets
//!
//! The layer does not see an upgraded connection, and nothing cancels it at the deadline. So:
//!
//! - Move the request's own permit into it, with [`share_permit`](crate::DrainLayer::share_permit). Without that setting,
//!   axum answers 500.
//! - Say goodbye with 1001, and then read until the client's own close, for a bounded time. If a socket is dropped while
//!   data from the client is unread, the system resets the connection, and the client sees 1006.
//! - Never send without a bound: a client that does not read would hold up the shutdown until its deadline.
//!
//! Messages that arrive during the close are lost. The client sends them again when it has reconnected.
//!
//! ```
//! use std::pin::pin;
//! use std::time::Duration;
//!
//! use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
//! use axum::extract::{Extension, State};
//! # use axum::{Router, response::Response, routing::any};
//! use tokio::time::timeout;
//! use tower_drain::{Drain, Permit};
//!
//! const PATIENCE: Duration = Duration::from_secs(2);
//!
//! async fn upgrade(
//!     State(drain): State<Drain>, // by `FromRef` from a larger state
//!     Extension(permit): Extension<Permit>,
//!     upgrade: WebSocketUpgrade,
//! ) -> Response {
//!     upgrade.on_upgrade(async move |mut socket: WebSocket| {
//!         let mut goodbye = pin!(drain.goodbye());
//!         loop {
//!             let message = tokio::select! {
//!                 message = socket.recv() => message,
//!                 () = &mut goodbye => break,
//!             };
//!             match message {
//!                 // An echo.
//!                 Some(Ok(message @ Message::Text(_))) => {
//!                     let Ok(Ok(())) = timeout(PATIENCE, socket.send(message)).await else { return };
//!                 }
//!                 Some(Ok(_)) => {} // axum answers pings and closes
//!                 _ => return, // the client has gone
//!             }
//!         }
//!         let away = CloseFrame { code: close_code::AWAY, reason: "the server is going away".into() };
//!         let leave = async {
//!             let _ = socket.send(Message::Close(Some(away))).await;
//!             while let Some(Ok(_)) = socket.recv().await {} // until the client's own close
//!         };
//!         let _ = timeout(PATIENCE, leave).await;
//!         drop(permit);
//!     })
//! }
//!
//! # let drain = Drain::new();
//! let app = Router::new().route("/ws", any(upgrade)).with_state(drain.clone());
//! let app: Router = app.layer(drain.layer().share_permit()); // where the server is made
//! ```
//!
//! # Server-sent events
//!
//! The layer ends the stream of a `GET` after the frame in hand. An `EventSource` then reconnects, and sends the ID of the
//! last event in `Last-Event-ID`:
//!
//! ```
//! # use axum::{Router, response::Sse, response::sse::Event, routing::get};
//! use tower_drain::is_event_stream;
//!
//! # type Events = tokio_stream::Pending<Result<Event, std::convert::Infallible>>;
//! # let drain = tower_drain::Drain::new();
//! # let events = || async { Sse::new(tokio_stream::pending()) as Sse<Events> };
//! let app = Router::new().route("/events", get(events));
//! let app: Router = app.layer(drain.layer().end_streams(is_event_stream)); // where the server is made
//! ```
//!
//! Streams that answer a `POST` are not ended: those of language models and of MCP have an end, and are waited for. If a
//! `GET` is answered by a stream that has an end, choose by its path.
//!
//! If there is no load balancer that forwards each request by itself, the client may ask again on the same connection. On
//! HTTP/1 it does so once: the head of the first response was sent before the server had to leave, and the next one asks it
//! to close the connection. On HTTP/2 the connection stays until the server closes, unless it is
//! [asked earlier](crate::Drain::watch), with `spread_goodbye`.
//!
//! # Long polls
//!
//! The client asks again, and a load balancer sends it to another server:
//!
//! ```
//! # use axum::extract::State;
//! # use tokio::sync::watch;
//! # use tower_drain::Drain;
//! async fn poll(State((drain, news)): State<(Drain, watch::Sender<String>)>) -> String {
//!     let mut news = news.subscribe(); // sees what changes from now on
//!     tokio::select! {
//!         _ = news.changed() => news.borrow().clone(),
//!         () = drain.goodbye() => "nothing new".into(),
//!     }
//! }
//! ```
//!
//! # Jobs
//!
//! The permit keeps the drain waiting. A job that can be resumed elsewhere ends at its goodbye, and another one runs to its
//! end:
//!
//! ```
//! # use std::pin::pin;
//! # use std::time::Duration;
//! # use tower_drain::{Drain, TryAcquireError};
//! # async fn step() { tokio::time::sleep(Duration::from_secs(1)).await }
//! fn import(drain: &Drain) -> Result<(), TryAcquireError> {
//!     let (permit, goodbye) = (drain.try_acquire()?, drain.goodbye());
//!     tokio::spawn(async move {
//!         let mut goodbye = pin!(goodbye);
//!         for row in 0..1_000 {
//!             tokio::select! {
//!                 () = step() => println!("row {row}"),
//!                 () = &mut goodbye => break, // remember where to continue
//!             }
//!         }
//!         drop(permit);
//!     });
//!     Ok(())
//! }
//! ```
//!
//! A loop that takes jobs from a queue watches [`closing`](crate::Drain::closing) instead, because it may work until then;
//! [`try_acquire`](crate::Drain::try_acquire) has an example.
//!
//! # gRPC streams
//!
//! Choose server streams by their path. Each ends with status 14, `UNAVAILABLE`, after which a client calls again:
//!
//! ```
//! # let drain = tower_drain::Drain::new();
//! let layer = drain.layer().end_streams(|_, uri, _| uri.path() == "/news.News/Subscribe");
//! # let _ = layer;
//! ```
//!
//! tonic's channel fails the first call after a GOAWAY with `CANCELLED`, without sending it, while a stream keeps the old
//! connection open. That is so with any server. With streams that end, it does not happen.
//!
//! The `Watch` of a health service is a stream too. Exempt the service, and clear its statuses on
//! [`closing`](crate::Drain::closing), which ends it: `examples/tonic.rs` and `two_servers.rs` do so.
//!
// `tests/services`, which has the libraries, compiles these examples.
#![cfg_attr(not(doctest), doc = include_str!("services.md"))]
