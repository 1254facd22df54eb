//! Two processes share a port while one replaces the other (`SO_REUSEPORT`): start the new one, then stop the old one.
//! The old process closes its listener when the lame duck begins, and Linux moves what waits in its queue, handshakes
//! too, to the new one's. This needs a setting of the system:
//!
//! ```sh
//! sysctl -w net.ipv4.tcp_migrate_req=1       # Linux 5.14; in Kubernetes, a sysctl of the pod
//! cargo run --example reuse_port             # the old process
//! cargo run --example reuse_port             # the new one, in another terminal
//! pkill -TERM -o -f examples/reuse_port      # stops the older of the two
//! ```
//!
//! The listener is not passed to `Shutdown::listener`, which would keep new connections away instead.
//!
//! `tests/e2e/restarts/handover.rs` replaces processes under load.

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
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tower_drain::{Drain, Phase, Shutdown};

    /// Accepts until the lame duck begins, and then closes the listener.
    struct AcceptUntilLameDuck {
        drain: Drain,
        address: SocketAddr,
        listener: Option<TcpListener>,
    }

    impl Listener for AcceptUntilLameDuck {
        type Io = TcpStream;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (TcpStream, SocketAddr) {
            if let Some(listener) = &mut self.listener {
                tokio::select! {
                    accepted = Listener::accept(listener) => return accepted,
                    () = self.drain.reached(Phase::LameDuck) => self.listener = None,
                }
            }
            pending().await
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(self.address)
        }
    }

    pub(super) async fn serve() -> Result<(), Box<dyn std::error::Error>> {
        let drain = Drain::new();
        let shutdown = Shutdown::on_signal(&drain);
        tracing_subscriber::fmt().init();

        let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind(address.parse()?)?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?;
        tracing::info!("listening on {address}");
        let listener = AcceptUntilLameDuck {
            drain: drain.clone(),
            address,
            listener: Some(listener),
        };
        let app = Router::new().route("/", get(|| async { "hello\n" }));
        shutdown
            // Accepted connections get this long to send their first request.
            .lame_duck(Duration::from_secs(2))
            .run(|closing| {
                axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
            })
            .await?;
        Ok(())
    }
}
