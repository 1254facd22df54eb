//! hyper and hyper-util alone: HTTP/1 and HTTP/2 on one port. The accept loop is the server that a
//! `Shutdown` runs. `Drain::watch` asks its connections to leave, and closes what is left at the deadline.
//!
//! ```sh
//! cargo run --example hyper
//! curl -i http://127.0.0.1:8080/
//! curl -i --http2-prior-knowledge http://127.0.0.1:8080/
//! ```

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::io;
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
use tower::{ServiceBuilder, service_fn};
use tower_drain::{Drain, Reached, Shutdown};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    sleep(Duration::from_secs(2)).await;
    Ok(Response::new(Full::from("hello\n")))
}

async fn accept(listener: TcpListener, drain: &Drain, closing: Reached) {
    let service = ServiceBuilder::new()
        .layer(drain.layer())
        .service(service_fn(hello));
    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer, a request head may take any time.
    server.http1().timer(TokioTimer::new());
    // A client that vanishes without closing would keep its connection open, and the server running.
    server
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(5));
    let mut closing = pin!(closing);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // For example, no file descriptors are left. That is no reason to stop.
                Err(_) => {
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            // The port closes. The shutdown waits for the watched connections.
            () = &mut closing => return,
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
}

async fn serve() -> Result<(), Box<dyn Error>> {
    // Logs the crate's events: phases, progress and timeouts.
    tracing_subscriber::fmt().with_writer(io::stderr).init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain);
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    shutdown
        .listener(&listener)?
        .run(|closing| accept(listener, &drain, closing))
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() {
    let outcome = serve().await;
    if let Err(error) = &outcome {
        eprintln!("{error}");
    }
    // Returning would wait for blocking tasks without a limit.
    std::process::exit(outcome.is_err().into())
}
