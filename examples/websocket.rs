//! WebSockets, which outlive their request: hyper drops its body with the 101. Each socket holds the
//! drain open by the request's permit, and is told when draining has begun, so that it can say
//! goodbye (1001, going away) instead of being cut off.
//!
//! ```sh
//! cargo run --example websocket              # then connect to ws://127.0.0.1:8080/, and Ctrl-C
//! ```

use std::env;
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
    // The request's own, from `share_permit()`. It was given before draining began, and there is no
    // moment between the request and the socket at which nothing is in flight.
    Extension(permit): Extension<Permit>,
    socket: WebSocketUpgrade,
) -> Response {
    socket.on_upgrade(async move |socket| {
        echo(socket, drain).await;
        drop(permit);
    })
}

async fn echo(mut socket: WebSocket, drain: Drain) {
    let mut draining = std::pin::pin!(drain.draining());
    loop {
        let message = tokio::select! {
            message = socket.recv() => message,
            () = &mut draining => {
                let away = CloseFrame {
                    code: close_code::AWAY,
                    reason: "the server is going away".into(),
                };
                // An error is a client that has gone already.
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
            // axum answers pings, and the client's goodbye, when it is asked for the next message.
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let drain = Drain::new();
    let app = Router::new()
        .route("/", any(upgrade))
        .with_state(drain.clone())
        .layer(drain.layer().share_permit());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let server = axum::serve(listener, app).with_graceful_shutdown(drain.draining());
    let report = Shutdown::new(&drain)
        .timeout(Duration::from_secs(10))
        .run(async {
            eprintln!("listening on {address}");
            server.await
        })
        .await?;
    eprintln!("{} were in flight", report.in_flight_at_start());
    Ok(())
}
