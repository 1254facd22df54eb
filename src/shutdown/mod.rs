//! Floor 3, beside the middleware: the sequence that a process goes through when it has to stop.
//! Drives a drain and a server; knows no HTTP.

mod builder;
mod defaults;
mod error;
mod events;
mod lame_duck;
mod plan;
mod run;
#[cfg(feature = "signal")]
pub mod signal;
mod trigger;

pub use self::builder::Shutdown;
pub use self::defaults::{DefaultForce, DefaultOn};
pub use self::error::ShutdownError;
pub use self::run::Run;
pub use self::trigger::Signal;
