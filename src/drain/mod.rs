//! Floor 2: the handle, the phases and the waits. Knows no HTTP.

mod closed;
mod events;
mod handle;
mod phase;
mod reached;
mod wait;

pub use self::closed::Closed;
pub use self::handle::Drain;
pub use self::phase::Phase;
pub use self::reached::Reached;
pub use self::wait::{DrainWait, Report, TimedOut};
