//! Tests of your own service.
//!
//! One function makes the app with its layers, for the program and for its tests: the program serves `app(&drain)`.
//!
//! # A request in flight survives
//!
//! In a `#[tokio::test(start_paused = true)]`, so that the handler's five seconds take no time (tokio's feature
//! `test-util`, tower's `util`). Leave out `start_paused` if the handler waits for a socket, such as a database's: the clock
//! runs on meanwhile.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::body::Body;
//! use axum::http::{Request, StatusCode};
//! # use axum::{Router, routing::get};
//! use tower::ServiceExt;
//! use tower_drain::Drain;
//!
//! # fn app(drain: &Drain) -> Router {
//! #     let app = Router::new().route("/slow", get(|| tokio::time::sleep(Duration::from_secs(5))));
//! #     app.layer(drain.layer())
//! # }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let drain = Drain::new();
//! let app = app(&drain);
//! let get = async |path: &str| {
//!     let request = Request::get(path).body(Body::empty()).unwrap();
//!     app.clone().oneshot(request).await.unwrap().status()
//! };
//! let ((late, drained), running) = tokio::join!(
//!     async {
//!         tokio::task::yield_now().await; // the other request is in flight then
//!         let wait = drain.drain(Duration::from_secs(30)); // new requests are refused from here on
//!         (get("/slow").await, wait.await)
//!     },
//!     get("/slow"),
//! );
//! assert_eq!(running, StatusCode::OK);
//! assert_eq!(late, StatusCode::SERVICE_UNAVAILABLE);
//! assert_eq!(drained.unwrap().in_flight_at_start(), 1);
//! # }
//! ```
//!
//! The response is dropped inside of `get`. A response that a test keeps is in flight, as it would be on a connection.
//!
//! # The layer covers each route
//!
//! Once draining has started, whatever the layer covers answers 503, and so does the fallback. A route that was added after
//! the layer does not:
//!
//! ```
//! # use axum::body::Body;
//! # use axum::http::{Request, StatusCode};
//! # use axum::{Router, routing::get};
//! # use tower::ServiceExt;
//! # use tower_drain::Drain;
//! fn app(drain: &Drain) -> Router {
//!     let app = Router::new().route("/", get(|| async {})).route("/orders", get(|| async {}));
//!     app.layer(drain.layer())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let drain = Drain::new();
//! let app = app(&drain);
//! drain.start_draining();
//! for path in ["/", "/orders", "/no-such-route"] {
//!     let request = Request::get(path).body(Body::empty()).unwrap();
//!     let response = app.clone().oneshot(request).await.unwrap();
//!     assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
//! }
//! # }
//! ```
//!
//! # The whole sequence, over a port
//!
//! [`Shutdown::new`](crate::Shutdown::new) takes what a test can send instead of a signal. In a plain `#[tokio::test]`, with
//! the clock running:
//!
//! ```
//! # use std::time::Duration;
//! # use axum::{Router, routing::get};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//! use tokio::sync::oneshot;
//! use tokio::time::timeout;
//! use tower_drain::{Drain, Shutdown};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let app = Router::new().route("/slow", get(|| tokio::time::sleep(Duration::from_millis(100))));
//! let drain = Drain::new();
//! let (stop, stopped) = oneshot::channel::<()>();
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let layer = drain.layer();
//! let shutdown = Shutdown::new(&drain, async { drop(stopped.await) });
//! let shutdown = tokio::spawn(shutdown.run(|closing| {
//!     axum::serve(listener, app.layer(layer)).with_graceful_shutdown(closing)
//! }));
//!
//! let mut client = TcpStream::connect(address).await?;
//! client.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n").await?;
//! let arrived = async {
//!     while drain.in_flight() == 0 {
//!         tokio::task::yield_now().await;
//!     }
//! };
//! timeout(Duration::from_secs(5), arrived).await?;
//! stop.send(()).unwrap();
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?; // to the end of the connection
//! assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
//! assert_eq!(shutdown.await??.in_flight_at_close(), 1);
//! # Ok(())
//! # }
//! ```
