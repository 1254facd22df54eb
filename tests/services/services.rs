//! Services that own their sockets or streams. A layer does not see what they do with them, so they are asked to end.
//!
//! The recipes in `src/recipes/services.md` are taken from here.

#![allow(missing_docs)]

mod graphql;
mod mcp;
mod socket_io;

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures_util::StreamExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tower_drain::{Drain, Shutdown, ShutdownError, ShutdownReport};

/// For all that must happen.
const LIMIT: Duration = Duration::from_secs(10);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A server that shuts down once `stop` is cancelled.
struct Server {
    address: SocketAddr,
    run: JoinHandle<Result<ShutdownReport, ShutdownError>>,
}

impl Server {
    async fn start(drain: &Drain, app: Router, stop: &CancellationToken) -> Self {
        Self::start_with(drain, app, stop, async {}).await
    }

    /// Starts a server that has not ended before `also` has.
    async fn start_with(
        drain: &Drain,
        app: Router,
        stop: &CancellationToken,
        also: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = Shutdown::new(drain, stop.clone().cancelled_owned()).timeout(LIMIT);
        let shutdown = shutdown.listener(&listener).unwrap();
        let run = shutdown.run(|closing| async {
            let serve = axum::serve(listener, app).with_graceful_shutdown(closing);
            tokio::join!(serve.into_future(), also).0
        });
        Self {
            address,
            run: tokio::spawn(run),
        }
    }

    /// Waits until the shutdown has ended, without an error.
    async fn ends(self) {
        timeout(LIMIT, self.run).await.unwrap().unwrap().unwrap();
    }
}

async fn next(socket: &mut Socket) -> Option<Message> {
    let message = timeout(LIMIT, socket.next()).await.unwrap();
    message.map(Result::unwrap)
}

/// Reads up to a message with this text.
async fn read_to(socket: &mut Socket, text: &str) {
    while !next(socket)
        .await
        .unwrap()
        .to_text()
        .unwrap()
        .contains(text)
    {}
}

/// Reads up to the end.
async fn rest(socket: &mut Socket) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some(message) = next(socket).await {
        messages.push(message);
    }
    messages
}
