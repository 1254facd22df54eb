//! Tokens, workers, jobs and other tasks beside the server.
//!
//! | a task | ends | who waits for it |
//! |---|---|---|
//! | [takes jobs that handlers queue](#a-queue-inside-the-process) | when no job is left | the drain, by a permit for each job |
//! | [takes jobs from outside](#a-worker-that-may-die): a broker, a timer | on [`closing`](crate::Drain::closing), after the job in hand | `run`, which it also ends if it fails |
//! | [requests depend on it](#tasks-that-end-after-the-requests): a cache, a connection | after `run` | you, with a timeout |
//! | can be continued elsewhere | [at its goodbye](crate::recipes::long_lived#jobs) | the drain, by a permit |
//!
//! # A queue inside the process
//!
//! If handlers queue jobs for a worker, send a permit with each job. The drain then waits for the jobs too. Let the worker
//! run until [`Shutdown::run`] has returned, not only until the server closes:
//!
//! ```
//! # use axum::{Extension, Router, http::StatusCode, routing::post};
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
//!     match queue.send((7, permit)).await {
//!         Ok(()) => StatusCode::ACCEPTED,
//!         Err(_) => StatusCode::INTERNAL_SERVER_ERROR, // the worker has died
//!     }
//! };
//! let app: Router = Router::new().route("/jobs", post(enqueue));
//! let app: Router = app.layer(drain.layer().share_permit()); // where the server is made
//! # }
//! ```
//!
//! `in_flight()` counts permits, clones included: with `share_permit`, a running request has two and more. Jobs have no
//! name in errors and events.
//!
//! # A worker that may die
//!
//! A server without its worker should not go on. Join the two inside of `run`: if the worker fails or panics, the
//! shutdown starts, requests in flight are answered, and `run` returns the worker's error. A worker that ends without an
//! error, on [`closing`](crate::Drain::closing), ends nothing else:
//!
//! ```no_run
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! # use tokio::sync::mpsc;
//! use tower_drain::{BoxError, Drain, Shutdown};
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
//!
//! # async fn example(app: Router, listener: TcpListener, stop: impl Future<Output = ()>, jobs: mpsc::Receiver<u32>)
//! # -> Result<(), Box<dyn std::error::Error>> {
//! let drain = Drain::new();
//! let worker = tokio::spawn(work(drain.clone(), jobs));
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
//! There is no lame duck then: a load balancer learns of it by refused connections. If it should have one, let the worker's
//! end start the shutdown, as [another signal](crate::recipes::process#other-signals) does.
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
