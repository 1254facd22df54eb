//! The sequence of a process that has to stop: signal, lame duck, close, drain. Drives a drain and a
//! server. Knows no HTTP.

mod builder;
mod error;
mod lame_duck;
mod log;
mod port;
mod report;
mod run;
mod server;
mod signal;
#[cfg(all(feature = "listener", unix))]
mod socket;

pub use self::builder::Shutdown;
pub use self::error::ShutdownError;
pub use self::report::ShutdownReport;
pub use self::server::ServerOutput;
pub use self::signal::Signal;
#[cfg(feature = "signal")]
pub use self::signal::{ForceSignal, ShutdownSignal, shutdown};
