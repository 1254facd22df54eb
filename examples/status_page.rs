//! A page that shows which requests hold up the shutdown. It is on its own port, which stays open while the
//! other one drains. Also as JSON, for curl.
//!
//! ```sh
//! cargo run --example status_page            # then open http://127.0.0.1:8081/, start a few slow
//!                                            # requests there, and watch them end after
//! kill -TERM "$(pgrep -x status_page)"
//! curl http://127.0.0.1:8081/status.json
//! ```
//!
//! The lame duck takes 5 s, closing and draining at most 20 s. Requests that are left then are cancelled.

use std::env;
use std::io;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse};
use axum::{Router, routing::get};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower_drain::{Drain, Shutdown};

const PAGE: &str = include_str!("status_page/page.html");

async fn status(State(drain): State<Drain>) -> impl IntoResponse {
    let status = drain.status();
    let oldest = status.oldest().iter().map(|request| {
        json!({
            "method": request.method(),
            "path": request.path(),
            "stage": request.stage().to_string(),
            "age": request.age().as_secs_f64(),
        })
    });
    let status = json!({
        "phase": format!("{:?}", status.phase()),
        "in_flight": status.in_flight(),
        "refused": status.refused(),
        "time_left": status.time_left().map(|left| left.as_secs_f64()),
        "oldest": oldest.collect::<Vec<_>>(),
    });
    ([(CONTENT_TYPE, "application/json")], format!("{status}\n"))
}

async fn listen(variable: &str, default: &str) -> io::Result<TcpListener> {
    let address = env::var(variable).unwrap_or_else(|_| default.into());
    TcpListener::bind(address).await
}

async fn slow(Path(seconds): Path<u64>) -> &'static str {
    sleep(Duration::from_secs(seconds)).await;
    "Welcome Gin Server"
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(5))
        .timeout(Duration::from_secs(20));
    let app = Router::new()
        .route("/", get(async || slow(Path(5)).await))
        .route("/slow/{seconds}", get(slow));
    let listener = listen("ADDR", "127.0.0.1:8080").await?;
    let address = listener.local_addr()?;

    // On its own port, without the layer: reachable to the end, and not counted.
    let page = PAGE.replace("{{app}}", &address.to_string());
    let admin = Router::new()
        .route("/", get(async move || Html(page)))
        .route("/status.json", get(status))
        .with_state(drain.clone());
    let admin_listener = listen("ADMIN", "127.0.0.1:8081").await?;
    tracing::info!("status page on http://{}/", admin_listener.local_addr()?);
    tokio::spawn(axum::serve(admin_listener, admin).into_future());

    tracing::info!("listening on {address}");
    shutdown
        .listener(&listener)?
        .run(|closing| {
            let app = app.layer(drain.layer().track_requests());
            axum::serve(listener, app).with_graceful_shutdown(closing)
        })
        .await?;
    Ok(())
}
