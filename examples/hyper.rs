//! hyper and hyper-util alone: HTTP/1 and HTTP/2 on one port. The accept loop is the server that a
//! `Shutdown` runs: it ends once draining has begun and its connections are closed.
//!
//! ```sh
//! cargo run --example hyper
//! curl -i http://127.0.0.1:8080/
//! curl -i --http2-prior-knowledge http://127.0.0.1:8080/
//! ```

use std::convert::Infallible;
use std::env;
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
use tokio::time::sleep;
use tower::{ServiceBuilder, service_fn};
use tower_drain::{Drain, Shutdown};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    sleep(Duration::from_secs(2)).await;
    Ok(Response::new(Full::from("hello\n")))
}

async fn serve(listener: TcpListener, drain: &Drain) -> Result<(), Infallible> {
    let service = ServiceBuilder::new()
        .layer(drain.layer())
        .service(service_fn(hello));
    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer half a request head would be waited for to the end.
    server.http1().timer(TokioTimer::new());
    let connections = GracefulShutdown::new();
    let mut draining = std::pin::pin!(drain.draining());
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of file descriptors, say: that passes, and no server stops for it.
                Err(_) => {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut draining => break,
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
    // The port first, so that nobody waits in its queue; then the connections.
    drop(listener);
    connections.shutdown().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let drain = Drain::new();
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let server = async {
        eprintln!("listening on {address}");
        serve(listener, &drain).await
    };
    let report = Shutdown::new(&drain).run(server).await?;
    eprintln!("{} were in flight", report.in_flight_at_start());
    Ok(())
}
