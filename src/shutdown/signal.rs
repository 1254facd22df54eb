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
    /// SIGTERM, sent by systemd, Kubernetes and `kill`.
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

    /// Listens for SIGINT and SIGTERM, or for Ctrl-C on Windows.
    ///
    /// The returned future resolves with the next signal that arrives after this call. Any number of
    /// futures may listen; each gets the signal. From this call on, these signals no longer end the process
    /// by themselves, even when the future has been dropped. A signal that cannot be listened for keeps its
    /// default action.
    ///
    /// # Panics
    ///
    /// Panics if it is called outside a tokio runtime with I/O enabled.
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
        /// When this was first polled, which is when the shutdown starts.
        since: Option<Instant>,
    }

    impl ForceSignal {
        pub(crate) fn new() -> Self {
            Self {
                interrupt: Listener::interrupt(),
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

    /// Listens for one kind of signal, if that is possible.
    #[derive(Debug)]
    struct Listener(Option<imp::Signal>);

    impl Listener {
        /// Stays pending if the signal cannot be listened for.
        fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            match self.0.as_mut().map(|signal| signal.poll_recv(cx)) {
                Some(Poll::Ready(Some(()))) => Poll::Ready(()),
                _ => Poll::Pending,
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
                Self(signal(SignalKind::interrupt()).ok())
            }

            pub(super) fn terminate() -> Self {
                Self(signal(SignalKind::terminate()).ok())
            }
        }
    }

    #[cfg(windows)]
    mod imp {
        pub(super) use tokio::signal::windows::CtrlC as Signal;
        use tokio::signal::windows::ctrl_c;

        use super::Listener;

        impl Listener {
            pub(super) fn interrupt() -> Self {
                Self(ctrl_c().ok())
            }

            /// Windows has no SIGTERM.
            pub(super) fn terminate() -> Self {
                Self(None)
            }
        }
    }

    /// Other systems have no signals.
    #[cfg(not(any(unix, windows)))]
    mod imp {
        use std::task::{Context, Poll};

        use super::Listener;

        #[derive(Debug)]
        pub(super) struct Signal;

        impl Signal {
            pub(super) fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Option<()>> {
                Poll::Pending
            }
        }

        impl Listener {
            pub(super) fn interrupt() -> Self {
                Self(None)
            }

            pub(super) fn terminate() -> Self {
                Self(None)
            }
        }
    }
}
