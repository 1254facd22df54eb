//! Tokens, workers, jobs and other tasks beside the server.
//!
//! | a task | ends | who waits for it |
//! |---|---|---|
//! | [takes jobs that handlers queue](#jobs-that-handlers-queue) | when the server has ended and no job is left | the drain, by a permit for each job |
//! | [takes jobs from outside](#jobs-from-outside): a broker, a timer | on [`closing`](crate::Drain::closing), after the job in hand | the drain, by a permit |
//! | [requests depend on it](#tasks-that-end-after-the-requests): a cache, a connection | after `run` | you, with a timeout |
//! | can be continued elsewhere | [at its goodbye](crate::recipes::long_lived#jobs) | the drain, by a permit |
//!
//! # A worker
//!
//! A server without its worker should not go on. Let the worker's end start the shutdown, as a signal does, with a lame duck
//! if you set one: the port settles, and requests in flight are answered. Look at what the worker ended with after `run`:
//!
//! ```no_run
//! # #[cfg(all(feature = "signal", feature = "listener"))]
//! # async fn example(
//! #     app: axum::Router,
//! #     listener: tokio::net::TcpListener,
//! #     work: impl Future<Output = Result<(), tower_drain::BoxError>> + Send + 'static,
//! # ) -> Result<(), tower_drain::BoxError> {
//! use std::time::Duration;
//!
//! use tokio::sync::oneshot;
//! use tokio::time::timeout;
//! use tower_drain::{Drain, Shutdown, Signal, signal};
//!
//! let drain = Drain::new();
//! let signal = signal::shutdown();
//! let (alive, died) = oneshot::channel::<()>();
//! let worker = tokio::spawn(async move {
//!     let _alive = alive; // dropped on each way out, also by a panic
//!     work.await
//! });
//! let on = async {
//!     tokio::select! {
//!         signal = signal => signal,
//!         _ = died => Signal::Terminate,
//!     }
//! };
//! let outcome = Shutdown::new(&drain, on)
//!     .force_on(tokio::signal::ctrl_c())
//!     .listener(&listener)?
//!     .run(|closing| {
//!         let app = app.layer(drain.layer().share_permit());
//!         axum::serve(listener, app).with_graceful_shutdown(closing)
//!     })
//!     .await;
//! let worked = timeout(Duration::from_secs(5), worker).await;
//! outcome?;
//! worked???; // it was late, has panicked, or has failed
//! # Ok(())
//! # }
//! ```
//!
//! Jobs that were queued when it died are lost, unless they are stored elsewhere.
//!
//! ## Jobs that handlers queue
//!
//! Send a permit with each job, so that the drain waits for the jobs too. The worker ends when it has done all jobs and no
//! sender is left: the app has the only one, and is dropped when the server has ended.
//!
//! ```
//! # use axum::{Extension, Router, http::StatusCode, routing::post};
//! # use tokio::sync::mpsc;
//! use tower_drain::{BoxError, Permit};
//!
//! async fn work(mut jobs: mpsc::Receiver<(u32, Permit)>) -> Result<(), BoxError> {
//!     while let Some((job, permit)) = jobs.recv().await {
//!         println!("job {job}");
//!         drop(permit);
//!     }
//!     Ok(())
//! }
//!
//! fn app(queue: mpsc::Sender<(u32, Permit)>) -> Router {
//!     let enqueue = async move |Extension(permit): Extension<Permit>| {
//!         match queue.send((7, permit)).await {
//!             Ok(()) => StatusCode::ACCEPTED,
//!             Err(_) => StatusCode::INTERNAL_SERVER_ERROR, // the worker has died
//!         }
//!     };
//!     Router::new().route("/jobs", post(enqueue)) // with `drain.layer().share_permit()`
//! }
//! # let (queue, _jobs) = mpsc::channel(1);
//! # let _ = app(queue);
//! ```
//!
//! `in_flight()` counts permits, clones included: a request whose handler keeps its permit counts twice. Jobs have no
//! name in errors and events.
//!
//! ## Jobs from outside
//!
//! A worker that takes jobs from a broker or a timer takes no more on [`closing`](crate::Drain::closing), and holds a permit
//! for the job in hand:
//!
//! ```
//! # use tokio::sync::mpsc;
//! use tower_drain::{BoxError, Drain};
//!
//! async fn work(drain: Drain, mut jobs: mpsc::Receiver<u32>) -> Result<(), BoxError> {
//!     let mut closing = std::pin::pin!(drain.closing());
//!     // The permit first, so that no job is taken without one.
//!     while let Ok(_permit) = drain.try_acquire() {
//!         let job = tokio::select! {
//!             biased;
//!             () = &mut closing => break,
//!             job = jobs.recv() => job.ok_or("the broker is gone")?,
//!         };
//!         println!("job {job}");
//!     }
//!     Ok(())
//! }
//! ```
//!
//! ## Joined in `run`
//!
//! Shorter, if there is a load balancer that repeats what is reset: when the worker fails, the server is dropped at once, and
//! with it the port and the connections that have just been made. Requests in flight are answered, and `run` returns the
//! worker's error as [`ShutdownError::Server`](crate::ShutdownError::Server).
//!
//! ```no_run
//! # async fn example(
//! #     app: axum::Router,
//! #     listener: tokio::net::TcpListener,
//! #     stop: impl Future<Output = ()>,
//! #     worker: tokio::task::JoinHandle<Result<(), tower_drain::BoxError>>,
//! # ) -> Result<(), Box<dyn std::error::Error>> {
//! # let drain = Drain::new();
//! use tower_drain::{BoxError, Drain, Shutdown};
//!
//! Shutdown::new(&drain, stop)
//!     .run(async |closing| {
//!         let server = axum::serve(listener, app.layer(drain.layer()));
//!         let server = server.with_graceful_shutdown(closing);
//!         let server = async { server.await.map_err(BoxError::from) };
//!         let worker = async { worker.await? }; // a panic is an error
//!         tokio::try_join!(server, worker).map(|_| ())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! As the worker is a part of the server then, closing lasts while it works, up to its 5 s.
//!
//! # Tasks that end after the requests
//!
//! Cancel a [`CancellationToken`] when [`Shutdown::run`] has returned, and bound the wait for a [`TaskTracker`]:
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
//! # A token starts the shutdown
//!
//! Anything that resolves can:
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
//!     .run(|closing| {
//!         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`CancellationToken`]: https://docs.rs/tokio-util/latest/tokio_util/sync/struct.CancellationToken.html
//! [`TaskTracker`]: https://docs.rs/tokio-util/latest/tokio_util/task/struct.TaskTracker.html
//! [`Shutdown::run`]: crate::Shutdown::run
