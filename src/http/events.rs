//! What the feature `tracing` tells of requests. Off the path of those that are served.

use http::Request;

/// Debug, for a server that drains may turn away many.
#[cfg_attr(not(feature = "tracing"), allow(unused_variables))]
pub(super) fn refused<B>(request: &Request<B>) {
    #[cfg(feature = "tracing")]
    tracing::debug!(
        target: "tower_drain",
        method = %request.method(),
        // Without the query, which can hold secrets.
        path = request.uri().path(),
        "refused a request: draining"
    );
}
