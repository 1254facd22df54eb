//! WebSockets outlive their request: hyper drops the body with the 101. Each socket holds the request's permit, which keeps
//! the drain waiting, and says goodbye (1001, going away) at a time of its own in the second half of the lame duck.
//!
//! ```sh
//! cargo run --example websocket              # then connect to ws://127.0.0.1:8080/, and Ctrl-C
//! ```

use std::env;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use axum::routing::any;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tower_drain::{Drain, Permit, Shutdown};

/// How long a client has to take a message, and to answer a goodbye. One that takes longer is disconnected.
const PATIENCE: Duration = Duration::from_secs(2);

async fn upgrade(
    State(drain): State<Drain>,
    // The request's own, from `share_permit()`: between request and socket, the count is never zero.
    Extension(permit): Extension<Permit>,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        let mut goodbye = pin!(drain.goodbye());
        loop {
            let message = tokio::select! {
                message = socket.recv() => message,
                () = &mut goodbye => break leave(socket).await,
            };
            let Some(Ok(message)) = message else { break };
            // axum answers pings, and a close by the client, when it is polled for the next message.
            if matches!(message, Message::Text(_) | Message::Binary(_)) {
                // A client that does not read must not hold up the goodbye.
                let sent = tokio::select! {
                    sent = timeout(PATIENCE, socket.send(message)) => sent,
                    () = &mut goodbye => break leave(socket).await,
                };
                let Ok(Ok(())) = sent else { break };
            }
        }
        drop(permit);
    })
}

/// Says goodbye, and waits for the client's: if the socket were closed while data from the client is unread, a reset could
/// overtake the goodbye, and the client would see 1006.
async fn leave(mut socket: WebSocket) {
    let away = CloseFrame {
        code: close_code::AWAY,
        reason: "the server is going away".into(),
    };
    let _ = timeout(PATIENCE, async {
        let _ = socket.send(Message::Close(Some(away))).await;
        while let Some(Ok(_)) = socket.recv().await {}
    })
    .await;
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain)
        .lame_duck(Duration::from_secs(3))
        .timeout(Duration::from_secs(10));
    let app = Router::new()
        .route("/", any(upgrade))
        .with_state(drain.clone());
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    shutdown
        .listener(&listener)?
        .run(|closing| {
            let app = app.layer(drain.layer().share_permit());
            axum::serve(listener, app).with_graceful_shutdown(closing)
        })
        .await?;
    Ok(())
}
