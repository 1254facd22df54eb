//! The layer, its service, response future and body, the refusals, and the readiness service.

mod body;
mod future;
mod grpc;
mod headers;
mod layer;
mod readiness;
mod refusal;
mod service;
mod stream_end;

pub use self::body::{Cancelled, ResponseBody};
pub use self::future::ResponseFuture;
pub use self::layer::DrainLayer;
pub use self::readiness::Readiness;
pub use self::refusal::{DefaultRefusal, Exempt, NeverExempt, Refuse};
pub use self::service::DrainService;
pub use self::stream_end::is_event_stream;
