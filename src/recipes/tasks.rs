//! Tokens, workers, jobs and other tasks beside the server.
//!
//! | a task | ends | who waits for it |
//! |---|---|---|
//! | [takes jobs that handlers queue](#jobs-that-handlers-queue) | when the server has ended and no job is left | `run`, and the drain by a permit for each job |
//! | [takes jobs from outside](#jobs-from-outside): a broker, a timer | on [`closing`](crate::Drain::closing), after the job in hand | `run`, and the drain by a permit |
//! | [requests depend on it](#tasks-that-end-after-the-requests): a cache, a connection | after `run` | you, with a timeout |
//! | can be continued elsewhere | [at its goodbye](crate::recipes::long_lived#jobs) | the drain, by a permit |
//!
//! # A worker
//!
//! A server without its worker should not go on. So join the two inside of `run`: if the worker fails or panics, the
//! shutdown starts, requests in flight are answered, and `run` returns the worker's error as
//! [`ShutdownError::Server`](crate::ShutdownError::Server). Jobs that were in its queue are lost then, unless they are stored
//! elsewhere.
//!
//! ## Jobs that handlers queue
//!
//! Send a permit with each job, so that the drain waits for the jobs too. The worker ends when it has done all jobs and no
//! sender is left: the app has the only one, and is dropped when the server has ended.
//!
//! ```no_run
//! # use axum::{Extension, Router, http::StatusCode, routing::post};
//! # use tokio::net::TcpListener;
//! # use tokio::sync::mpsc;
//! use tower_drain::{BoxError, Drain, Permit, Shutdown};
//!
//! async fn work(mut jobs: mpsc::Receiver<(u32, Permit)>) -> Result<(), BoxError> {
//!     while let Some((job, permit)) = jobs.recv().await {
//!         println!("job {job}"); // an error here, by `?`, or a panic ends the server
//!         drop(permit);
//!     }
//!     Ok(())
//! }
//!
//! # async fn example(listener: TcpListener, stop: impl Future<Output = ()>) -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let (queue, jobs) = mpsc::channel(100);
//! let worker = tokio::spawn(work(jobs));
//! let enqueue = async move |Extension(permit): Extension<Permit>| {
//!     match queue.send((7, permit)).await {
//!         Ok(()) => StatusCode::ACCEPTED,
//!         Err(_) => StatusCode::INTERNAL_SERVER_ERROR, // the worker has died
//!     }
//! };
//! let app = Router::new().route("/jobs", post(enqueue));
//! Shutdown::new(&drain, stop)
//!     .run(async |closing| {
//!         let app = app.layer(drain.layer().share_permit());
//!         let server = axum::serve(listener, app).with_graceful_shutdown(closing);
//!         let server = async { server.await.map_err(BoxError::from) };
//!         let worker = async { worker.await? }; // a panic is an error
//!         tokio::try_join!(server, worker).map(|_| ())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! `in_flight()` counts permits, clones included: a request whose handler keeps its permit counts twice. Jobs have no
//! name in errors and events. As the worker is a part of the server, closing lasts while it works, up to its 5 s.
//!
//! ## Jobs from outside
//!
//! A worker that takes jobs from a broker or a timer takes no more on [`closing`](crate::Drain::closing), and holds a permit
//! for the job in hand. Join it as above:
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
//! ## With a lame duck
//!
//! If the joined worker dies, there is no lame duck: a load balancer learns of it by refused connections. If it should have
//! one, let the worker's end start the shutdown, beside the signals, and do not join it:
//!
//! ```no_run
//! # #[cfg(feature = "signal")]
//! # async fn example(app: axum::Router, listener: tokio::net::TcpListener, work: impl Future<Output = ()> + Send + 'static)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use tokio::time::timeout;
//! use tokio_util::sync::CancellationToken;
//! use tower_drain::{Drain, Shutdown, Signal, signal};
//!
//! let drain = Drain::new();
//! let died = CancellationToken::new();
//! let guard = died.clone().drop_guard();
//! let worker = tokio::spawn(async move {
//!     let _guard = guard; // dropped on each way out, also by a panic
//!     work.await
//! });
//! let signal = signal::shutdown();
//! let on = async move {
//!     tokio::select! {
//!         signal = signal => signal,
//!         () = died.cancelled() => Signal::Terminate,
//!     }
//! };
//! let outcome = Shutdown::new(&drain, on)
//!     .force_on(tokio::signal::ctrl_c())
//!     .lame_duck(Duration::from_secs(10))
//!     .run(|closing| {
//!         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
//!     })
//!     .await;
//! timeout(Duration::from_secs(5), worker).await??; // a panic is an error
//! outcome?;
//! # Ok(())
//! # }
//! ```
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
