// tokio-graceful-shutdown 0.20.0 with axum::serve in place of the accept loop of its hyper
// example (not documented by the crate).

use axum::{Router, routing::get};
use miette::{IntoDiagnostic, Result};
use tokio::net::TcpListener;
use tokio::time::Duration;
use tokio_graceful_shutdown::{SubsystemBuilder, SubsystemHandle, Toplevel};

async fn axum_subsystem(subsys: &mut SubsystemHandle) -> Result<()> {
    let app = Router::new().route("/", get(|| async { "hello" }));
    let listener = TcpListener::bind("0.0.0.0:8080").await.into_diagnostic()?;
    let token = subsys.create_cancellation_token();

    axum::serve(listener, app)
        .with_graceful_shutdown(token.cancelled_owned())
        .await
        .into_diagnostic()
}

#[tokio::main]
async fn main() -> Result<()> {
    Toplevel::new(async |s: &mut SubsystemHandle| {
        s.start(SubsystemBuilder::new("Axum", axum_subsystem));
    })
    .catch_signals()
    .handle_shutdown_requests(Duration::from_secs(20))
    .await
    .map_err(Into::into)
}
