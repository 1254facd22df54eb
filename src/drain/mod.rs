//! The handle of a drain, the waits, and what is in flight: requests and connections. Knows neither HTTP messages nor
//! the shutdown sequence.

mod connections;
mod error;
mod handle;
mod registry;
mod request;
mod slots;
mod status;
mod wait;

#[cfg(feature = "hyper-util")]
pub(crate) use self::connections::OpenConnection;
pub use self::error::{BoxError, TryAcquireError, Unfinished};
pub use self::handle::Drain;
pub(crate) use self::registry::{Registry, TrackedRequest};
pub use self::request::{InFlightRequest, RequestStage};
#[cfg_attr(not(feature = "tracing"), allow(unused_imports))]
pub(crate) use self::request::{MethodText, OldestRequests, PathText};
pub(crate) use self::slots::CancelReply;
pub use self::status::DrainStatus;
pub use self::wait::{DrainReport, DrainWait};
pub use crate::gate::{Goodbye, Phase, Reached};
