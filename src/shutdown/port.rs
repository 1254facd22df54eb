//! Closes the port in an order that loses no connection: no new handshakes, then what is in the accept
//! queue, then the socket.

use std::convert::Infallible;
use std::future::pending;
#[cfg(all(feature = "listener", unix))]
use std::io;
#[cfg(all(feature = "listener", unix))]
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use tokio::time::{Instant, sleep};

#[cfg(all(feature = "listener", unix))]
use super::builder::Shutdown;
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
    pub(super) fn add(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
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

#[cfg(all(feature = "listener", unix))]
impl<O, F> Shutdown<O, F> {
    /// Closes this listening socket first, in a way that loses no connection that has reached it. Call it for
    /// each socket that the server listens on.
    ///
    /// A server that is asked to close closes its port, its idle connections and its accept queue at once:
    /// clients that have just connected see a reset. With this, the shutdown keeps a duplicate of the socket,
    /// and at the end of the lame duck, before the server is asked to close:
    ///
    /// 1. On Linux the kernel stops answering new handshakes (by a socket filter, which needs no privilege).
    ///    Handshakes under way complete.
    /// 2. Connections get [`settle`](Self::settle) to send their first request.
    /// 3. The server accepts what is left in the queue, within one second.
    ///
    /// A client that tries to connect in the meantime gets no answer. Its kernel tries again one second after
    /// its first attempt, and then it is refused, or reaches the next process that listens on the port. A load
    /// balancer without active checks (nginx) and other sockets with `SO_REUSEPORT` see that second too.
    ///
    /// Works for TCP and for Unix sockets: for any [`AsFd`]. On systems other than Linux, for Unix sockets and
    /// in sandboxes that forbid the filter, new connections are accepted until the server closes, and the
    /// last of them may be reset; a debug event says so. The duplicate is closed once the server has closed its own
    /// descriptor, or has ended. tonic closes it when its last connection has ended: until then new connections
    /// get no answer.
    ///
    /// Several listeners may be passed, one call for each. Bind them first, and pass each on to its server: a
    /// wrapper such as axum's `tap_io` has no descriptor to pass.
    ///
    /// Pass the listener itself, or drop all other descriptors of its socket (`try_clone`) before the shutdown:
    /// what is still open after the server has closed its own keeps the port open, and nothing accepts.
    ///
    /// Do not pass a socket that another process goes on using, because the filter is a property of the
    /// socket: its new connections would hang until the filter is removed at the end of the shutdown, or for good
    /// if this process is killed first. Sockets that systemd has passed are recognized by `LISTEN_FDS` and
    /// `LISTEN_PID`, and get no filter; so create the `Shutdown` before anything else takes them.
    ///
    /// This method is not available on Windows.
    ///
    /// # Errors
    ///
    /// Returns an error if this is not a stream socket that listens, or if there are no descriptors left to
    /// duplicate it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tokio::net::TcpListener;
    /// use tower_drain::{Drain, Shutdown};
    ///
    /// # async fn example(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    /// let drain = Drain::new();
    /// let listener = TcpListener::bind("0.0.0.0:8080").await?;
    /// # let stop = async {};
    /// Shutdown::new(&drain, stop)
    ///     .listener(&listener)?
    ///     .run(|closing| axum::serve(listener, app).with_graceful_shutdown(closing))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listener<L: AsFd>(mut self, listener: &L) -> io::Result<Self> {
        self.port.add(listener.as_fd())?;
        Ok(self)
    }

    /// Sets how long clients that have connected to a [`listener`](Self::listener) have to send their first
    /// request. The default is 300 ms.
    ///
    /// hyper closes a connection on which nothing has arrived when the server is asked to close. So this
    /// should be longer than a round trip to the most distant client. It is skipped on
    /// [`Signal::Interrupt`](crate::Signal::Interrupt).
    pub fn settle(mut self, settle: Duration) -> Self {
        self.config.settle = settle;
        self
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
