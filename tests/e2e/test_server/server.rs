//! Which server runs, and how it stops.

use std::env;
use std::error::Error;
use std::future::{IntoFuture, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::http::HeaderValue;
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_stream::wrappers::TcpListenerStream;
use tower_drain::signal::{ForceSignal, ShutdownSignal};
use tower_drain::{Drain, Reached, ServerOutput, Shutdown, signal};
use tracing::info;

use crate::long_lived;
use crate::routes::routes;
use crate::until_lame_duck::UntilLameDuck;

type AnyError = Box<dyn Error + Send + Sync>;

fn seconds(name: &str) -> Duration {
    let seconds = env::var(name).expect(name);
    Duration::from_secs_f64(seconds.parse().expect(name))
}

async fn serve() -> Result<(), AnyError> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let kind = env::var("SERVER").unwrap_or_else(|_| "drain".into());
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain);
    let plain = signal::shutdown();
    if kind.starts_with("unix") {
        return serve_unix(&kind, &drain, shutdown, plain).await;
    }
    let listener = match ListenFd::from_env().take_tcp_listener(0)? {
        Some(passed) => {
            passed.set_nonblocking(true)?;
            if env::var("DUPLICATE").is_ok() {
                let duplicate = passed.try_clone()?;
                // Its number stays in use.
                std::mem::forget(passed);
                TcpListener::from_std(duplicate)?
            } else {
                TcpListener::from_std(passed)?
            }
        }
        None => bind(&env::var("ADDR")?)?,
    };
    let address = listener.local_addr()?;
    // For clients that come through a load balancer.
    let replica = HeaderValue::from_str(&address.to_string())?;
    let name = map_response(move |mut response: Response| {
        response.headers_mut().insert("replica", replica.clone());
        ready(response)
    });
    let shutdown = match kind.as_str() {
        "plain" | "grpc-plain" | "until-lame-duck" => shutdown,
        _ => shutdown.listener(&listener)?,
    };
    info!("listening on {address}");
    match kind.as_str() {
        "drain" => {
            let mut layer = drain.layer().end_streams(long_lived::is_endless);
            if env::var("TRACK").is_ok() {
                layer = layer.track_requests();
            }
            let app = routes(&drain)
                .layer(name)
                .layer(layer)
                .route_service("/readyz", drain.readiness());
            let serve = |closing| axum::serve(listener, app).with_graceful_shutdown(closing);
            run(shutdown, serve).await
        }
        "watch-drain" | "spread-drain" => {
            let app = routes(&drain)
                .layer(name)
                .layer(drain.layer())
                .route_service("/readyz", drain.readiness());
            let spread = kind == "spread-drain";
            let serve = |closing| accept(listener, app, &drain, spread, closing);
            run(shutdown, serve).await
        }
        "until-lame-duck" => {
            let app = routes(&drain).layer(name).layer(drain.layer());
            let listener = UntilLameDuck {
                listener: Some(listener),
                waiting: Vec::new(),
                drain,
            };
            let serve = |closing| axum::serve(listener, app).with_graceful_shutdown(closing);
            run(shutdown, serve).await
        }
        "plain" => {
            let closing = async {
                plain.await;
            };
            let app = routes(&drain)
                .layer(name)
                .route("/readyz", get(|| async {}));
            axum::serve(listener, app)
                .with_graceful_shutdown(closing)
                .await?;
            Ok(())
        }
        "grpc-drain" => {
            let app = grpc_routes()
                .layer(name)
                .layer(drain.layer())
                .route_service("/readyz", drain.readiness());
            let server = tonic::transport::Server::builder().add_routes(app.into());
            let incoming = TcpListenerStream::new(listener);
            let serve = |closing| server.serve_with_incoming_shutdown(incoming, closing);
            run(shutdown, serve).await
        }
        "grpc-plain" => {
            let closing = async {
                plain.await;
            };
            let app = grpc_routes().layer(name).route("/readyz", get(|| async {}));
            tonic::transport::Server::builder()
                .add_routes(app.into())
                .serve_with_incoming_shutdown(TcpListenerStream::new(listener), closing)
                .await?;
            Ok(())
        }
        other => Err(format!("no such server: {other}").into()),
    }
}

/// Axum on a Unix socket: `unix-plain` or `unix-drain`.
async fn serve_unix(
    kind: &str,
    drain: &Drain,
    shutdown: Shutdown<ShutdownSignal, ForceSignal>,
    plain: ShutdownSignal,
) -> Result<(), AnyError> {
    let path = env::var("ADDR")?;
    let listener = UnixListener::bind(&path)?;
    let app = routes(drain);
    if kind == "unix-drain" {
        let shutdown = shutdown.listener(&listener)?;
        info!("listening on {path}");
        let app = app.layer(drain.layer());
        let serve = |closing| axum::serve(listener, app).with_graceful_shutdown(closing);
        return run(shutdown, serve).await;
    }
    info!("listening on {path}");
    let closing = async { _ = plain.await };
    axum::serve(listener, app)
        .with_graceful_shutdown(closing)
        .await?;
    Ok(())
}

fn bind(address: &str) -> Result<TcpListener, AnyError> {
    let address: SocketAddr = address.parse()?;
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let backlog = env::var("BACKLOG").map_or(Ok(1024), |backlog| backlog.parse())?;
    Ok(socket.listen(backlog)?)
}

/// An accept loop, which leaves its connections to the drain.
async fn accept(
    listener: TcpListener,
    app: Router,
    drain: &Drain,
    spread: bool,
    closing: Reached,
) -> io::Result<()> {
    let mut server = auto::Builder::new(TokioExecutor::new());
    if spread {
        server = server.http2_only();
    }
    let mut closing = pin!(closing);
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut closing => return Ok(()),
        };
        let service = TowerToHyperService::new(app.clone());
        let connection = server.serve_connection(TokioIo::new(stream), service);
        let mut connection = drain.watch(connection.into_owned());
        if spread {
            connection = connection.spread_goodbye();
        }
        tokio::spawn(connection);
    }
}

async fn run<S>(
    mut shutdown: Shutdown<ShutdownSignal, ForceSignal>,
    server: impl FnOnce(Reached) -> S,
) -> Result<(), AnyError>
where
    S: IntoFuture<Output: ServerOutput>,
{
    // The defaults of the crate, unless they are set.
    let set = |name| env::var(name).is_ok().then(|| seconds(name));
    if let Some(settle) = set("SETTLE") {
        shutdown = shutdown.settle(settle);
    }
    if let Some(closing) = set("CLOSING") {
        shutdown = shutdown.closing(closing);
    }
    if let Some(timeout) = set("TIMEOUT") {
        shutdown = shutdown.timeout(timeout);
    }
    if let Some(flush) = set("FLUSH") {
        shutdown = shutdown.flush(flush);
    }
    let shutdown = shutdown
        .lame_duck(set("LAME_DUCK").unwrap_or_default())
        .min_failed_probes(1)
        .quiet_period(set("QUIET").unwrap_or(Duration::from_millis(200)));
    // A slow start-up, which is not over when the signal arrives.
    std::thread::sleep(set("STARTUP").unwrap_or_default());
    let report = shutdown.run(server).await?;
    info!("exit: {report:?}");
    Ok(())
}

fn grpc_routes() -> Router {
    let (_, health) = tonic_health::server::health_reporter();
    tonic::service::Routes::new(health).into_axum_router()
}

#[tokio::main]
pub(crate) async fn main() {
    let outcome = serve().await;
    if let Err(error) = &outcome {
        info!("exit: {error}");
    }
    std::process::exit(outcome.is_err().into())
}
