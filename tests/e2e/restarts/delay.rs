//! Simulates distant clients: a connection with a round trip.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

/// Connects through a proxy that delays what passes, both ways.
pub(super) async fn connect(address: SocketAddr, delay: Duration) -> io::Result<DuplexStream> {
    sleep(delay).await;
    let server = TcpStream::connect(address).await;
    sleep(delay).await;
    let server = server?;
    server.set_nodelay(true)?;
    let (client, proxy) = duplex(1 << 16);
    let (from_client, to_client) = split(proxy);
    let (from_server, to_server) = server.into_split();
    pass(from_client, to_server, delay);
    pass(from_server, to_client, delay);
    Ok(client)
}

fn pass<R, W>(mut from: R, mut to: W, delay: Duration)
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut on_the_way) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 14];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let arrival = Instant::now() + delay;
            let _ = sender.send((arrival, buffer[..length].to_vec()));
        }
        sleep(delay).await;
    });
    tokio::spawn(async move {
        while let Some((arrival, bytes)) = on_the_way.recv().await {
            sleep_until(arrival).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
}
