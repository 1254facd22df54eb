//! A reverse proxy. Bodies are streamed in both directions, and a request is in flight until the last byte of
//! the upstream server's response has been passed on.
//!
//! ```sh
//! UPSTREAM=127.0.0.1:3000 cargo run --example reverse_proxy
//! curl -i http://127.0.0.1:8080/
//! ```

use std::env;
use std::error::Error;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{CONNECTION, HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower_drain::{Drain, Shutdown};

type Upstream = (Client<HttpConnector, Body>, Authority);

/// Removes the headers that belong to one connection (RFC 9110, 7.6.1), and those that `Connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let others = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "upgrade",
    ];
    for name in named.iter().map(String::as_str).chain(others) {
        headers.remove(name);
    }
}

async fn forward(
    State((client, upstream)): State<Upstream>,
    mut request: Request,
) -> Result<Response, StatusCode> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    // HTTP/2 has the host in the URI.
    let host = uri.authority.replace(upstream);
    if let Some(host) = host.and_then(|host| host.as_str().parse().ok()) {
        request.headers_mut().insert(HOST, host);
    }
    uri.scheme = Some(Scheme::HTTP);
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| StatusCode::BAD_REQUEST)?;
    *request.version_mut() = http::Version::HTTP_11;
    remove_hop_by_hop(request.headers_mut());
    match client.request(request).await {
        Ok(mut response) => {
            remove_hop_by_hop(response.headers_mut());
            response.headers_mut().remove(TRANSFER_ENCODING);
            Ok(response.map(Body::new))
        }
        Err(_) => Err(StatusCode::BAD_GATEWAY),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let drain = Drain::new();
    let shutdown = Shutdown::on_signal(&drain);
    let client = Client::builder(TokioExecutor::new()).build_http();
    let upstream = env::var("UPSTREAM").unwrap_or_else(|_| "127.0.0.1:3000".into());
    let app = Router::new()
        .fallback(forward)
        .with_state((client, upstream.parse::<Authority>()?));
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(address).await?;
    tracing::info!("listening on {}", listener.local_addr()?);
    shutdown
        .listener(&listener)?
        .run(|closing| {
            axum::serve(listener, app.layer(drain.layer())).with_graceful_shutdown(closing)
        })
        .await?;
    Ok(())
}
