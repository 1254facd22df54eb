//! The graceful shutdown that every Go service knows from gin, and what belongs around it.
//!
//! ```sh
//! cargo run --example gin_equivalent
//! curl -i http://127.0.0.1:8080/            # takes 5 s; while it runs, in a third terminal:
//! kill -TERM "$(pgrep -x gin_equivalent)"   # or Ctrl-C in the first
//! ```
//!
//! The request that was running is answered in full. The port is closed; a newcomer on a connection
//! that is still open gets a 503. After at most 5 s, and after the background worker has finished
//! the job in its hands, the database is closed and the program ends: with 0 if all was drained,
//! with 1 and the count of what it abandoned if not. A second signal ends it at once.
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
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tower_drain::{Drain, TimedOut};
use tracing::{error, info, warn};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What closing the database may take, when the worker has used up the rest.
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
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let timeout = match env::var("TIMEOUT") {
        // A day at most: an enormous one has no place on the clock.
        Ok(seconds) => Duration::try_from_secs_f64(seconds.parse()?)?.min(DAY),
        Err(_) => Duration::from_secs(5),
    };
    let mut signals = Signals::new()?;
    let database = open_database().await?;
    let (jobs, queue) = mpsc::channel(1024);
    let drain = Drain::new();

    let (stop, stopped) = oneshot::channel();
    let worker = tokio::spawn(work(queue, database.clone(), stopped));
    let app = Router::new()
        .route("/", get(welcome))
        .with_state(App {
            database: database.clone(),
            jobs,
        })
        .layer(drain.layer());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(&address).await?;
    info!("listening on {}", listener.local_addr()?);
    let serve = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
    let mut server = tokio::spawn(serve.into_future());

    tokio::select! {
        _ = signals.next() => info!("Shutdown Server ..."),
        ended = &mut server => return Err(format!("the server ended by itself: {ended:?}").into()),
    }

    let shutdown = async {
        let deadline = Instant::now() + timeout;
        let requests = drain.drain_until(deadline).await;
        // None in flight is not yet all on the wire: the server has to flush, and closes after it.
        let connections = timeout_at(deadline, server).await;
        drop(stop);
        let deadline = Instant::now() + timeout;
        let jobs = timeout_at(deadline, worker).await;
        // Bounded too: what was abandoned may still have a connection.
        let _ = timeout_at(deadline.max(Instant::now() + GRACE), database.close()).await;
        abandoned(requests.err(), connections.is_err(), jobs.is_err())
    };
    let code = tokio::select! {
        code = shutdown => code,
        // Polled for as long as the shutdown takes.
        never = show_progress(&drain) => never,
        _ = signals.next() => {
            error!("second signal: abandoned {} in flight", drain.in_flight());
            ExitCode::FAILURE
        }
    };
    info!("Server exiting");
    Ok(code)
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

/// What is logged, and told to whoever waits for this process, when not all went well.
fn abandoned(requests: Option<TimedOut>, connections: bool, jobs: bool) -> ExitCode {
    if let Some(timed_out) = &requests {
        error!("{timed_out}; abandoned {}", timed_out.in_flight());
    } else if connections {
        error!("no request in flight, but connections still open; abandoned them");
    }
    if jobs {
        error!("the worker did not finish; abandoned 1 job");
    }
    match (requests, connections, jobs) {
        (None, false, false) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// How the drain comes along: a bar at a terminal, a line a second elsewhere. Never ends.
async fn show_progress(drain: &Drain) -> ExitCode {
    let start = Instant::now();
    drain.draining().await;
    if io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
        let bar = ProgressBar::new_spinner();
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        loop {
            bar.set_message(format!("{} in flight", drain.in_flight()));
            bar.tick();
            sleep(Duration::from_millis(100)).await;
        }
    }
    loop {
        info!(
            "{} in flight after {:.0?}",
            drain.in_flight(),
            start.elapsed()
        );
        sleep(Duration::from_secs(1)).await;
    }
}

/// SIGINT and SIGTERM, either of them.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
