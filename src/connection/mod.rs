//! Watches the connections of an accept loop: counts them, asks them to leave while closing, and closes the
//! rest. Needs the feature `hyper-util`.

mod watched;

use hyper_util::server::graceful::GracefulConnection;

pub use self::watched::{ConnectionClosed, WatchedConnection};
use crate::drain::{Drain, OpenConnection};

impl Drain {
    /// Watches a connection of hyper or hyper-util, for servers with their own accept loop.
    ///
    /// Poll the returned future instead of the connection. It asks the connection to leave, by
    /// `graceful_shutdown`, when [`Phase::Closing`](crate::Phase::Closing) begins. Not earlier: in the lame
    /// duck, hyper would close an idle HTTP/1 connection while a request is on its way. Instead, the next
    /// response asks the client to leave, with `Connection: close`. The future requires
    /// `C::Error: Into<BoxError>`.
    ///
    /// From this call on, a client has a second to send its first request, or until draining starts. A request that has
    /// arrived is served.
    ///
    /// The connection counts as open from this call until the future completes or is dropped. So watch it
    /// before you spawn a task. [`Shutdown::run`](crate::Shutdown::run) waits for open connections as it
    /// waits for the server, so the accept loop may return as soon as it is asked to close. At its deadline
    /// it closes those that are left; see [`close_connections`](Self::close_connections).
    ///
    /// The layer is still needed to count and refuse requests. An upgraded connection, such as a WebSocket,
    /// no longer counts as open: [share the request's permit](crate::DrainLayer::share_permit) with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::time::Duration;
    /// use http::{Request, Response};
    /// use hyper::body::Incoming;
    /// use hyper_util::rt::{TokioExecutor, TokioIo};
    /// use hyper_util::server::conn::auto;
    /// use hyper_util::service::TowerToHyperService;
    /// # use tokio::net::TcpListener;
    /// use tower::{ServiceBuilder, service_fn};
    /// use tower_drain::{Drain, Reached};
    ///
    /// # async fn hello(_: Request<Incoming>) -> Result<Response<String>, Infallible> {
    /// #     Ok(Response::new("hello".into()))
    /// # }
    /// async fn accept(listener: TcpListener, drain: Drain, closing: Reached) {
    ///     let service = ServiceBuilder::new().layer(drain.layer()).service(service_fn(hello));
    ///     let mut closing = std::pin::pin!(closing);
    ///     loop {
    ///         let accepted = tokio::select! {
    ///             accepted = listener.accept() => accepted,
    ///             () = &mut closing => return,
    ///         };
    ///         let Ok((stream, _)) = accepted else {
    ///             tokio::time::sleep(Duration::from_millis(100)).await; // no descriptor is left
    ///             continue;
    ///         };
    ///         let service = TowerToHyperService::new(service.clone());
    ///         let builder = auto::Builder::new(TokioExecutor::new());
    ///         let connection = builder.serve_connection(TokioIo::new(stream), service);
    ///         tokio::spawn(drain.watch(connection.into_owned()));
    ///     }
    /// }
    /// ```
    ///
    /// [A recipe](crate::recipes::servers#an-accept-loop) has the loop without a function of its own, and one with TLS.
    pub fn watch<C: GracefulConnection>(&self, connection: C) -> WatchedConnection<C> {
        WatchedConnection::new(OpenConnection::new(self.clone()), connection)
    }

    /// Returns the number of [watched](Self::watch) connections that are open.
    pub fn connections(&self) -> usize {
        self.open_connections()
    }

    /// Closes the [watched](Self::watch) connections that are open, in any phase, and returns how many this
    /// call closed.
    ///
    /// The task of each connection is woken. When it runs next, it drops the connection with everything not
    /// yet sent, and the future completes with [`ConnectionClosed`]. This ends connections that no graceful
    /// shutdown can end: the peer never answers a PING, has sent half a request, or has stopped reading.
    ///
    /// Handlers of such a connection are dropped too, tracked or not. Connections that are watched later are
    /// not affected. [`Shutdown::run`](crate::Shutdown::run) calls this at its deadline, after it has
    /// cancelled requests and left a second for the answers, and at the end of
    /// [`flush`](crate::Shutdown::flush).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # async fn example(drain: tower_drain::Drain) {
    /// // Without a `Shutdown`: connections have 5 s to close, and the rest is dropped.
    /// drain.close();
    /// tokio::time::sleep(Duration::from_secs(5)).await;
    /// println!("{} connections were still open", drain.close_connections());
    /// # }
    /// ```
    pub fn close_connections(&self) -> usize {
        self.close_open_connections()
    }
}
