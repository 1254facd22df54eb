//! How the process starts to stop, and how it ends: signals, exit codes, logs.
//!
//! # Exit
//!
//! Three ways, from the shortest to the most careful:
//!
//! 1. **`main` returns the error.** [`ShutdownError`](crate::ShutdownError) prints as a sentence, and the code is 1.
//!    `#[tokio::main]` then waits, without a limit, for `spawn_blocking` tasks that have not ended.
//! 2. **[`std::process::exit`]**, which waits for nothing and runs no destructors. Guards that write on drop, such as
//!    `WorkerGuard` of `tracing-appender` or a provider of OpenTelemetry, must be dropped before it: otherwise the last
//!    lines and spans are lost, the error among them.
//! 3. **A runtime of your own**, with a limit for blocking tasks, and guards that are dropped last:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! # use axum::Router;
//! # use tokio::net::TcpListener;
//! use tokio::runtime::Runtime;
//! use tower_drain::{Drain, Shutdown};
//!
//! async fn serve() -> anyhow::Result<()> {
//!     let drain = Drain::new();
//! #   let (app, stop) = (Router::new(), async {});
//!     let listener = TcpListener::bind("0.0.0.0:8080").await?;
//!     Shutdown::new(&drain, stop)
//!         .run(|closing| {
//!             axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
//!         })
//!         .await?;
//!     Ok(())
//! }
//!
//! # struct Guard;
//! # fn start_logging() -> Guard { Guard }
//! fn main() -> anyhow::Result<()> {
//!     let _guard = start_logging(); // for example `tracing_appender::non_blocking(..)`
//!     let runtime = Runtime::new()?;
//!     let outcome = runtime.block_on(serve());
//!     if let Err(error) = &outcome {
//!         tracing::error!("{error:#}"); // into the log too: not every error has an event
//!     }
//!     runtime.shutdown_timeout(Duration::from_secs(1)); // for blocking tasks that have not ended
//!     outcome
//! }
//! ```
//!
//! With the feature `tracing`, the crate logs timeouts and failed servers. It knows nothing of what happens before `run`,
//! such as a port in use.
//!
//! # What comes after `run`
//!
//! A request that timed out, or a connection that was abandoned, lives until the process ends, with its clone of
//! the app and everything in it: channel senders, pools, handles. Code that waits for the last of these never
//! returns: a worker that waits until its channel is closed, `Pool::close`, a `join!` with such a task. So set a
//! timeout for each step after `run`, and look at the outcome last:
//!
//! ```
//! # use std::time::Duration;
//! # struct Pool;
//! # impl Pool { async fn close(&self) {} }
//! # async fn example(pool: Pool, outcome: Result<(), tower_drain::ShutdownError>) -> Result<(), tower_drain::ShutdownError> {
//! // let outcome = shutdown.run(..).await;
//! let _ = tokio::time::timeout(Duration::from_secs(5), pool.close()).await; // sqlx, for example
//! outcome
//! # }
//! ```
//!
//! After [`Shutdown::on_signal`](crate::Shutdown::on_signal), further signals do not terminate the process.
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
//!     .run(|closing| {
//!         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
