//! Closes the port without losing a connection: first the handshakes, then the accept queue, then the socket.

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
use super::server::ServerEnd;
use super::session::{first, reached};
#[cfg(all(feature = "listener", unix))]
use super::socket::{InheritedSockets, Socket};

/// How long the server has to empty the accept queue.
const LONGEST_QUEUE: Duration = Duration::from_secs(1);
/// How often to check the accept queue: the kernel wakes a process when it fills, not when it is empty.
const QUEUE_INTERVAL: Duration = Duration::from_millis(5);
/// How often to check whether the server has closed its own descriptor.
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
            // Read now: code that takes the sockets removes the variables from the environment.
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

    /// Stops new handshakes, gives connected clients `settle` to send their first request, then waits until
    /// the server has emptied the accept queue.
    pub(super) async fn settle(&mut self, settle: Duration) {
        for socket in &mut self.sockets {
            socket.refuse_handshakes();
        }
        event!(info, ?settle, "settling the port");
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
    /// tonic before 0.14.7 closes it last: without a filter, new connections until then are reset.
    pub(super) async fn hold(&mut self, ended: &ServerEnd) -> Infallible {
        // Without a filter, the kernel would still accept connections on the duplicate, and nothing would
        // serve them.
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
    /// Closes this listening socket before the server does, without losing a connection that has reached it.
    /// Call it for each socket that the server listens on.
    ///
    /// When a server is asked to close, it closes its port, its idle connections and its accept queue at
    /// once: clients that have just connected see a reset. With this method, the shutdown keeps a duplicate
    /// of the socket. At the end of the lame duck, before the server is asked to close:
    ///
    /// 1. On Linux the kernel stops answering new handshakes (by a socket filter, which needs no privilege).
    ///    Handshakes under way complete.
    /// 2. Connections get [`settle`](Self::settle) to send their first request.
    /// 3. The server accepts what is left in the queue, within one second.
    ///
    /// A client that tries to connect in the meantime gets no answer. Its kernel retries after one second.
    /// Then it is refused, or reaches the next process that listens on the port. A load
    /// balancer without active checks (nginx) and other sockets with `SO_REUSEPORT` see that second too.
    ///
    /// Works for TCP and Unix sockets, with any [`AsFd`]. On systems other than Linux, for Unix sockets and
    /// in sandboxes that forbid the filter, new connections are accepted until the server closes, and the
    /// last of them may be reset; this is logged at debug. The duplicate is closed once the server has closed
    /// its own descriptor, or has ended. tonic before 0.14.7 closes its descriptor when its last connection
    /// has ended: until then new connections get no answer.
    ///
    /// For several listeners, call it once for each. Bind a listener, call this, then move it into its
    /// server: a wrapper such as axum's `tap_io` has no descriptor to pass.
    ///
    /// Pass the listener itself, or drop all other descriptors of its socket (`try_clone`) before the
    /// shutdown. A descriptor that is open after the server has closed its own keeps the port open, and
    /// nothing accepts.
    ///
    /// Do not pass a socket that another process continues to use. The filter belongs to the socket, so new
    /// connections would hang until it is removed at the end of the shutdown, or permanently if this process
    /// is killed first. Sockets from systemd or systemfd are recognized by `LISTEN_FDS` and `LISTEN_PID`, and
    /// get no filter. Create the `Shutdown` before other code takes them.
    ///
    /// This method is not available on Windows.
    ///
    /// # Errors
    ///
    /// Returns an error if this is not a stream socket (on Linux: a listening one), or if no descriptor is
    /// left for a duplicate.
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
    /// When the server is asked to close, hyper closes connections on which nothing has arrived. So this
    /// should be longer than a round trip to the most distant client. It is skipped on
    /// [`Signal::Interrupt`](crate::Signal::Interrupt).
    pub fn settle(mut self, settle: Duration) -> Self {
        self.config.settle = settle;
        self
    }
}

/// Without the feature, or on Windows, there are no sockets.
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
