//! Closes the port without losing a connection: first the handshakes, then the accept queue, then the socket.

#[cfg(not(all(feature = "listener", target_os = "linux")))]
mod absent;
#[cfg(all(feature = "listener", target_os = "linux"))]
mod inet_diag;
#[cfg(all(feature = "listener", target_os = "linux"))]
mod kernel;
mod settling;
#[cfg(all(feature = "listener", unix))]
mod socket;
mod still;
mod tcp;
mod traffic;

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
#[cfg(all(feature = "listener", unix))]
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

#[cfg(not(all(feature = "listener", target_os = "linux")))]
use self::absent::Kernel;
#[cfg(not(all(feature = "listener", unix)))]
use self::absent::Socket;
#[cfg(all(feature = "listener", target_os = "linux"))]
use self::kernel::Kernel;
use self::settling::{Missing, Settling};
#[cfg(all(feature = "listener", unix))]
use self::socket::{InheritedSockets, Socket};
pub(super) use self::still::Left;
use self::tcp::TcpSocket;
use self::traffic::Traffic;
#[cfg(all(feature = "listener", unix))]
use super::builder::Shutdown;
use super::server::ServerEnd;
#[cfg(feature = "tracing")]
use super::session::nonzero;
use super::session::{earlier, reached};
use crate::drain::Drain;

/// How often to look at the accept queue where the kernel cannot be asked: it wakes a process when the queue fills,
/// not when it is empty.
const QUEUE_INTERVAL: Duration = Duration::from_millis(5);

/// The sockets that a server listens on, as duplicates.
#[derive(Debug)]
pub(super) struct Port {
    sockets: Vec<Socket>,
    /// `None` if the kernel cannot be asked about any of them.
    kernel: Option<Kernel>,
    /// Whether the kernel can be asked about all of them.
    knows_all: bool,
    #[cfg(all(feature = "listener", unix))]
    inherited: InheritedSockets,
}

impl Port {
    pub(super) fn new() -> Self {
        Self {
            sockets: Vec::new(),
            kernel: None,
            knows_all: true,
            // Read now: code that takes the sockets removes the variables from the environment.
            #[cfg(all(feature = "listener", unix))]
            inherited: InheritedSockets::from_env(),
        }
    }

    #[cfg(all(feature = "listener", unix))]
    pub(super) fn add(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let socket = Socket::duplicate(listener, &self.inherited)?;
        if let Err(_error) = socket.add_to(&mut self.kernel) {
            log_no_answer(&_error);
            self.knows_all = false;
        }
        self.sockets.push(socket);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Keeps new connections away. Handshakes under way complete.
    pub(super) fn refuse_handshakes(&mut self) {
        for socket in &mut self.sockets {
            socket.refuse_handshakes();
        }
    }

    /// Waits until what has reached the port has been accepted and read: for `settle`, unless there are no
    /// connections, and then as long as the kernel knows of something that is missing.
    pub(super) async fn settle(&mut self, settle: Duration) {
        event!(info, ?settle, "settling the port");
        let began = Instant::now();
        let mut settling = Settling::new(began, settle, self.knows_all);
        let mut most = Missing::default();
        let _last = loop {
            let sockets = ask(&mut self.kernel, false).await;
            let is_queued = self.sockets.iter().any(Socket::has_waiting);
            let now = Instant::now();
            let missing = settling.look(now, sockets.as_deref(), is_queued);
            if missing.is_empty() {
                break missing;
            }
            most = most.max(missing);
            let settled = settling.settled().filter(|at| *at > now);
            let next = match &self.kernel {
                Some(kernel) => earlier(Some(kernel.next()), settled),
                // There is nothing to see before.
                None if missing.time => settled,
                None => now.checked_add(QUEUE_INTERVAL),
            };
            reached(next).await;
        };
        event!(
            info,
            elapsed = ?began.elapsed(),
            half_open = nonzero(most.half_open),
            unused = nonzero(most.unused),
            unread = nonzero(most.unread),
            given_up = nonzero(_last.given_up),
            "the port has settled"
        );
    }

    /// Follows the connections, from when the server is asked to close.
    pub(super) fn traffic<'a>(&self, drain: &'a Drain, flush: Duration) -> Traffic<'a> {
        Traffic::new(drain, self.kernel.clone(), flush)
    }

    /// Keeps each filtered duplicate until the server has closed its own descriptor, or has ended. Never returns.
    ///
    /// Without the filter, connections would be reset until then: tonic before 0.14.7 closes its descriptor last. After
    /// that, the duplicate would leave new connections without an answer.
    pub(super) async fn hold(&mut self, ended: &ServerEnd) -> Infallible {
        // Without a filter, the kernel would still accept connections on the duplicate, and nothing would
        // serve them.
        self.sockets.retain(Socket::is_filtered);
        let began = Instant::now();
        let mut next = pin!(sleep(Duration::ZERO));
        poll_fn(|cx| {
            // At each poll, because the server closes it in one.
            let has_ended = ended.get().is_some();
            self.sockets
                .retain(|socket| !has_ended && socket.is_in_use());
            while !self.sockets.is_empty() && next.as_mut().poll(cx).is_ready() {
                next.as_mut()
                    .reset(Instant::now() + hold_interval(began.elapsed()));
            }
            if self.sockets.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        pending().await
    }
}

/// Asks the kernel for the connections, if it can be asked. After an error, it cannot. `only_own` leaves out those of
/// other processes that listen on one of the ports.
async fn ask(kernel: &mut Option<Kernel>, only_own: bool) -> Option<Vec<TcpSocket>> {
    match kernel.as_mut()?.sockets(only_own).await {
        Ok(sockets) => Some(sockets),
        Err(_error) => {
            log_no_answer(&_error);
            *kernel = None;
            None
        }
    }
}

fn log_no_answer(_error: &io::Error) {
    event!(
        debug,
        error = %_error,
        "the kernel cannot be asked about the port: fixed times apply"
    );
}

/// How often to look whether the server has closed its descriptor, after so much time.
fn hold_interval(elapsed: Duration) -> Duration {
    Duration::from_millis(match elapsed.as_millis() {
        0..100 => 1,
        100..1000 => 10,
        _ => 100,
    })
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
