//! The handle, the phases, the waits, and the registry of tracked requests. Knows neither HTTP
//! messages nor the shutdown sequence.

mod connections;
mod error;
mod handle;
mod log;
mod phase;
mod registry;
mod request;
mod shared;
mod status;
mod wait;

#[cfg(feature = "hyper-util")]
pub(crate) use self::connections::OpenConnection;
pub use self::error::{BoxError, TryAcquireError, Unfinished};
pub use self::handle::Drain;
pub use self::phase::{Phase, Reached};
pub(crate) use self::registry::{Registry, Tag, TrackedRequest};
pub use self::request::{InFlightRequest, RequestStage};
#[cfg_attr(not(feature = "tracing"), allow(unused_imports))]
pub(crate) use self::request::{MethodText, OldestRequests, PathText};
pub use self::status::DrainStatus;
pub use self::wait::{DrainReport, DrainWait};
