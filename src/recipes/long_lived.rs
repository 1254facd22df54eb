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
//! - Move the request's own permit into it, with [`share_permit`](crate::DrainLayer::share_permit).
//! - Say goodbye with 1001, and then read until the client's own close, for a bounded time. If a socket is dropped while
//!   data from the client is unread, the system resets the connection, and the client sees 1006.
//! - Never send without a bound: a client that does not read would hold up the shutdown until its deadline.
//!
//! Messages that arrive during the close are lost. The client sends them again when it has reconnected.
//!
//! ```
//! # use std::pin::pin;
//! # use std::time::Duration;
//! use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
//! use axum::extract::{Extension, State};
//! # use axum::response::Response;
//! use tokio::time::timeout;
//! use tower_drain::{Drain, Permit};
//!
//! // With `drain.layer().share_permit()`.
//! async fn upgrade(
//!     State(drain): State<Drain>,
//!     Extension(permit): Extension<Permit>,
//!     upgrade: WebSocketUpgrade,
//! ) -> Response {
//!     upgrade.on_upgrade(async move |mut socket: WebSocket| {
//!         let mut goodbye = pin!(drain.goodbye());
//!         loop {
//!             tokio::select! {
//!                 message = socket.recv() => match message {
//!                     Some(Ok(message)) => println!("{message:?}"), // a `send` here needs a timeout
//!                     _ => break,
//!                 },
//!                 () = &mut goodbye => break,
//!             }
//!         }
//!         let away = CloseFrame { code: close_code::AWAY, reason: "the server is going away".into() };
//!         let leave = async {
//!             let _ = socket.send(Message::Close(Some(away))).await;
//!             while let Some(Ok(_)) = socket.recv().await {} // until the client's own close
//!         };
//!         let _ = timeout(Duration::from_secs(2), leave).await;
//!         drop(permit);
//!     })
//! }
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
//! let app: Router = Router::new()
//!     .route("/events", get(events))
//!     .layer(drain.layer().end_streams(is_event_stream));
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
//! # MCP
//!
//! With `rmcp` and its streamable HTTP, the answer to a tool call is an event stream too, to a `POST`. It is waited for. The
//! endless stream of a `GET` ends by the layer. The stream of `subscriptions/listen`, since protocol version 2026-07-28, is an
//! endless answer to a `POST`, which no layer can tell from a tool call. So its handler ends it:
//!
//! ```
//! # use rmcp::{ErrorData, RoleServer, ServerHandler, service::SubscriptionContext};
//! # struct Tools { drain: tower_drain::Drain }
//! # impl ServerHandler for Tools {
//! async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
//!     tokio::select! {
//!         () = subscription.cancelled() => {}
//!         () = self.drain.goodbye() => {}
//!     }
//!     Ok(())
//! }
//! # }
//! // `Router::new().route_service("/mcp", mcp).layer(drain.layer().end_streams(is_event_stream))`
//! ```
//!
//! Do not cancel the `cancellation_token` of its configuration before `run` has returned: that cuts off tool calls. A tool
//! that asks the client something (sampling, elicitation) gets no answer once the port is closed, because the answer is a
//! new request: give it a timeout. Sessions are in memory; a client that reconnects to another server initializes again,
//! unless there is a session store.
//!
//! # Socket.IO
//!
//! `socketioxide` owns its sockets, and closes them only together. With `share_permit()`, each session keeps the permit of
//! the request that opened it, so the drain waits for it:
//!
//! ```
//! # use std::time::Duration;
//! # use axum::Router;
//! use socketioxide::{SocketIo, extract::SocketRef};
//! # fn example(drain: tower_drain::Drain) -> Router {
//! // Sessions that have joined no namespace end after this time. It must be shorter than the shutdown's timeout.
//! let (layer, io) = SocketIo::builder().connect_timeout(Duration::from_secs(5)).build_layer();
//! let closing = drain.closing();
//! tokio::spawn(async move {
//!     closing.await; // not `goodbye()`: clients that come back after `close()` can join no namespace
//!     let namespaces = io.nsps().into_iter();
//!     let sockets: Vec<SocketRef> = namespaces.flat_map(|space| space.sockets()).collect();
//!     io.close().await;
//!     // In 0.18, `close()` does not free the sockets, which hold their permits.
//!     for socket in sockets {
//!         let _ = socket.disconnect();
//!     }
//! });
//! Router::new().layer(layer).layer(drain.layer().share_permit())
//! # }
//! ```
//!
//! Its clients reconnect after `close()`, and not after `disconnect()` alone. Event handlers that run are cut off, and
//! their acknowledgements are lost, unless `close()` waits for them: `tests/services/socket_io.rs` shows how.
//!
//! # GraphQL subscriptions
//!
//! `GraphQLSubscription` of `async-graphql-axum` upgrades the connection by itself, and no permit can be moved into it. A
//! handler of your own can hold it. If the input of `serve()` ends at the goodbye, nothing that it sends is cut off:
//!
//! ```
//! # use std::time::Duration;
//! # use async_graphql::{EmptyMutation, Schema, http::ALL_WEBSOCKET_PROTOCOLS};
//! # use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
//! # use axum::extract::ws::{CloseFrame, Message, WebSocketUpgrade, close_code};
//! # use axum::response::Response;
//! # use futures_util::{SinkExt, StreamExt};
//! # use tokio::time::timeout;
//! # use tower_drain::{Drain, Permit};
//! # struct Query;
//! # #[async_graphql::Object] impl Query { async fn version(&self) -> i32 { 1 } }
//! # struct Events;
//! # #[async_graphql::Subscription] impl Events {
//! #     async fn numbers(&self) -> impl futures_util::Stream<Item = i32> { futures_util::stream::empty() }
//! # }
//! # type Api = Schema<Query, EmptyMutation, Events>;
//! # fn subscribe(upgrade: WebSocketUpgrade, api: Api, protocol: GraphQLProtocol, drain: Drain, permit: Permit) -> Response {
//! upgrade.protocols(ALL_WEBSOCKET_PROTOCOLS).on_upgrade(async move |socket| {
//!     let (mut sink, mut stream) = socket.split();
//!     let input = stream.by_ref().take_until(drain.goodbye());
//!     GraphQLWebSocket::new_with_pair(&mut sink, input, api, protocol).serve().await;
//!     // As above. After 1001 a client resumes its subscriptions; after a `complete` it does not.
//!     let away = CloseFrame { code: close_code::AWAY, reason: "the server is going away".into() };
//!     let leave = async {
//!         let _ = sink.send(Message::Close(Some(away))).await;
//!         while let Some(Ok(_)) = stream.next().await {}
//!     };
//!     let _ = timeout(Duration::from_secs(2), leave).await;
//!     drop(permit);
//! })
//! # }
//! ```
//!
//! Queries and mutations that run on this socket are dropped at the goodbye. `tests/services/graphql.rs` shows how to wait
//! for their answers.
