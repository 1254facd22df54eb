//! socketioxide: `SocketIo::close` ends all sockets, once the server closes.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::SinkExt;
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, SocketRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::RwLock;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::connect_async;

use super::*;

async fn close_sockets(io: SocketIo, drain: Drain) {
    // Not `goodbye()`: a client that connects again later could join no namespace here, and would give up.
    drain.closing().await;
    let namespaces = io.nsps().into_iter();
    let sockets: Vec<SocketRef> = namespaces.flat_map(|space| space.sockets()).collect();
    io.close().await;
    // In 0.18, `close` neither calls the handlers of `on_disconnect` nor frees the sockets, which hold their permits.
    for socket in sockets {
        let _ = socket.disconnect();
    }
}

/// Sends a request on a connection of its own, and returns the body of the response.
async fn http(address: SocketAddr, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    response.split_once("\r\n\r\n").unwrap().1.to_owned()
}

fn websocket(address: SocketAddr) -> String {
    format!("ws://{address}/socket.io/?EIO=4&transport=websocket")
}

/// With `share_permit()`, each session keeps the request that opened it, and so its permit.
#[tokio::test]
async fn its_sockets_and_polls_end_when_the_server_closes() {
    let (drain, stop) = (Drain::new(), CancellationToken::new());
    // Sockets that have joined no namespace end only by this. It must be shorter than the timeout of the shutdown.
    let builder = SocketIo::builder().connect_timeout(Duration::from_secs(1));
    let (layer, io) = builder.build_layer();
    io.ns("/", async |socket: SocketRef| {
        socket.on_disconnect(async |socket: SocketRef| drop(socket));
        socket.emit("ready", &1).unwrap();
    });
    tokio::spawn(close_sockets(io, drain.clone()));
    let app = Router::new()
        .layer(layer)
        .layer(drain.layer().share_permit());
    let server = Server::start(&drain, app, &stop).await;
    let address = server.address;

    let (mut joined, _) = connect_async(websocket(address)).await.unwrap();
    joined.send("40".into()).await.unwrap();
    read_to(&mut joined, "ready").await;
    let (mut alone, _) = connect_async(websocket(address)).await.unwrap();
    // One that polls.
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = http(address, "GET", path, "").await;
    let path = format!("{path}&sid={}", open.split('"').nth(3).unwrap());
    http(address, "POST", &path, "40").await;
    let mut polled = String::new();
    // Once a ping, the answer to "40" and the event have come, the next poll waits.
    while !(polled.contains("2\x1e") && polled.contains("ready")) {
        polled += &http(address, "GET", &path, "").await;
        polled += "\x1e";
    }
    assert_eq!(drain.in_flight(), 3);
    let poll = tokio::spawn(async move { http(address, "GET", &path, "").await });
    let arrived = async {
        while drain.in_flight() < 4 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(60), arrived).await.unwrap();

    stop.cancel();
    // The close of Engine.IO, after which a client of Socket.IO connects again.
    assert_eq!(timeout(LIMIT, poll).await.unwrap().unwrap(), "1");
    for socket in [&mut joined, &mut alone] {
        let messages = rest(socket).await;
        let last = &messages[messages.len() - 2..];
        assert_eq!(last, ["1".into(), Message::Close(None)]);
    }
    server.ends().await;
    assert_eq!(drain.in_flight(), 0);
}

/// `SocketIo::close` cuts off the handlers of events. With a lock, they finish first.
#[tokio::test]
async fn an_event_is_acknowledged_first() {
    let (drain, stop) = (Drain::new(), CancellationToken::new());
    let (layer, io) = SocketIo::new_layer();
    // Each handler reads it. The lock is fair, so no handler starts once the close waits for it.
    let handlers = Arc::new(RwLock::new(()));
    let (lock, started) = (handlers.clone(), stop.clone());
    io.ns("/", async move |socket: SocketRef| {
        socket.on("slow", async move |ack: AckSender| {
            let _handling = lock.read().await;
            started.cancel();
            sleep(Duration::from_secs(1)).await;
            ack.send("done").unwrap();
        });
        socket.emit("ready", &1).unwrap();
    });
    let app = Router::new().layer(layer).layer(drain.layer());
    let closing = drain.closing();
    // Without `share_permit()`, nothing holds a permit. So the server ends after this.
    let close = async move {
        closing.await;
        let _idle = handlers.write().await;
        io.close().await;
    };
    let server = Server::start_with(&drain, app, &stop, close).await;
    let (mut client, _) = connect_async(websocket(server.address)).await.unwrap();
    client.send("40".into()).await.unwrap();
    read_to(&mut client, "ready").await;
    client.send("420[\"slow\"]".into()).await.unwrap();
    let messages = rest(&mut client).await;
    let last = &messages[messages.len() - 3..];
    assert_eq!(
        last,
        ["430[\"done\"]".into(), "1".into(), Message::Close(None)]
    );
    server.ends().await;
}
