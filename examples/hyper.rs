//! hyper and hyper-util alone: HTTP/1 and HTTP/2 on one port, with an accept loop. `Drain::watch` asks its connections
//! to leave, and closes what is left at the deadline.
//!
//! ```sh
//! cargo run --example hyper
//! curl -i http://127.0.0.1:8080/
//! curl -i --http2-prior-knowledge http://127.0.0.1:8080/
//! ```

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::{Layer, service_fn};
use tower_drain::{Drain, Shutdown};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    sleep(Duration::from_secs(2)).await;
    Ok(Response::new(Full::from("hello\n")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain);
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);

    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer, a request head may take any time.
    server.http1().timer(TokioTimer::new());
    // A client that vanishes without closing would keep its connection open, and the server running.
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5));
    let service = drain.layer().layer(service_fn(hello));

    // Beside the accept loop. It waits for the watched connections, so `closing` is all that it needs of a server.
    let shutdown = shutdown.listener(&listener)?.run(|closing| closing);
    let shutdown = tokio::spawn(shutdown);
    let mut closing = pin!(drain.closing());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closing => break,
        };
        let Ok((stream, _)) = accepted else {
            // For example, no file descriptors are left. That is no reason to stop.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let service = TowerToHyperService::new(service.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let connection = drain.watch(connection.into_owned());
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                // Also one on which nothing has arrived, when the server closes.
                tracing::debug!("connection: {error}");
            }
        });
    }
    // Closes the port.
    drop(listener);
    shutdown.await??;
    Ok(())
}
