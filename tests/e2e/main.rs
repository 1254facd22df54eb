//! Real processes with real signals, sockets and clients. What needs programs that cargo does not install
//! (HAProxy, nginx, Chromium, grpcio) or takes minutes is ignored by default; `.ci/run` runs it.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod browser;
mod examples;
mod gin_equivalent;
mod process;
mod restarts;
mod sequence;
mod servers;
mod tls_client;
