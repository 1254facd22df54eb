//! The graceful shutdown that Go services know from gin's documentation, with a database and a background worker.
//!
//! ```sh
//! cargo run --example gin_equivalent
//! curl -i http://127.0.0.1:8080/            # takes 5 s; while it runs, in a third terminal:
//! kill -TERM "$(pgrep -x gin_equivalent)"   # or Ctrl-C in the first
//! ```
//!
//! The running request is answered in full, the worker does the job that it queued, the database is closed, and the
//! program ends with 0. The log shows what is in flight meanwhile. Requests that are not done after 5 s are named, cancelled
//! and answered with a 503, and the program ends with 1. The worker then has 5 s for the jobs that are queued. A later
//! Ctrl-C ends the wait for the requests at once, and one more that for the worker.
//!
//! The comments quote the steps in Go. Environment variables: `ADDR` (default 127.0.0.1:8080), `DATABASE` (a file, by
//! default in the temporary directory) and `TIMEOUT` (in seconds, default 5).

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::get};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tower_drain::{Drain, Reached, Shutdown, signal};
use tracing::{error, info};

/// How long the worker may take for the jobs that are queued.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Clone)]
struct App {
    database: SqlitePool,
    /// Ids of the visits to thank for.
    jobs: mpsc::Sender<i64>,
}

// router.GET("/", func(c *gin.Context) { time.Sleep(5 * time.Second); c.String(200, "Welcome Gin Server") })
async fn welcome(State(app): State<App>) -> Result<&'static str, StatusCode> {
    info!("GET /");
    sleep(Duration::from_secs(5)).await;
    let visit = sqlx::query("INSERT INTO visits DEFAULT VALUES")
        .execute(&app.database)
        .await
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?
        .last_insert_rowid();
    // An error means that the worker has died.
    let queued = app.jobs.send(visit).await;
    queued.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok("Welcome Gin Server")
}

/// The background worker. It ends once no request is left that could queue a job, and all jobs are done.
async fn work(database: SqlitePool, mut jobs: mpsc::Receiver<i64>, drained: Reached) {
    let mut drained = pin!(drained);
    loop {
        let visit = tokio::select! {
            biased;
            Some(visit) = jobs.recv() => visit,
            () = &mut drained => return,
        };
        info!("job for visit {visit} started");
        sleep(Duration::from_millis(500)).await;
        let thank = sqlx::query("UPDATE visits SET thanked = 1 WHERE id = ?").bind(visit);
        match thank.execute(&database).await {
            Ok(_) => info!("job for visit {visit} done"),
            Err(error) => error!("job for visit {visit} failed: {error}"),
        }
    }
}

async fn open_database() -> Result<SqlitePool, sqlx::Error> {
    let file = env::var_os("DATABASE").map(PathBuf::from);
    let file = file.unwrap_or_else(|| env::temp_dir().join("gin_equivalent.db"));
    let options = SqliteConnectOptions::new().filename(file);
    let database = SqlitePool::connect_with(options.create_if_missing(true)).await?;
    let table =
        "CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY, thanked INTEGER DEFAULT 0)";
    sqlx::query(table).execute(&database).await?;
    let visits = "SELECT count(*), CAST(total(thanked) AS INTEGER) FROM visits";
    let (visits, thanked): (i64, i64) = sqlx::query_as(visits).fetch_one(&database).await?;
    info!("{visits} visits so far, {thanked} thanked for");
    Ok(database)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let seconds = env::var("TIMEOUT").unwrap_or_else(|_| "5".into());
    let patience = seconds.parse().ok().map(Duration::try_from_secs_f64);
    let Some(Ok(patience)) = patience else {
        return Err(format!("TIMEOUT={seconds}: not a time in seconds").into());
    };
    let drain = Drain::new();
    // quit := make(chan os.Signal); signal.Notify(quit, syscall.SIGINT, syscall.SIGTERM)
    let shutdown = Shutdown::on_signal(&drain)
        // ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
        .timeout(patience);

    // router := gin.Default()
    let database = open_database().await?;
    let (jobs, queue) = mpsc::channel(1024);
    let worker = tokio::spawn(work(database.clone(), queue, drain.drained()));
    let app = Router::new().route("/", get(welcome)).with_state(App {
        database: database.clone(),
        jobs,
    });
    // srv := &http.Server{Addr: ":8080", Handler: router}
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    info!("listening on {}", listener.local_addr()?);

    // go srv.ListenAndServe(); <-quit; err := srv.Shutdown(ctx)
    let served = shutdown.listener(&listener)?.run(|closing| {
        let closing = async {
            closing.await;
            info!("Shutdown Server ...");
        };
        let app = app.layer(drain.layer().track_requests());
        axum::serve(listener, app).with_graceful_shutdown(closing)
    });
    let served = served.await;
    // Each wait from here on has a limit, and a signal ends it.
    let worked = tokio::select! {
        worked = timeout(GRACE, worker) => worked.is_ok_and(|worked| worked.is_ok()),
        _ = signal::shutdown() => false,
    };
    let _ = timeout(Duration::from_secs(1), database.close()).await;
    info!("Server exiting");
    // if err != nil { log.Fatal("Server Shutdown:", err) }
    served?;
    if !worked {
        return Err("the worker did not finish".into());
    }
    Ok(())
}
