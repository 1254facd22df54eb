//! A server that restarts itself, without systemd and without a second port: on SIGUSR2 it starts its binary anew and
//! hands it the listening socket ([ecdysis]). Once the new process is ready, the old one stops accepting, answers the
//! requests that it has, and ends. No client is refused.
//!
//! ```sh
//! cargo run --example restart_in_place
//! pkill -USR2 -o -f examples/restart_in_place   # upgrades, as often as you like
//! pkill -TERM -f examples/restart_in_place      # ends
//! ```
//!
//! The socket continues to be used, so it is not passed to `Shutdown::listener`. Under a supervisor that expects the
//! main process to stay (Docker, `Type=simple`), use a new container or socket activation instead: see `systemd.rs`.
//!
//! `tests/e2e/restarts/handover.rs` upgrades it under load.
//!
//! [ecdysis]: https://docs.rs/ecdysis

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("This example is for Linux.");
}

#[cfg(target_os = "linux")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::serve().await
}

#[cfg(target_os = "linux")]
mod linux {
    use std::env;
    use std::future::pending;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::serve::Listener;
    use axum::{Router, routing::get};
    use ecdysis::tokio_ecdysis::{SignalKind, StopOnShutdown, TokioEcdysisBuilder};
    use tokio::net::TcpStream;
    use tokio::time::sleep;
    use tokio_stream::{Stream, StreamExt};
    use tower_drain::{Drain, Shutdown};

    /// Accepts until the sockets are handed over. What comes later is left to the next process.
    struct Incoming<S> {
        stream: S,
        address: SocketAddr,
    }

    impl<S> Listener for Incoming<S>
    where
        S: Stream<Item = io::Result<TcpStream>> + Send + Unpin + 'static,
    {
        type Io = TcpStream;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (TcpStream, SocketAddr) {
            loop {
                let accepted = match self.stream.next().await {
                    Some(accepted) => accepted.and_then(|stream| Ok((stream.peer_addr()?, stream))),
                    // Not the end of the server: it closes its connections later.
                    None => pending().await,
                };
                match accepted {
                    Ok((address, stream)) => return (stream, address),
                    // No descriptor is left, or the client has gone.
                    Err(error) => {
                        tracing::warn!("accept: {error}");
                        sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(self.address)
        }
    }

    pub(super) async fn serve() -> Result<(), Box<dyn std::error::Error>> {
        tracing_subscriber::fmt().init();
        let mut ecdysis = TokioEcdysisBuilder::new(SignalKind::user_defined2())?;
        ecdysis.stop_on_signal(SignalKind::terminate())?;
        ecdysis.stop_on_signal(SignalKind::interrupt())?;

        let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
        let address: SocketAddr = address.parse()?;
        // The socket of the process before, or a new one.
        let stream =
            ecdysis.build_listen_tcp(StopOnShutdown::Yes, address, |socket, address| {
                socket.set_reuse_address(true)?;
                socket.bind(&address.into())?;
                socket.listen(1024)?;
                Ok(socket.into())
            })?;
        let (_sockets, handed_over) = ecdysis.ready()?;
        tracing::info!("process {} listening on {address}", std::process::id());

        let drain = Drain::new();
        let app = Router::new().route("/", get(|| async { "hello\n" }));
        let listener = Incoming { stream, address };
        Shutdown::new(&drain, async { drop(handed_over.await) })
            // It accepts no more. Accepted connections get this long to send their first request.
            .lame_duck(Duration::from_secs(2))
            .run(|closing| {
                axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
            })
            .await?;
        Ok(())
    }
}
