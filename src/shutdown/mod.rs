//! The shutdown sequence: signal, lame duck, close, drain. Drives a drain and a server. Knows no HTTP.

mod builder;
mod outcome;
mod port;
mod run;
mod server;
mod session;
mod signal;

pub use self::builder::Shutdown;
pub use self::outcome::{ShutdownError, ShutdownReport};
pub use self::server::ServerOutput;
pub use self::signal::Signal;
#[cfg(feature = "signal")]
pub use self::signal::{ForceSignal, ShutdownSignal, shutdown};
