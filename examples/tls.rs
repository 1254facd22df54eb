//! HTTPS with axum-server and rustls, with a certificate that is generated at start-up. For an accept loop of
//! your own with tokio-rustls see `tower_drain::recipes`.
//!
//! ```sh
//! cargo run --example tls
//! curl -ik https://127.0.0.1:8443/           # answered, although the server is stopped meanwhile
//! ```

use std::env;
use std::error::Error;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::time::Duration;

use axum::{Router, routing::get};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::time::sleep;
use tower_drain::{Drain, Reached, Shutdown};

async fn hello() -> &'static str {
    sleep(Duration::from_secs(2)).await;
    "hello\n"
}

/// Serves until `closing` resolves and all connections are closed.
async fn serve(
    listener: TcpListener,
    tls: RustlsConfig,
    app: Router,
    closing: Reached,
) -> io::Result<()> {
    let handle = Handle::new();
    let server = axum_server::from_tcp_rustls(listener, tls)?.handle(handle.clone());
    let mut server = pin!(server.serve(app.into_make_service()));
    tokio::select! {
        failed = &mut server => return failed,
        // Without a deadline, because the shutdown has one.
        () = closing => handle.graceful_shutdown(None),
    }
    server.await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain);

    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = made.signing_key.serialize_der();
    let tls = RustlsConfig::from_der(vec![made.cert.der().to_vec()], key).await?;

    let app = Router::new().route("/", get(hello));
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8443".into());
    let listener = TcpListener::bind(address)?;
    tracing::info!("listening on {}", listener.local_addr()?);
    shutdown
        .listener(&listener)?
        .run(|closing| serve(listener, tls, app.layer(drain.layer()), closing))
        .await?;
    Ok(())
}
