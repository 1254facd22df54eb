//! The graceful shutdown that every Go service knows from gin, and what belongs around it.
//!
//! ```sh
//! cargo run --example gin_equivalent
//! curl -i http://127.0.0.1:8080/            # takes 5 s; while it runs, in a third terminal:
//! kill -TERM "$(pgrep -x gin_equivalent)"   # or Ctrl-C in the first
//! ```
//!
//! The request that was running is answered in full. The port is closed; a newcomer on a connection
//! that is still open gets a 503. What is not done after 5 s is named, cancelled and answered with a 503.
//! Once the background worker has finished the job in its hands the database is closed, and the program
//! ends: with 0 if all was drained, with 1 and the count of what it abandoned if not. A second signal
//! ends it at once.
//!
//! The environment may set `ADDR` (default 127.0.0.1:8080), `DATABASE` (a file, by default in the
//! folder for temporary ones) and `TIMEOUT` (in seconds, default 5).

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use indicatif::{ProgressBar, ProgressStyle};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tower_drain::{Drain, Phase, Shutdown, ShutdownError, signal};
use tracing::{error, info, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What closing the database may take.
const GRACE: Duration = Duration::from_secs(1);

type Error = Box<dyn std::error::Error>;

#[derive(Clone)]
struct App {
    database: SqlitePool,
    /// Ids of visits that someone has yet to be thanked for.
    jobs: mpsc::Sender<i64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode, Error> {
    start_logging();
    let patience = match env::var("TIMEOUT") {
        Ok(text) => seconds(&text).ok_or_else(|| format!("TIMEOUT={text}: no time in seconds"))?,
        Err(_) => Duration::from_secs(5),
    };
    let database = open_database().await?;
    let (jobs, queue) = mpsc::channel(1024);
    let (stop, stopped) = oneshot::channel();
    let worker = tokio::spawn(work(queue, database.clone(), stopped));

    let drain = Drain::new();
    let app = Router::new()
        .route("/", get(welcome))
        .with_state(App {
            database: database.clone(),
            jobs,
        })
        .layer(drain.layer().track_requests());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}"))?;
    let address = listener.local_addr()?;
    let serve = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
    let server = async {
        // Not before signals are listened for, which `run` does first: whoever reads it may send one.
        info!("listening on {address}");
        serve.await
    };
    tokio::spawn(show_progress(drain.clone()));

    let told = async {
        let signal = signal::shutdown().await;
        info!("Shutdown Server ...");
        signal
    };
    let served = Shutdown::new(&drain)
        .on(told)
        .timeout(patience)
        .run(server)
        .await;
    if let Err(error) = &served {
        error!("{error}; abandoned {}", abandoned(error));
    }
    // No request is left: now what the requests used.
    let close = async {
        drop(stop);
        let worked = timeout(patience, worker).await.is_ok();
        if !worked {
            error!("the worker did not finish; abandoned 1 job");
        }
        // Bounded too: what was abandoned may still have a connection.
        let _ = timeout(GRACE, database.close()).await;
        worked
    };
    let closed = match &served {
        Err(ShutdownError::Forced(_)) => false,
        _ => tokio::select! {
            closed = close => closed,
            _ = signal::shutdown() => {
                error!("forced to stop; abandoned the worker");
                false
            }
        },
    };
    info!("Server exiting");
    Ok(match served.is_ok() && closed {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A day at most: an enormous one has no place on the clock.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    Some(seconds.min(DAY))
}

fn abandoned<E>(error: &ShutdownError<E>) -> usize {
    match error {
        ShutdownError::TimedOut(left) | ShutdownError::Forced(left) => left.in_flight(),
        ShutdownError::Server(_) => 0,
    }
}

async fn welcome(State(app): State<App>) -> Result<&'static str, StatusCode> {
    info!("GET /");
    sleep(Duration::from_secs(5)).await;
    let visit = sqlx::query("INSERT INTO visits DEFAULT VALUES")
        .execute(&app.database)
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .last_insert_rowid();
    if app.jobs.try_send(visit).is_err() {
        warn!("no one will be thanked for visit {visit}");
    }
    Ok("Welcome Gin Server")
}

/// The background worker. Told to stop it finishes the job in its hands and takes no other: those
/// are in the database, for the next start.
async fn work(
    mut queue: mpsc::Receiver<i64>,
    database: SqlitePool,
    mut stopped: oneshot::Receiver<()>,
) {
    loop {
        let visit = tokio::select! {
            biased;
            _ = &mut stopped => return,
            visit = queue.recv() => visit,
        };
        let Some(visit) = visit else { return };
        sleep(Duration::from_millis(500)).await;
        let thanked = sqlx::query("UPDATE visits SET thanked = 1 WHERE id = ?")
            .bind(visit)
            .execute(&database)
            .await;
        match thanked {
            Ok(_) => info!("job for visit {visit} done"),
            Err(error) => warn!("job for visit {visit} failed: {error}"),
        }
    }
}

async fn open_database() -> Result<SqlitePool, sqlx::Error> {
    let path = env::var_os("DATABASE")
        .map_or_else(|| env::temp_dir().join("gin_equivalent.db"), PathBuf::from);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let database = SqlitePool::connect_with(options).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS visits (
            id INTEGER PRIMARY KEY,
            at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
            thanked INTEGER NOT NULL DEFAULT 0
        )",
    )
    .execute(&database)
    .await?;
    Ok(database)
}

/// Logs to stderr. At a terminal the bar is how the drain comes along; elsewhere it is the crate's own
/// events, a line a second.
fn start_logging() {
    let terminal = io::stderr().is_terminal();
    let quiet = if terminal {
        LevelFilter::WARN
    } else {
        LevelFilter::INFO
    };
    let filter = Targets::new()
        .with_default(LevelFilter::INFO)
        .with_target("tower_drain", quiet);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(terminal);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .init();
}

/// The bar, at a terminal, until the drain has ended.
async fn show_progress(drain: Drain) {
    drain.draining().await;
    if !io::stderr().is_terminal() {
        return;
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    while drain.phase() < Phase::Drained {
        bar.set_message(format!("{} in flight", drain.in_flight()));
        bar.tick();
        sleep(Duration::from_millis(100)).await;
    }
    bar.finish_and_clear();
}
