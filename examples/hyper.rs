//! hyper and hyper-util alone: HTTP/1 and HTTP/2 on one port, drained on Ctrl-C.
//!
//! ```sh
//! cargo run --example hyper
//! curl -i http://127.0.0.1:8080/
//! curl -i --http2-prior-knowledge http://127.0.0.1:8080/
//! ```

use std::convert::Infallible;
use std::error::Error;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout_at};
use tower::{ServiceBuilder, service_fn};
use tower_drain::Drain;

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    sleep(Duration::from_secs(2)).await;
    Ok(Response::new(Full::from("hello\n")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let drain = Drain::new();
    let service = ServiceBuilder::new()
        .layer(drain.layer())
        .service(service_fn(hello));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    let listener = TcpListener::bind("127.0.0.1:8080").await?;

    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of file descriptors, say: that passes, and no server stops for it.
                let Ok((stream, _)) = accepted else {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let service = TowerToHyperService::new(service.clone());
                let connection = server.serve_connection(TokioIo::new(stream), service);
                let connection = connections.watch(connection.into_owned());
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        eprintln!("connection: {error}");
                    }
                });
            }
            _ = tokio::signal::ctrl_c() => break,
        }
    }

    drop(listener);
    let deadline = Instant::now() + Duration::from_secs(30);
    // The requests first, to the last of their bodies; then the connections, which flush and close.
    let (requests, connections) = tokio::join!(
        drain.drain_until(deadline),
        timeout_at(deadline, connections.shutdown()),
    );
    println!("{:?}", requests?);
    connections.map_err(|_| "connections still open at the deadline")?;
    Ok(())
}
