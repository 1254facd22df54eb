//! Closes the port without losing a connection: first the handshakes, then the accept queue, then the socket.

#[cfg(not(all(feature = "listener", unix)))]
mod absent;
mod settling;
#[cfg(all(feature = "listener", unix))]
mod socket;
mod still;
// With `tower_drain_other_unix`, Linux does without what only Linux can do: for the tests.
#[cfg(all(feature = "listener", unix))]
#[cfg_attr(
    all(
        any(target_os = "linux", target_os = "android"),
        not(tower_drain_other_unix)
    ),
    path = "linux/mod.rs"
)]
#[cfg_attr(
    not(all(
        any(target_os = "linux", target_os = "android"),
        not(tower_drain_other_unix)
    )),
    path = "other_unix.rs"
)]
mod system;
// Only Linux describes one.
#[allow(dead_code)]
mod tcp;
mod traffic;

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
#[cfg(all(feature = "listener", unix))]
use std::os::fd::{AsFd, BorrowedFd};
#[cfg(all(feature = "listener", windows))]
use std::os::windows::io::AsSocket;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

#[cfg(not(all(feature = "listener", unix)))]
use self::absent::{Kernel, Socket};
use self::settling::{Missing, Settling};
#[cfg(all(feature = "listener", unix))]
use self::socket::{InheritedSockets, Socket};
pub(super) use self::still::Left;
#[cfg(all(feature = "listener", unix))]
use self::system::{Kernel, add_port};
use self::tcp::TcpSocket;
use self::traffic::Traffic;
#[cfg(all(feature = "listener", any(unix, windows)))]
use super::builder::Shutdown;
use super::server::ServerEnd;
use super::session::{earlier, first, reached};
use crate::drain::Drain;
#[cfg(feature = "tracing")]
use crate::trace::nonzero;

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
        if let Err(_error) = add_port(&mut self.kernel, &socket) {
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
        let began = Instant::now();
        let mut settling = Settling::new(began, settle, self.knows_all);
        let mut most = Missing::default();
        let _last = loop {
            let no_answer = async {
                reached(settling.longest()).await;
                None
            };
            let sockets = first(ask(&mut self.kernel, false), no_answer).await;
            let is_queued = self.sockets.iter().any(Socket::has_waiting);
            let now = Instant::now();
            let missing = settling.look(now, sockets.as_deref(), is_queued);
            if missing.is_empty() {
                break missing;
            }
            if most.is_empty() {
                event!(info, ?settle, "settling the port");
            }
            most = most.max(missing);
            let settled = settling.settled().filter(|at| *at > now);
            let next = match &self.kernel {
                Some(kernel) => earlier(Some(kernel.next()), settled.or(settling.longest())),
                // There is nothing to see before.
                None if missing.time => settled,
                None => now.checked_add(QUEUE_INTERVAL),
            };
            reached(next).await;
        };
        if most.is_empty() {
            return;
        }
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

#[cfg(all(feature = "listener", any(unix, windows)))]
impl<O, F> Shutdown<O, F> {
    /// Stops new handshakes on this listener before the server closes, so that no connection is reset. Call it for
    /// each socket that the server listens on.
    ///
    /// When a server is asked to close, it closes its port, its idle connections and its accept queue at
    /// once: clients that have just connected see a reset. With this method, the shutdown keeps a duplicate
    /// of the socket. At the end of the lame duck, before the server is asked to close:
    ///
    /// 1. The kernel stops answering new handshakes (on Linux, by a socket filter, which needs no privilege). The
    ///    path of a Unix socket is removed, if it is still the one to which the socket was bound.
    /// 2. The port settles: what has reached it is accepted and read. [`settle`](Self::settle) says how long that
    ///    takes.
    ///
    /// After the server has ended, on Linux, the shutdown waits until the clients' systems have acknowledged what they were sent,
    /// for as long as they acknowledge anything; see [`flush`](Self::flush). Otherwise a pod whose network goes with
    /// its process would cut off slow readers.
    ///
    /// A client that tries to connect while the port settles gets no answer. Its kernel retries after one second.
    /// Then it is refused, or reaches the next process that listens on the port. The duplicate is closed as soon as
    /// the server has closed its own descriptor, or has ended. tonic before 0.14.7 closes its descriptor when its
    /// last connection has ended: until then new connections get no answer.
    ///
    /// For several listeners, call it once for each. Bind a listener, call this, then move it into its
    /// server: a wrapper such as axum's `tap_io` has no descriptor to pass.
    ///
    /// Pass the listener itself, or drop all other descriptors of its socket (`try_clone`) before the
    /// shutdown. A descriptor that is open after the server has closed its own keeps the port open: nothing accepts, and
    /// new connections are reset in the end.
    ///
    /// Do not pass a socket that another process continues to use: the filter belongs to the socket, not to the
    /// process. Two processes that share a port (`SO_REUSEPORT`) have a socket each, but then the filter makes those
    /// connections wait for a second that the kernel has assigned to this one. See [one port, old and new
    /// process](crate#which-case-is-yours). Sockets from systemd or systemfd, and their duplicates, are recognized by
    /// `LISTEN_FDS` and `LISTEN_PID`, and get no filter. Create the `Shutdown` before other code takes them.
    ///
    /// # What the kernel is asked
    ///
    /// On Linux, `inet_diag` (netlink) lists the connections of a port: what is half open, unread and
    /// unacknowledged. It is asked once in this call, and then only while the server is leaving, some 50 times a second at
    /// most, on a thread of its own that exists for the length of a question. A question walks the kernel's table of
    /// connections: that takes some milliseconds, and tens of milliseconds with 10,000 connections to the port. A paused
    /// clock of tokio does not wait for the answers.
    ///
    /// Where it cannot be asked, fixed times apply: on other systems, for Unix sockets, in gVisor, in sandboxes that
    /// forbid netlink (seccomp, systemd's `RestrictAddressFamilies=` without `AF_NETLINK`), and for a socket of
    /// another network namespace. Connections get [`settle`](Self::settle), the server has a second to empty the
    /// accept queue, and [`flush`](Self::flush) is how long the last bytes have in total. So a connection whose
    /// lost segment is sent again only after `settle` is reset. This is logged at debug, and so is a filter that cannot be attached: then new
    /// connections are accepted until the server closes, and the last of them may be reset.
    ///
    /// # Other systems
    ///
    /// It needs Linux: elsewhere, new connections are reset as without it. The port still settles for
    /// [`settle`](Self::settle), in which keep-alive clients are asked to leave. See [the table of systems](crate#platforms),
    /// and [a recipe](crate::recipes::servers#a-port-without-linux) for direct clients. On Windows this method does nothing, and
    /// takes any socket.
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
    ///     .run(|closing| {
    ///         axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(unix)]
    pub fn listener<L: AsFd>(mut self, listener: &L) -> io::Result<Self> {
        self.port.add(listener.as_fd())?;
        Ok(self)
    }

    /// Does nothing on Windows, and never fails. It exists so that a program needs no `cfg`.
    ///
    /// It needs Linux: elsewhere, new connections are reset as without it. See [the table of systems](crate#platforms), and
    /// [a recipe](crate::recipes::servers#a-port-without-linux) for direct clients.
    #[cfg(windows)]
    pub fn listener<L: AsSocket>(self, _: &L) -> io::Result<Self> {
        Ok(self)
    }

    /// Sets the least time that clients that have connected to a [`listener`](Self::listener) have to send their first
    /// request. The default is 300 ms. It is skipped on [`Signal::Interrupt`](crate::Signal::Interrupt).
    ///
    /// When the server is asked to close, hyper closes connections on which nothing has arrived. No fixed time
    /// prevents that: a segment that is lost is sent again after 200 ms and a round trip, and a lost handshake after a
    /// second. So the port has settled when this time has passed and, as the kernel says:
    ///
    /// - no handshake is half open, for at most 1.3 s;
    /// - each connection without a request is so old that a request that was lost twice would have arrived: at most a
    ///   second, or 4 s if a handshake has lost a segment meanwhile;
    /// - the server has accepted and read what had arrived when this time had passed, for at most a second more.
    ///
    /// In total it takes at most 5 s longer than this time. If there are no connections, it takes no time at all. Where the
    /// kernel cannot be asked, it takes this time, and at most a second more for the accept queue.
    ///
    /// The kernel cannot see a request that is on its way on a connection that was used before, and takes half a TLS
    /// handshake for a request. If such clients are distant, or lose segments, a longer time helps.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use tower_drain::{Drain, Shutdown};
    ///
    /// # let stop = async {};
    /// let shutdown = Shutdown::new(&Drain::new(), stop).settle(Duration::from_secs(1));
    /// # let _ = shutdown;
    /// ```
    pub fn settle(mut self, settle: Duration) -> Self {
        self.config.settle = settle;
        self
    }
}
