//! Tests in one process, by topic. What needs a process of its own is a binary beside this one.

#![allow(missing_docs)]

mod autotraits;
mod backpressure;
mod body;
mod connections;
mod end_streams;
mod events;
mod http2_peer;
mod lifecycle;
mod misuse;
mod model;
mod module_boundaries;
mod phases;
mod prose;
mod readiness;
mod refusal;
mod release;
mod shutdown;
mod sockets;
mod support;
mod tracking;
mod waits;
