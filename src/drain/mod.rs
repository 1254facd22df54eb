//! The handle, the phases, the waits, and the registry of tracked requests. Knows neither HTTP
//! messages nor the shutdown sequence.

mod connections;
mod error;
mod handle;
mod log;
mod phase;
mod reached;
mod registry;
mod report;
mod request;
mod shared;
mod status;
mod text;
mod wait;

#[cfg(feature = "hyper-util")]
pub(crate) use self::connections::OpenConnection;
pub use self::error::{BoxError, TryAcquireError, Unfinished};
pub use self::handle::Drain;
pub use self::phase::Phase;
pub use self::reached::Reached;
pub(crate) use self::registry::{Registry, Tag, TrackedRequest};
pub use self::report::DrainReport;
pub use self::request::{InFlightRequest, RequestStage};
#[cfg_attr(not(feature = "tracing"), allow(unused_imports))]
pub(crate) use self::request::{MethodText, OldestRequests, PathText};
pub use self::status::DrainStatus;
pub use self::wait::DrainWait;
