//! The signals that start a shutdown.

#[cfg(feature = "signal")]
pub use self::os::{ForceSignal, ShutdownSignal, shutdown};

/// The signal that asked the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// SIGINT, or Ctrl-C at a terminal. A [`Shutdown`](crate::Shutdown) skips the lame duck, because a person
    /// is waiting.
    Interrupt,
    /// SIGTERM, sent by systemd, Kubernetes and `kill`. On Windows: Ctrl-Break, the console is closed, the user logs
    /// off, the system shuts down.
    Terminate,
}

/// Converts `()` into [`Terminate`](Signal::Terminate), so that any `()` future can start a
/// [`Shutdown`](crate::Shutdown).
impl From<()> for Signal {
    fn from((): ()) -> Self {
        Self::Terminate
    }
}

#[cfg(feature = "signal")]
mod os {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Signal;

    /// A SIGINT within this time of the first signal is a second delivery, or the same key press.
    const SAME_SIGNAL: Duration = Duration::from_millis(100);

    /// Listens for SIGINT and SIGTERM. On Windows: for Ctrl-C, and for Ctrl-Break, close, logoff and shutdown.
    ///
    /// The returned future resolves with the next signal that arrives after this call. Any number of
    /// futures may listen; each gets the signal. From this call on, these signals no longer end the process
    /// by themselves, even when the future has been dropped. A signal that cannot be listened for keeps its
    /// default action.
    ///
    /// # Windows
    ///
    /// Ctrl-C is [`Signal::Interrupt`], the others are [`Signal::Terminate`]. Nothing is heard of `taskkill /F`, which ends
    /// the process at once.
    ///
    /// - Ctrl-Break has no time limit. Another program can send it, with `GenerateConsoleCtrlEvent`, to a process group.
    ///   Once all futures of this function, and each [`Shutdown::on_signal`](crate::Shutdown::on_signal), are gone, it
    ///   ends the process again.
    /// - When the console is closed, Windows ends the process after 5 seconds (by default), whatever it is doing. So
    ///   `lame_duck` and `timeout` must fit into that time together.
    /// - Logoff and shutdown reach only services. A service is asked to stop by the service manager, not by a signal:
    ///   [a recipe](crate::recipes::process#a-windows-service) shows what to do.
    ///
    /// The times are from the documentation of `HandlerRoutine`.
    ///
    /// # Panics
    ///
    /// On Unix, panics if it is called outside a tokio runtime with I/O enabled. On Windows it needs no runtime.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tower_drain::{Signal, signal};
    ///
    /// # async fn example() {
    /// match signal::shutdown().await {
    ///     Signal::Interrupt => println!("SIGINT"),
    ///     _ => println!("SIGTERM"),
    /// }
    /// # }
    /// ```
    pub fn shutdown() -> ShutdownSignal {
        ShutdownSignal {
            interrupt: Listener::interrupt(),
            terminate: Listener::terminate(),
        }
    }

    /// Future returned by [`shutdown`].
    ///
    /// # Cancel safety
    ///
    /// This future is cancel safe. A signal that arrived before the drop is lost with it.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ShutdownSignal {
        interrupt: Listener,
        terminate: Listener,
    }

    /// Future that forces a [`Shutdown::on_signal`](crate::Shutdown::on_signal): a SIGINT at least 100 ms
    /// after the first signal.
    ///
    /// # Cancel safety
    ///
    /// This future is cancel safe.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct ForceSignal {
        interrupt: Listener,
        /// Windows ends the process at one that nothing listens for.
        _terminate: Listener,
        /// When this was first polled, which is when the shutdown starts.
        since: Option<Instant>,
    }

    impl ForceSignal {
        pub(crate) fn new() -> Self {
            Self {
                interrupt: Listener::interrupt(),
                _terminate: Listener::terminate(),
                since: None,
            }
        }
    }

    impl Future for ShutdownSignal {
        type Output = Signal;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
            if self.interrupt.poll_recv(cx).is_ready() {
                return Poll::Ready(Signal::Interrupt);
            }
            self.terminate.poll_recv(cx).map(|()| Signal::Terminate)
        }
    }

    impl Future for ForceSignal {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let since = *self.since.get_or_insert_with(Instant::now);
            while self.interrupt.poll_recv(cx).is_ready() {
                if since.elapsed() >= SAME_SIGNAL {
                    return Poll::Ready(());
                }
            }
            Poll::Pending
        }
    }

    /// Listens for the signals of one kind. Those that cannot be listened for are left out.
    #[derive(Debug)]
    struct Listener(Vec<imp::Signal>);

    impl Listener {
        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            let mut signals = self.0.iter_mut();
            if signals.any(|signal| signal.poll_recv(cx) == Poll::Ready(Some(()))) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }

    #[cfg(unix)]
    mod imp {
        pub(super) use tokio::signal::unix::Signal;
        use tokio::signal::unix::{SignalKind, signal};

        use super::Listener;

        impl Listener {
            pub(super) fn interrupt() -> Self {
                Self(signal(SignalKind::interrupt()).into_iter().collect())
            }

            pub(super) fn terminate() -> Self {
                Self(signal(SignalKind::terminate()).into_iter().collect())
            }
        }
    }

    #[cfg(windows)]
    mod imp {
        use std::task::{Context, Poll};

        use tokio::signal::windows::{
            CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close,
            ctrl_logoff, ctrl_shutdown,
        };

        use super::Listener;

        /// tokio has a type for each.
        #[derive(Debug)]
        pub(super) enum Signal {
            C(CtrlC),
            Break(CtrlBreak),
            Close(CtrlClose),
            Logoff(CtrlLogoff),
            Shutdown(CtrlShutdown),
        }

        impl Signal {
            pub(super) fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
                match self {
                    Self::C(signal) => signal.poll_recv(cx),
                    Self::Break(signal) => signal.poll_recv(cx),
                    Self::Close(signal) => signal.poll_recv(cx),
                    Self::Logoff(signal) => signal.poll_recv(cx),
                    Self::Shutdown(signal) => signal.poll_recv(cx),
                }
            }
        }

        impl Listener {
            pub(super) fn interrupt() -> Self {
                Self(ctrl_c().map(Signal::C).into_iter().collect())
            }

            pub(super) fn terminate() -> Self {
                let signals = [
                    ctrl_break().map(Signal::Break),
                    ctrl_close().map(Signal::Close),
                    ctrl_logoff().map(Signal::Logoff),
                    ctrl_shutdown().map(Signal::Shutdown),
                ];
                Self(signals.into_iter().flatten().collect())
            }
        }
    }

    /// Other systems have no signals.
    #[cfg(not(any(unix, windows)))]
    mod imp {
        use std::task::{Context, Poll};

        use super::Listener;

        #[derive(Debug)]
        pub(super) enum Signal {}

        impl Signal {
            pub(super) fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Option<()>> {
                match *self {}
            }
        }

        impl Listener {
            pub(super) fn interrupt() -> Self {
                Self(Vec::new())
            }

            pub(super) fn terminate() -> Self {
                Self(Vec::new())
            }
        }
    }
}
