//! WebSockets outlive their request: hyper drops the body with the 101. Each socket holds the request's
//! permit, which keeps the drain waiting, and watches `closing()`, so that it can say goodbye (1001, going
//! away) instead of being cut off.
//!
//! ```sh
//! cargo run --example websocket              # then connect to ws://127.0.0.1:8080/, and Ctrl-C
//! ```

use std::env;
use std::io;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::any;
use tokio::net::TcpListener;
use tower_drain::{Drain, Permit, Shutdown};

async fn upgrade(
    State(drain): State<Drain>,
    // The request's own, from `share_permit()`: between request and socket, the count is never zero.
    Extension(permit): Extension<Permit>,
    socket: WebSocketUpgrade,
) -> Response {
    socket.on_upgrade(async move |socket| {
        echo(socket, drain).await;
        drop(permit);
    })
}

async fn echo(mut socket: WebSocket, drain: Drain) {
    let mut closing = std::pin::pin!(drain.closing());
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = &mut closing => {
                let away = CloseFrame {
                    code: close_code::AWAY,
                    reason: "the server is going away".into(),
                };
                // An error means that the client is gone.
                let _ = socket.send(Message::Close(Some(away))).await;
                return;
            }
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // axum answers pings, and a close by the client, when it is polled for the next message.
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    // Logs the crate's events: phases, progress and timeouts.
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain).timeout(Duration::from_secs(10));
    let app = Router::new()
        .route("/", any(upgrade))
        .with_state(drain.clone())
        .layer(drain.layer().share_permit());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    #[cfg(unix)]
    let shutdown = shutdown.listener(&listener)?;
    shutdown
        .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() {
    let outcome = serve().await;
    if let Err(error) = &outcome {
        eprintln!("{error}");
    }
    // Returning would wait for blocking tasks without a limit.
    std::process::exit(outcome.is_err().into())
}
