//! A server on a Unix socket, behind a proxy on the same machine. The next process takes over the path while
//! the old one still runs, so that no connection is refused.
//!
//! ```sh
//! cargo run --example unix_socket
//! curl -i --unix-socket /tmp/hello.sock http://localhost/
//! ```

#[cfg(unix)]
mod server {
    use std::env;
    use std::error::Error;
    use std::fs;
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    use axum::{Router, routing::get};
    use tokio::net::UnixListener;
    use tokio::time::sleep;
    use tower_drain::{Drain, Shutdown};

    async fn hello() -> &'static str {
        sleep(Duration::from_secs(2)).await;
        "hello\n"
    }

    /// Binds a temporary name and renames it, so that there is always a socket at `path`.
    ///
    /// A process must not remove the path when it ends. By then the path may belong to the next one.
    fn bind(path: &Path) -> io::Result<UnixListener> {
        let own = path.with_extension(std::process::id().to_string());
        // In a container the next process has the same id.
        let _ = fs::remove_file(&own);
        let listener = UnixListener::bind(&own)?;
        fs::rename(&own, path)?;
        Ok(listener)
    }

    pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
        tracing_subscriber::fmt().init();
        let drain = Drain::new();
        let shutdown = Shutdown::on_signal(&drain);
        let app = Router::new().route("/", get(hello));
        let path = env::var("SOCKET").unwrap_or_else(|_| "/tmp/hello.sock".into());
        let listener = bind(path.as_ref())?;
        tracing::info!("listening on {path}");
        shutdown
            // On any kind of socket, waits until the accept queue is empty.
            .listener(&listener)?
            .run(|closing| {
                axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
            })
            .await?;
        Ok(())
    }
}

#[cfg(unix)]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    server::run().await
}

#[cfg(not(unix))]
fn main() {
    eprintln!("This example is for Unix.");
}
