//! Floor 3: the middleware. Requests enter the gate here, and are turned away in their own protocol.

mod body;
mod events;
mod exempt;
mod future;
mod grpc;
mod layer;
mod readiness;
mod refusal;
mod service;

pub use self::body::{BodyError, Cancelled, ResponseBody};
pub use self::exempt::{Exempt, ExemptNone};
pub use self::future::ResponseFuture;
pub use self::layer::DrainLayer;
pub use self::readiness::{Readiness, ReadinessFuture};
pub use self::refusal::{Refuse, Unavailable};
pub use self::service::DrainService;
