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

use crate::drain::{BoxError, OpenConnection};

/// How long a connection that was opened in the lame duck is left in peace: its client has connected to send
/// something.
const YOUNGEST: Duration = Duration::from_millis(100);

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
    /// # Cancel safety
    ///
    /// Dropping this future drops the connection, as without this crate.
    #[must_use = "a connection is not served unless it is polled"]
    pub struct WatchedConnection<C> {
        // Until it ends. Dropped first, so that it is counted until then.
        #[pin]
        connection: Option<C>,
        open: Option<OpenConnection>,
        goodbye: Goodbye,
    }
}

/// When a connection is asked to leave.
#[derive(Debug)]
enum Goodbye {
    InClosing,
    /// In the lame duck, from this time on, once the end of the lame duck is known.
    InLameDuck(Instant),
    /// In the lame duck, when this fires.
    At(Pin<Box<Sleep>>),
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
            goodbye: Goodbye::InClosing,
        }
    }

    /// Asks this connection to leave during the lame duck already, at a random moment in the first half of what
    /// is left of it. So the clients do not all connect to another server at once.
    ///
    /// Only for connections that are known to be HTTP/2, by ALPN or because the port serves gRPC alone: a client
    /// that gets a GOAWAY loses no request. A client that keeps an HTTP/1 connection would lose the one that is
    /// on its way.
    ///
    /// A connection that is opened in the lame duck is left alone for at least 100 ms. A lame duck that was
    /// entered by [`Drain::lame_duck`](crate::Drain::lame_duck) has no known end until a
    /// [`Shutdown`](crate::Shutdown) starts. Without one the connection is asked while closing, like others.
    ///
    /// # Panics
    ///
    /// Panics if it is polled in such a lame duck outside a tokio runtime with its timer enabled.
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
    /// # let _ = connection.await;
    /// # }
    /// ```
    pub fn spread_goodbye(mut self) -> Self {
        let mut from = Instant::now();
        if self.open.as_ref().is_some_and(OpenConnection::is_leaving) {
            from += YOUNGEST;
        }
        self.goodbye = Goodbye::InLameDuck(from);
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
            // It has completed before.
            return Poll::Pending;
        };
        // Before the looks that follow, which would miss a change after them.
        open.register(cx.waker());
        if open.is_closed() {
            return Poll::Ready(Err(ConnectionClosed.into()));
        }
        if this.goodbye.is_due(open, cx) {
            // A request that has arrived is read first. hyper closes an idle connection without a look.
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
        *this.open = None;
        Poll::Ready(result)
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
    fn is_due(&mut self, open: &OpenConnection, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Said => return false,
            _ if open.is_closing() => return true,
            Self::InLameDuck(from) if open.is_leaving() => {
                let Some(end) = open.lame_duck_end() else {
                    return false;
                };
                let at = random_in_first_half(end).max(*from);
                *self = Self::At(Box::pin(sleep_until(at)));
            }
            _ => {}
        }
        match self {
            Self::At(sleep) => sleep.as_mut().poll(cx).is_ready(),
            _ => false,
        }
    }
}

/// Returns a random time in the first half of the time from now to `end`.
fn random_in_first_half(end: Instant) -> Instant {
    // Each of std's hashers has a random key of its own.
    let random = RandomState::new().hash_one(()) as f64 / u64::MAX as f64;
    let now = Instant::now();
    // Not after `end`, so there is no overflow.
    now + (end.saturating_duration_since(now) / 2).mul_f64(random)
}

// === impl ConnectionClosed ===

impl fmt::Display for ConnectionClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was closed by the shutdown")
    }
}

impl Error for ConnectionClosed {}
