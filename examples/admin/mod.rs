//! The routes of an admin port, which stays open until the process ends: `/readyz`, `/livez` and `/metrics`.

use std::fmt;
use std::future::ready;
use std::sync::Arc;

use axum::{Router, routing::get};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tower_drain::Drain;

/// Reads the drain when it is asked for metrics.
#[derive(Debug)]
struct Metrics(Drain);

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.status();
        let mut metric = |name, help, value: &dyn EncodeMetric| {
            value.encode(encoder.encode_descriptor(name, help, None, value.metric_type())?)
        };
        let phase = ConstGauge::new(status.phase() as i64);
        metric(
            "phase",
            "0 serving, 1 lame duck, 2 closing, 3 draining, 4 drained",
            &phase,
        )?;
        let in_flight = ConstGauge::new(status.in_flight() as i64);
        metric("in_flight", "Requests in flight", &in_flight)?;
        let refused = ConstCounter::new(status.refused());
        metric("refused", "Requests refused", &refused)
    }
}

pub(crate) fn router(drain: &Drain) -> Router {
    let mut registry = Registry::with_prefix("drain");
    registry.register_collector(Box::new(Metrics(drain.clone())));
    let registry = Arc::new(registry);
    let metrics = move || {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        ready(text)
    };
    Router::new()
        .route_service("/readyz", drain.readiness())
        // Alive to the end: a liveness probe that fails while draining gets a pod killed.
        .route("/livez", get(|| async { "alive\n" }))
        .route("/metrics", get(metrics))
}
