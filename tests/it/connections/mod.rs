//! Watched connections of hyper, over sockets and in memory.

mod close;
mod goodbye;
mod shutdown;
mod spread;
mod tls;
mod wake;

use std::convert::Infallible;
use std::future::pending;
use std::pin::pin;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulConnection;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tower::{Layer, service_fn};
use tower_drain::{BoxError, ConnectionClosed, Drain, Reached};

use crate::server::{Server, bind};
use crate::support::{spin_until, until};

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers `/` with "hello" or the request's body, and `/endless` with an endless body. Never answers other
/// paths.
async fn app(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let body = match request.uri().path() {
        "/" if request.method() == Method::POST => {
            let body = request.into_body().collect().await;
            Full::from(body.unwrap().to_bytes()).boxed_unsync()
        }
        "/" => Full::from("hello").boxed_unsync(),
        "/endless" => {
            let chunk = || Ok(Frame::data(Bytes::from_static(&[b'.'; 1 << 14])));
            StreamBody::new(stream::repeat_with(chunk)).boxed_unsync()
        }
        _ => pending().await,
    };
    Ok(Response::new(body))
}

/// A service of hyper's, with the drain's layer.
macro_rules! service {
    ($drain:expr) => {
        TowerToHyperService::new($drain.layer().layer(service_fn(app)))
    };
}
use service;

/// Returns an HTTP/1 connection in memory, and its client's end.
fn http1_connection(
    drain: &Drain,
) -> (
    impl GracefulConnection<Error: Into<BoxError>> + Send + use<>,
    DuplexStream,
) {
    let (client, io) = duplex(1 << 16);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(io), service!(drain));
    (connection, client)
}

/// The same for HTTP/2.
fn http2_connection(
    drain: &Drain,
) -> (
    impl GracefulConnection<Error: Into<BoxError>> + Send + use<>,
    DuplexStream,
) {
    let (client, io) = duplex(1 << 16);
    let builder = http2::Builder::new(TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(io), service!(drain));
    (connection, client)
}

fn is_closed(result: Result<(), BoxError>) -> bool {
    result.is_err_and(|error| error.is::<ConnectionClosed>())
}

/// Reads up to the end of the connection.
async fn read_to_end(mut client: impl AsyncRead + Unpin) -> String {
    let mut text = Vec::new();
    // Data that was read before a reset counts.
    let _ = client.read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

type Ends = mpsc::UnboundedSender<Result<(), BoxError>>;
type Ended = mpsc::UnboundedReceiver<Result<(), BoxError>>;

/// An accept loop, which returns when it is asked to close. Sends the result of each connection.
async fn accept(listener: TcpListener, drain: Drain, closing: Reached, ends: Ends) {
    let mut closing = pin!(closing);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted.unwrap(),
            () = &mut closing => return,
        };
        let builder = auto::Builder::new(TokioExecutor::new());
        let connection = builder.serve_connection(TokioIo::new(stream), service!(drain));
        let connection = drain.watch(connection.into_owned());
        let ends = ends.clone();
        tokio::spawn(async move { ends.send(connection.await) });
    }
}

/// Starts a server with this accept loop, without a `Shutdown`.
async fn start() -> (Server<()>, Ended) {
    let drain = Drain::new();
    let (sender, ends) = mpsc::unbounded_channel();
    let accept = |listener| accept(listener, drain.clone(), drain.closing(), sender);
    (Server::start(&drain, accept).await, ends)
}
