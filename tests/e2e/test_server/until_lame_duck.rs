//! The listener of the recipe for systems other than Linux.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tower_drain::{Drain, Phase};

/// Accepts until the lame duck begins, then closes the port.
pub(crate) struct UntilLameDuck {
    pub(crate) listener: Option<TcpListener>,
    /// What had connected before the port was closed.
    pub(crate) waiting: Vec<(TcpStream, SocketAddr)>,
    pub(crate) drain: Drain,
}

impl Listener for UntilLameDuck {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                biased;
                () = self.drain.reached(Phase::LameDuck) => {}
                accepted = Listener::accept(listener) => return accepted,
            }
        }
        if let Some(Ok(listener)) = self.listener.take().map(TcpListener::into_std) {
            while let Ok((stream, address)) = listener.accept() {
                let stream = stream
                    .set_nonblocking(true)
                    .and(TcpStream::from_std(stream));
                self.waiting
                    .extend(stream.ok().map(|stream| (stream, address)));
            }
        }
        match self.waiting.pop() {
            Some(accepted) => accepted,
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        listener.local_addr()
    }
}
