//! The integration tests: by what they are about, each numbered semantic of the crate's contract in
//! one of them. What needs a process of its own is a binary beside this one.

#![allow(missing_docs)]

mod autotraits;
mod backpressure;
mod body;
mod events;
mod house;
mod misuse;
mod model;
mod orphan;
mod phases;
mod readiness;
mod refusal;
mod release;
mod shutdown;
mod sockets;
mod support;
mod tracking;
mod waits;
