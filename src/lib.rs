//! Stop a server without losing a request.
//!
//! [`DrainLayer`] counts the requests in flight to the last byte of their bodies, answers 503 once
//! draining has started, and its handle, [`Drain`], gives a future that resolves when none is left or
//! the time is up.

mod drain;
mod gate;
mod http;

pub use crate::drain::{Closed, Drain, DrainWait, Phase, Reached, Report, TimedOut};
pub use crate::gate::Permit;
pub use crate::http::{
    DrainLayer, DrainService, Exempt, ExemptNone, Readiness, ReadinessFuture, Refuse, ResponseBody,
    ResponseFuture, Unavailable,
};
