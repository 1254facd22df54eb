//! Servers in this process, each on a port of its own, and clients for them.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_drain::Drain;

use crate::support::until;

/// A server, and the drain that counts its requests.
pub(crate) struct Server<T = io::Result<()>> {
    pub(crate) drain: Drain,
    pub(crate) address: SocketAddr,
    /// Its output, when it has ended.
    pub(crate) serving: JoinHandle<T>,
}

pub(crate) async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

impl Server {
    /// axum's server. It is asked to close when `closing` resolves.
    pub(crate) async fn axum(
        drain: &Drain,
        app: Router,
        closing: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        Self::start(drain, |listener| {
            let server = axum::serve(listener, app).with_graceful_shutdown(closing);
            server.into_future()
        })
        .await
    }
}

impl<T: Send + 'static> Server<T> {
    pub(crate) async fn start<S>(drain: &Drain, serve: impl FnOnce(TcpListener) -> S) -> Self
    where
        S: Future<Output = T> + Send + 'static,
    {
        let (listener, address) = bind().await;
        Self {
            drain: drain.clone(),
            address,
            serving: tokio::spawn(serve(listener)),
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    pub(crate) async fn http1(&self) -> http1::SendRequest<Empty<Bytes>> {
        let handshake = http1::handshake(TokioIo::new(self.connect().await));
        let (client, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) async fn http2(&self) -> http2::SendRequest<Empty<Bytes>> {
        let io = TokioIo::new(self.connect().await);
        let (client, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Sends a request on a connection of its own.
    pub(crate) async fn get(
        &self,
        version: Version,
        path: &str,
    ) -> Result<Response<Incoming>, hyper::Error> {
        if version == Version::HTTP_2 {
            self.http2().await.send_request(request2(path)).await
        } else {
            self.http1().await.send_request(request(path)).await
        }
    }

    /// Waits until so many requests are in flight.
    pub(crate) async fn in_flight(&self, count: usize) {
        until(|| self.drain.in_flight() == count).await;
    }

    /// Waits until so many watched connections are open.
    pub(crate) async fn connections(&self, count: usize) {
        until(|| self.drain.connections() == count).await;
    }
}

pub(crate) fn request(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(path).header("host", "localhost");
    request.body(Empty::new()).unwrap()
}

pub(crate) fn request2(path: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://localhost{path}"));
    request.body(Empty::new()).unwrap()
}
