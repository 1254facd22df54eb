//! A service that notifies systemd when it is ready, what it is doing, and when it stops. Its units are
//! `systemd/hello.service` and `systemd/hello.socket`.
//!
//! With the socket unit, systemd owns the port and passes it to the process (socket activation). At a restart
//! the old process stops accepting at once, answers the requests that it has, and ends. New connections wait
//! in the socket's queue for the next process: none is refused, and none is reset. Without the socket unit
//! the process binds `ADDR`.
//!
//! ```sh
//! cargo run --example systemd                # outside systemd the notifications go nowhere
//! pkill -TERM -f examples/systemd            # or Ctrl-C in the first terminal
//!
//! cargo build --example systemd              # one process with a socket that is passed to it
//! systemd-socket-activate -l 8080 target/debug/examples/systemd
//! ```
//!
//! `tests/e2e/restarts/handover.rs` hands one socket from process to process under load.

#[cfg(not(unix))]
fn main() {
    eprintln!("This example is for Unix.");
}

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    unix::serve().await
}

#[cfg(unix)]
mod unix {
    use std::env;
    use std::future::pending;
    use std::io;
    use std::net::SocketAddr;
    use std::time::Duration;

    use axum::serve::Listener;
    use axum::{Router, routing::get};
    use listenfd::ListenFd;
    use sd_notify::{NotifyState, notify};
    use tokio::net::{TcpListener, TcpStream};
    use tower_drain::{Drain, Phase, Shutdown};

    /// Accepts connections until a phase is reached. Later ones are left to the next process.
    struct AcceptUntil {
        phase: Phase,
        drain: Drain,
        listener: TcpListener,
    }

    impl Listener for AcceptUntil {
        type Io = TcpStream;
        type Addr = SocketAddr;

        async fn accept(&mut self) -> (TcpStream, SocketAddr) {
            tokio::select! {
                biased;
                () = self.drain.reached(self.phase) => pending().await,
                accepted = Listener::accept(&mut self.listener) => accepted,
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            self.listener.local_addr()
        }
    }

    pub(super) async fn serve() -> Result<(), Box<dyn std::error::Error>> {
        let drain = Drain::new();
        let shutdown = Shutdown::on_signal(&drain).timeout(Duration::from_secs(30));
        tracing_subscriber::fmt().init();

        let app = Router::new().route("/", get(|| async { "hello\n" }));
        let (listener, phase, shutdown) = match ListenFd::from_env().take_tcp_listener(0)? {
            // systemd continues to use this socket, so it is not passed to `Shutdown::listener`. Accepted
            // connections get this long to send their first request.
            Some(passed) => {
                passed.set_nonblocking(true)?;
                let listener = TcpListener::from_std(passed)?;
                let shutdown = shutdown.lame_duck(Duration::from_secs(2));
                (listener, Phase::LameDuck, shutdown)
            }
            None => {
                let address = env::var("ADDR").unwrap_or_else(|_| "0.0.0.0:8080".into());
                let listener = TcpListener::bind(address).await?;
                let shutdown = shutdown
                    .listener(&listener)?
                    .lame_duck(Duration::from_secs(10))
                    .min_failed_probes(3)
                    .quiet_period(Duration::from_secs(1));
                (listener, Phase::Closing, shutdown)
            }
        };
        tracing::info!("listening on {}", listener.local_addr()?);
        let listener = AcceptUntil {
            phase,
            drain: drain.clone(),
            listener,
        };

        tokio::spawn(notify_systemd(drain.clone()));
        // Ready: it listens, for connections and for signals.
        let _ = notify(&[NotifyState::Ready, NotifyState::Status("serving")]);
        shutdown
            .run(|closing| {
                let app = app
                    .layer(drain.layer().track_requests())
                    .route_service("/readyz", drain.readiness());
                axum::serve(listener, app).with_graceful_shutdown(closing)
            })
            .await?;
        Ok(())
    }

    async fn notify_systemd(drain: Drain) {
        drain.reached(Phase::LameDuck).await;
        let _ = notify(&[NotifyState::Status(
            "lame duck: answers, and asks clients to leave",
        )]);
        drain.closing().await;
        // Not earlier: `STOPPING=1` is final, like closing, but a lame duck can be left.
        let status = format!("closing: {} in flight", drain.in_flight());
        let _ = notify(&[NotifyState::Stopping, NotifyState::Status(&status)]);
    }
}
