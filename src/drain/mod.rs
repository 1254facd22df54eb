//! Floor 2: the handle, the phases and the waits, and the book of the requests in flight. Of HTTP it
//! knows what a request is called.

mod closed;
mod events;
mod handle;
mod phase;
mod reached;
mod request;
mod status;
mod tracker;
mod wait;

pub use self::closed::Closed;
pub use self::handle::Drain;
pub use self::phase::Phase;
pub use self::reached::Reached;
pub(crate) use self::request::Names;
pub use self::request::{InFlightRequest, Stage};
pub use self::status::Status;
pub(crate) use self::tracker::{Reply, Tracked};
pub use self::wait::{DrainWait, Report, TimedOut};
