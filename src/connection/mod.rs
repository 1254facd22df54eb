//! Connections of an accept loop: asked to leave while closing, counted, and closed at last. Needs the
//! feature `hyper-util`.

mod watched;

use hyper_util::server::graceful::GracefulConnection;

pub use self::watched::{ConnectionClosed, WatchedConnection};
use crate::drain::{Drain, OpenConnection};

impl Drain {
    /// Watches a connection of hyper or hyper-util, for servers with an accept loop of their own.
    ///
    /// Poll the returned future instead of the connection. It asks the connection to leave, by
    /// `graceful_shutdown`, when [`Phase::Closing`](crate::Phase::Closing) begins. Not earlier: in the lame duck
    /// hyper would close an idle HTTP/1 connection while a request is on its way to it. There the header
    /// `Connection: close` of the next response asks the client to leave.
    ///
    /// A client has at least 100 ms, from this call on, to send its first request. A request that has arrived is
    /// served.
    ///
    /// The connection is open from this call until the future completes or is dropped. So watch it before you
    /// spawn a task. [`Shutdown::run`](crate::Shutdown::run) waits for open connections as it waits for
    /// the server, so the accept loop may return as soon as it is asked to close. It closes those that are left
    /// at its deadline; see [`close_connections`](Self::close_connections).
    ///
    /// The layer is still needed to count and refuse requests. A connection that is upgraded, to a WebSocket for
    /// example, has completed for this purpose: [share the request's
    /// permit](crate::DrainLayer::share_permit) with it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::convert::Infallible;
    /// # use std::io;
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
    /// async fn accept(listener: TcpListener, drain: Drain, closing: Reached) -> io::Result<()> {
    ///     let service = ServiceBuilder::new().layer(drain.layer()).service(service_fn(hello));
    ///     let mut closing = std::pin::pin!(closing);
    ///     loop {
    ///         let (stream, _) = tokio::select! {
    ///             accepted = listener.accept() => accepted?,
    ///             () = &mut closing => return Ok(()),
    ///         };
    ///         let service = TowerToHyperService::new(service.clone());
    ///         let builder = auto::Builder::new(TokioExecutor::new());
    ///         let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    ///         tokio::spawn(drain.watch(connection));
    ///     }
    /// }
    /// ```
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
    /// Each is dropped when its task runs next, for which it is woken, with whatever it has not sent. Its
    /// future completes with [`ConnectionClosed`]. This ends peers that no graceful shutdown can end: one that
    /// never answers a PING, that has sent half a request, or that has stopped reading.
    ///
    /// Handlers of such a connection are dropped too, tracked or not. Connections that are watched later are not
    /// affected. [`Shutdown::run`](crate::Shutdown::run) calls this at its deadline, after the requests have
    /// been cancelled and a second has passed for the answers.
    pub fn close_connections(&self) -> usize {
        self.close_open_connections()
    }
}
