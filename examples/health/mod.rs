//! tonic's health service, beside a drain.

use http::Request;
use tonic::body::Body;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower_drain::{Drain, Phase};

/// For `DrainLayer::exempt`. A `Watch` never ends, and checks are not worth waiting for.
pub(crate) fn is_check(request: &Request<Body>) -> bool {
    request.uri().path().starts_with("/grpc.health.v1.")
}

/// Reports the phases of the drain for these services. "" is the server as a whole, which most probes check.
pub(crate) async fn report(drain: Drain, mut health: HealthReporter, services: &[&str]) {
    drain.reached(Phase::LameDuck).await;
    for service in services {
        let status = ServingStatus::NotServing;
        health.set_service_status(*service, status).await;
    }
    drain.closing().await;
    // Ends each `Watch`, which would keep its connection open.
    for service in services {
        health.clear_service_status(service).await;
    }
}
