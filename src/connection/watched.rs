use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::drain::{BoxError, OpenConnection, Phase};

/// How long a client has to send its first request after it has connected.
const FIRST_REQUEST: Duration = Duration::from_millis(100);
/// The time from the beginning of closing to the goodbye, in which the runtime reports requests that have
/// arrived. Without it, hyper closes a connection whose request is in the kernel's buffer.
const LAST_LOOK: Duration = Duration::from_millis(10);

pin_project! {
    /// Future that serves a connection, and asks it to leave when the server closes.
    ///
    /// Returned by [`Drain::watch`](crate::Drain::watch). Await it or spawn it.
    ///
    /// # Errors
    ///
    /// Returns the connection's own error, or [`ConnectionClosed`] if
    /// [`close_connections`](crate::Drain::close_connections) closed it.
    ///
    /// # Panics
    ///
    /// Panics if it is polled while the server leaves, outside a tokio runtime with its timer enabled.
    ///
    /// # Cancel safety
    ///
    /// Dropping this future drops the connection.
    #[must_use = "a connection is not served unless it is polled"]
    pub struct WatchedConnection<C> {
        // `None` once it has ended. Dropped before `open`, which removes the connection from the count.
        #[pin]
        connection: Option<C>,
        open: Option<OpenConnection>,
        opened: Instant,
        goodbye: Goodbye,
    }
}

/// When a connection is asked to leave.
#[derive(Debug)]
enum Goodbye {
    /// In closing.
    InClosing,
    /// In the lame duck, once its end is known.
    InLameDuck,
    /// In the lame duck, when this fires.
    Early(Pin<Box<Sleep>>),
    /// In closing, when this fires.
    Soon(Pin<Box<Sleep>>),
    Said,
}

/// Error returned by a [`WatchedConnection`] that [`Drain::close_connections`] closed.
///
/// [`Drain::close_connections`]: crate::Drain::close_connections
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionClosed;

// === impl WatchedConnection ===

impl<C> WatchedConnection<C> {
    pub(super) fn new(open: OpenConnection, connection: C) -> Self {
        Self {
            connection: Some(connection),
            open: Some(open),
            opened: Instant::now(),
            goodbye: Goodbye::InClosing,
        }
    }

    /// Asks this connection to leave in the lame duck, at a random time in the first half of what is left of
    /// it, so that the clients do not all reconnect at once.
    ///
    /// Use it only for connections that are known to be HTTP/2, by ALPN or because the port serves only gRPC:
    /// a client that gets a GOAWAY loses no request. An HTTP/1 client would lose a request that is on its
    /// way. With hyper-util's `auto` builder, set `http2_only()`: a connection whose protocol is not known yet
    /// is closed without a GOAWAY.
    ///
    /// After [`Drain::lame_duck`](crate::Drain::lame_duck), the end of the lame duck is unknown until a
    /// [`Shutdown`](crate::Shutdown) starts. If none starts, the connection is asked while closing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use hyper_util::server::graceful::GracefulConnection;
    /// # use tower_drain::Drain;
    /// # async fn example<C>(drain: Drain, connection: C, alpn: Option<&[u8]>)
    /// # where C: GracefulConnection, C::Error: Into<tower_drain::BoxError> {
    /// let mut connection = drain.watch(connection);
    /// if alpn == Some(b"h2") {
    ///     connection = connection.spread_goodbye();
    /// }
    /// let _ = connection.await;
    /// # }
    /// ```
    pub fn spread_goodbye(mut self) -> Self {
        self.goodbye = Goodbye::InLameDuck;
        self
    }
}

impl<C> WatchedConnection<C>
where
    C: GracefulConnection,
    C::Error: Into<BoxError>,
{
    fn poll_open(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        let this = self.project();
        let (Some(mut connection), Some(open)) = (this.connection.as_pin_mut(), this.open) else {
            // Polled again after it has completed.
            return Poll::Pending;
        };
        // Before the checks that follow, so that a change after them wakes the task.
        open.register(cx.waker());
        if open.is_closed() {
            return Poll::Ready(Err(ConnectionClosed.into()));
        }
        if this.goodbye.is_due(open, *this.opened, cx) {
            // Read a request that has arrived first: hyper closes an idle connection without reading.
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(Into::into));
            }
            connection.as_mut().graceful_shutdown();
            *this.goodbye = Goodbye::Said;
        }
        connection.poll(cx).map_err(Into::into)
    }
}

impl<C> Future for WatchedConnection<C>
where
    C: GracefulConnection,
    C::Error: Into<BoxError>,
{
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(self.as_mut().poll_open(cx));
        let mut this = self.project();
        this.connection.set(None);
        // A connection that was counted as closed does not end with `Ok`, even if it completes at the same
        // time.
        let closed = this.open.take().is_some_and(|open| !open.end());
        Poll::Ready(result.and_then(|()| {
            if closed {
                Err(ConnectionClosed.into())
            } else {
                Ok(())
            }
        }))
    }
}

impl<C> fmt::Debug for WatchedConnection<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedConnection")
            .field("goodbye", &self.goodbye)
            .finish_non_exhaustive()
    }
}

// === impl Goodbye ===

impl Goodbye {
    fn is_due(&mut self, open: &OpenConnection, opened: Instant, cx: &mut Context<'_>) -> bool {
        let phase = open.phase();
        match self {
            Self::Said | Self::Soon(_) => {}
            _ if phase >= Phase::Closing => self.schedule_soon(opened),
            Self::InLameDuck if phase == Phase::LameDuck => self.schedule_early(open, opened),
            _ => {}
        }
        match self {
            Self::Early(timer) | Self::Soon(timer) => timer.as_mut().poll(cx).is_ready(),
            _ => false,
        }
    }

    // Out of line, so that most polls do not read the clock.
    #[cold]
    fn schedule_soon(&mut self, opened: Instant) {
        let at = (opened + FIRST_REQUEST).max(Instant::now() + LAST_LOOK);
        *self = Self::Soon(timer(at));
    }

    #[cold]
    fn schedule_early(&mut self, open: &OpenConnection, opened: Instant) {
        if let Some(end) = open.lame_duck_end() {
            let now = Instant::now();
            let half = now + end.saturating_duration_since(now) / 2;
            let earliest = now.max(opened + FIRST_REQUEST);
            *self = Self::Early(timer(random_between(earliest, half)));
        }
    }
}

fn timer(at: Instant) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(at))
}

/// Returns a random time between `from` and `to`, or `from` if it is the later one.
fn random_between(from: Instant, to: Instant) -> Instant {
    // Each of std's hashers has its own random key.
    let random = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    // Not after `to`, so there is no overflow.
    from + to.saturating_duration_since(from).mul_f64(random)
}

// === impl ConnectionClosed ===

impl fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed by the shutdown")
    }
}

impl Error for ConnectionClosed {}
