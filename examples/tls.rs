//! HTTPS with axum-server and rustls, with a certificate that is generated at start-up. For an accept loop of
//! your own with tokio-rustls see `tower_drain::recipes::servers`.
//!
//! ```sh
//! cargo run --example tls
//! curl -ik https://127.0.0.1:8443/           # answered, although the server is stopped meanwhile
//! ```

use std::env;
use std::error::Error;
use std::net::TcpListener;
use std::time::Duration;

use axum::{Router, routing::get};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use tokio::time::sleep;
use tower_drain::{Drain, Shutdown};

async fn hello() -> &'static str {
    sleep(Duration::from_secs(2)).await;
    "hello\n"
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
    listener.set_nonblocking(true)?;
    tracing::info!("listening on {}", listener.local_addr()?);
    let shutdown = shutdown.listener(&listener)?;
    let server = axum_server::from_tcp_rustls(listener, tls)?;
    shutdown
        .run(|closing| {
            let handle = Handle::new();
            let leave = handle.clone();
            tokio::spawn(async move {
                closing.await;
                // Without a deadline, because the shutdown has one.
                leave.graceful_shutdown(None);
            });
            let app = app.layer(drain.layer());
            server.handle(handle).serve(app.into_make_service())
        })
        .await?;
    Ok(())
}
