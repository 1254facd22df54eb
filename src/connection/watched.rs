use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::drain::{BoxError, Goodbye, OpenConnection, Phase};

/// How long a client has to send its first request after it has connected. One that was lost is sent again after 200 ms
/// and a round trip.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// The time from the decision to the goodbye, in which the runtime reports requests that have arrived. Without it, hyper
/// closes a connection whose request is in the kernel's buffer.
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
        leave: Leave,
    }
}

/// When a connection is asked to leave.
#[derive(Debug)]
enum Leave {
    /// In closing.
    InClosing,
    /// At its goodbye.
    AtGoodbye(Goodbye),
    /// When this fires, which is soon while draining.
    Scheduled(Pin<Box<Sleep>>),
    Asked,
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
            leave: Leave::InClosing,
        }
    }

    /// Asks this connection to leave at its [goodbye](crate::Drain::goodbye): at a random time in the second half of the
    /// lame duck, so that the clients do not all reconnect at once. It still has a second for its first request.
    ///
    /// Use it only for connections that are known to be HTTP/2, by ALPN or because the port serves only gRPC:
    /// a client that gets a GOAWAY loses no request. An HTTP/1 client would lose a request that is on its
    /// way. With hyper-util's `auto` builder, set `http2_only()`: a connection whose protocol is not known yet
    /// is closed without a GOAWAY.
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
        if let Some(open) = &self.open {
            self.leave = Leave::AtGoodbye(open.goodbye());
        }
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
        if this.leave.is_due(open, *this.opened, cx) {
            // Read a request that has arrived first: hyper closes an idle connection without reading.
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(result.map_err(Into::into));
            }
            connection.as_mut().graceful_shutdown();
            *this.leave = Leave::Asked;
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
            .field("leave", &self.leave)
            .finish_non_exhaustive()
    }
}

// === impl Leave ===

impl Leave {
    fn is_due(&mut self, open: &OpenConnection, opened: Instant, cx: &mut Context<'_>) -> bool {
        let phase = open.phase();
        let leaves = match self {
            Self::InClosing => phase >= Phase::Closing,
            Self::AtGoodbye(goodbye) => Pin::new(goodbye).poll(cx).is_ready(),
            Self::Scheduled(_) | Self::Asked => false,
        };
        if leaves {
            let at = (opened + FIRST_REQUEST).max(Instant::now() + LAST_LOOK);
            *self = Self::Scheduled(Box::pin(sleep_until(at)));
        }
        let Self::Scheduled(timer) = self else {
            return false;
        };
        if phase >= Phase::Draining {
            // A first request would be refused.
            let soon = Instant::now() + LAST_LOOK;
            if timer.deadline() > soon {
                timer.as_mut().reset(soon);
            }
        }
        timer.as_mut().poll(cx).is_ready()
    }
}

// === impl ConnectionClosed ===

impl fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed by the shutdown")
    }
}

impl Error for ConnectionClosed {}
