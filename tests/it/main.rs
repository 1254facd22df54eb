//! Tests in one process, by topic. Tests that need their own process are separate binaries.

#![allow(missing_docs)]

mod autotraits;
mod backpressure;
mod body;
mod connections;
mod end_streams;
mod events;
mod goodbye;
mod http2_peer;
mod lifecycle;
mod misuse;
mod model;
mod module_boundaries;
mod phases;
mod readiness;
mod refusal;
mod release;
mod server;
mod shutdown;
mod sockets;
mod support;
mod tracking;
mod waits;
mod wakers;
