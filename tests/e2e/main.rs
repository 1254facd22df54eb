//! Real processes with real signals, sockets and clients. Tests that take minutes, or need programs that
//! cargo does not install (HAProxy, nginx, Chromium, grpcio), are ignored by default; `.ci/run` runs them.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod browser;
mod distance;
mod examples;
mod gin_equivalent;
mod herd;
mod network;
mod process;
mod restarts;
mod sandbox;
mod sequence;
mod servers;
mod tls_client;
mod websockets;
