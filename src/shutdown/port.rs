//! Closes the port in an order that loses no connection: no new handshakes, then what is in the accept
//! queue, then the socket.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::log;
use super::run::{first, reached};
use super::server::ServerEnd;
#[cfg(all(feature = "listener", unix))]
use super::socket::{InheritedSockets, Socket};

/// How long the accept queue has to become empty.
const LONGEST_QUEUE: Duration = Duration::from_secs(1);
/// Between two looks at the accept queue: the kernel wakes a process when it fills, not when it is empty.
const QUEUE_INTERVAL: Duration = Duration::from_millis(5);
/// Between two looks at whether the server has closed its own descriptor.
const HOLD_INTERVAL: Duration = Duration::from_millis(100);

/// The sockets that a server listens on, as duplicates.
#[derive(Debug)]
pub(super) struct Port {
    sockets: Vec<Socket>,
    #[cfg(all(feature = "listener", unix))]
    inherited: InheritedSockets,
}

impl Port {
    pub(super) fn new() -> Self {
        Self {
            sockets: Vec::new(),
            // Now: others take it out of the environment when they use the sockets.
            #[cfg(all(feature = "listener", unix))]
            inherited: InheritedSockets::from_env(),
        }
    }

    #[cfg(all(feature = "listener", unix))]
    pub(super) fn add(&mut self, listener: std::os::fd::BorrowedFd<'_>) -> std::io::Result<()> {
        let socket = Socket::duplicate(listener, &self.inherited)?;
        self.sockets.push(socket);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Stops new handshakes, leaves what has connected `settle` to send its first request, then waits for the
    /// server to accept what the kernel has accepted.
    pub(super) async fn settle(&mut self, settle: Duration) {
        for socket in &mut self.sockets {
            socket.refuse_handshakes();
        }
        log::settling(settle);
        let settled = Instant::now().checked_add(settle);
        reached(settled).await;
        let accepted = async {
            while self.sockets.iter().any(Socket::has_waiting) {
                sleep(QUEUE_INTERVAL).await;
            }
        };
        first(reached(Instant::now().checked_add(LONGEST_QUEUE)), accepted).await;
    }

    /// Keeps each duplicate until the server has closed its own descriptor, or has ended. Never returns.
    ///
    /// tonic closes it last of all: without a filter, what connects until then is reset.
    pub(super) async fn hold(&mut self, ended: &ServerEnd) -> Infallible {
        // Without a filter a duplicate only prolongs the time in which the kernel accepts and no one serves.
        self.sockets.retain(Socket::is_filtered);
        let closed = async {
            while !self.sockets.is_empty() {
                sleep(HOLD_INTERVAL).await;
                self.sockets.retain(Socket::is_in_use);
            }
        };
        first(ended.reached(), closed).await;
        self.sockets.clear();
        pending().await
    }
}

/// Without the feature, or on Windows, there is none.
#[cfg(not(all(feature = "listener", unix)))]
#[derive(Debug)]
enum Socket {}

#[cfg(not(all(feature = "listener", unix)))]
impl Socket {
    fn refuse_handshakes(&mut self) {
        match *self {}
    }

    fn has_waiting(&self) -> bool {
        match *self {}
    }

    fn is_in_use(&self) -> bool {
        match *self {}
    }

    fn is_filtered(&self) -> bool {
        match *self {}
    }
}
