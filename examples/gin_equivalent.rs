//! The graceful shutdown that every Go service knows from gin, with a database and a background worker.
//!
//! ```sh
//! cargo run --example gin_equivalent
//! curl -i http://127.0.0.1:8080/            # takes 5 s; while it runs, in a third terminal:
//! kill -TERM "$(pgrep -x gin_equivalent)"   # or Ctrl-C in the first
//! ```
//!
//! The port is closed. The running request is answered in full, and so are clients that have just connected.
//! New requests on open connections are served for one more second, then refused with a 503. Requests that
//! are not done after 5 s are logged, cancelled and answered with a 503. Once the background worker has
//! finished its current job, the database is closed and the program exits. The code is 0 if everything was
//! drained. Otherwise it is 1, and the number of abandoned requests is logged. A later Ctrl-C ends the
//! program at once.
//!
//! Environment variables: `ADDR` (default 127.0.0.1:8080), `DATABASE` (a file, by default in the temporary
//! directory) and `TIMEOUT` (in seconds, default 5).

use std::env;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
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
/// Timeout for closing the database, and for connections with nothing in flight.
const GRACE: Duration = Duration::from_secs(1);

type Error = Box<dyn std::error::Error>;

#[derive(Clone)]
struct App {
    database: SqlitePool,
    /// Ids of the visits to thank for.
    jobs: mpsc::Sender<i64>,
}

/// Returns whether nothing was abandoned.
async fn serve() -> Result<bool, Error> {
    let drain = Drain::new();
    // First of all, so that a signal during start-up takes effect.
    let shutdown = Shutdown::on_signal(&drain);
    start_logging();
    let patience = match env::var("TIMEOUT") {
        Ok(text) => {
            seconds(&text).ok_or_else(|| format!("TIMEOUT={text}: not a time in seconds"))?
        }
        Err(_) => Duration::from_secs(5),
    };
    let database = open_database().await?;
    let (jobs, queue) = mpsc::channel(1024);
    let (stop, stopped) = oneshot::channel();
    let worker = tokio::spawn(work(queue, database.clone(), stopped));

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
    info!("listening on {}", listener.local_addr()?);
    tokio::spawn(show_progress(drain.clone()));

    // No connection that has reached the port is reset.
    let served = shutdown
        .listener(&listener)?
        .timeout(patience)
        .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
        .await;
    if let Err(error) = &served {
        error!("{error}; abandoned {}", abandoned(error));
    }
    // No request is left. Now close what the requests used.
    let close = async {
        drop(stop);
        let worked = timeout(patience, worker).await.is_ok();
        if !worked {
            error!("the worker did not finish; abandoned 1 job");
        }
        // Bounded too: an abandoned request may still hold a connection.
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
    Ok(served.is_ok() && closed)
}

/// Parses a time in seconds. A day at most, because the clock cannot express enormous times.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = Duration::try_from_secs_f64(text.parse().ok()?).ok()?;
    Some(seconds.min(DAY))
}

fn abandoned(error: &ShutdownError) -> usize {
    match error {
        ShutdownError::TimedOut(left) | ShutdownError::Forced(left) => left.in_flight(),
        _ => 0,
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
        warn!("the queue is full: no thanks for visit {visit}");
    }
    Ok("Welcome Gin Server")
}

/// The background worker. When it is stopped, it finishes the current job and takes no other. The others are
/// in the database, for the next start.
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
        info!("job for visit {visit} started");
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

/// Logs to stderr. At a terminal, progress is a bar. Elsewhere it is the crate's events, one line per second.
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

/// Logs that the shutdown has begun, and shows its progress at a terminal.
async fn show_progress(drain: Drain) {
    drain.closing().await;
    info!("Shutdown Server ...");
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

#[tokio::main]
async fn main() {
    let complete = serve().await.unwrap_or_else(|error| {
        eprintln!("{error}");
        false
    });
    // Returning would wait for blocking tasks without a limit.
    std::process::exit(i32::from(!complete))
}
