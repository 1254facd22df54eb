//! The signals that ask a process to stop. With the feature `signal`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::trigger::Signal;

/// A future of the next SIGINT or SIGTERM; on Windows, of the next Ctrl-C.
///
/// It listens from its first poll on: signals that came before are not its own. From then on the
/// process no longer ends by these signals by itself, not even when the future is dropped. Any
/// number may wait, and each gets the same signal.
///
/// ```no_run
/// use tower_drain::{Signal, signal};
///
/// # async fn example() {
/// match signal::shutdown().await {
///     Signal::Interrupt => println!("Ctrl-C"),
///     Signal::Terminate => println!("told to stop"),
/// }
/// # }
/// ```
///
/// # Panics
///
/// This call never does. The future panics when polled outside a tokio runtime with I/O enabled.
///
/// # Cancel safety
///
/// May be dropped at any time. A signal that came in while it was not polled goes with it.
pub fn shutdown() -> ShutdownSignal {
    ShutdownSignal { listening: None }
}

/// The future of [`shutdown`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ShutdownSignal {
    listening: Option<Listening>,
}

impl Future for ShutdownSignal {
    type Output = Signal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        self.listening
            .get_or_insert_with(Listening::new)
            .poll_next(cx)
    }
}

/// A signal that cannot be listened for is left out, and so keeps what it did before: it ends the
/// process.
#[cfg(unix)]
#[derive(Debug)]
struct Listening {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Listening {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        let kinds = [
            (&mut self.interrupt, Signal::Interrupt),
            (&mut self.terminate, Signal::Terminate),
        ];
        for (listener, signal) in kinds {
            if let Some(Poll::Ready(Some(()))) = listener.as_mut().map(|it| it.poll_recv(cx)) {
                return Poll::Ready(signal);
            }
        }
        Poll::Pending
    }
}

#[cfg(windows)]
#[derive(Debug)]
struct Listening {
    ctrl_c: Option<tokio::signal::windows::CtrlC>,
}

#[cfg(windows)]
impl Listening {
    fn new() -> Self {
        Self {
            ctrl_c: tokio::signal::windows::ctrl_c().ok(),
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Signal> {
        match self.ctrl_c.as_mut().map(|it| it.poll_recv(cx)) {
            Some(Poll::Ready(Some(()))) => Poll::Ready(Signal::Interrupt),
            _ => Poll::Pending,
        }
    }
}

/// Elsewhere there are no signals.
#[cfg(not(any(unix, windows)))]
#[derive(Debug)]
struct Listening;

#[cfg(not(any(unix, windows)))]
impl Listening {
    fn new() -> Self {
        Self
    }

    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Signal> {
        Poll::Pending
    }
}
