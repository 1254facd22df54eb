use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

#[cfg(feature = "signal")]
use super::signal::{ShutdownSignal, shutdown};
use super::trigger::Signal;

/// What starts a [`Shutdown`](crate::Shutdown) that has not been told by
/// [`on`](crate::Shutdown::on): with the feature `signal`, SIGINT or SIGTERM. Without it this is no
/// future, so that such a `Shutdown` does not compile when it is run.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct DefaultOn {
    #[cfg(feature = "signal")]
    signal: ShutdownSignal,
}

/// What forces a [`Shutdown`](crate::Shutdown) that has not been told by
/// [`force`](crate::Shutdown::force): with the feature `signal`, the next SIGINT or SIGTERM; without
/// it, nothing.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct DefaultForce {
    #[cfg(feature = "signal")]
    signal: ShutdownSignal,
}

impl DefaultOn {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "signal")]
            signal: shutdown(),
        }
    }
}

impl DefaultForce {
    pub(super) fn new() -> Self {
        Self {
            #[cfg(feature = "signal")]
            signal: shutdown(),
        }
    }
}

#[cfg(feature = "signal")]
impl Future for DefaultOn {
    type Output = Signal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        Pin::new(&mut self.signal).poll(cx)
    }
}

impl Future for DefaultForce {
    type Output = Signal;

    #[cfg(feature = "signal")]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        Pin::new(&mut self.signal).poll(cx)
    }

    #[cfg(not(feature = "signal"))]
    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Signal> {
        Poll::Pending
    }
}
