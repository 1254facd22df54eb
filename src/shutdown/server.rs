//! Polls a server while the sequence waits.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::drain::{BoxError, Drain};
use crate::gate::lock;

/// Output of a server: `Result<(), E>` for any error, or `()`.
///
/// Cannot be implemented outside this crate.
#[diagnostic::on_unimplemented(
    message = "a server ends with `Result<(), E>` or `()`, not with `{Self}`",
    label = "the output of the server",
    note = "for several servers: `run(async |closing| {{ tokio::try_join!(one, other).map(|_| ()) }})`",
    note = "for a server that returns a value: `.map(|_| ())`, or `.await` it in an `async` block",
    note = "`E` is any error that is `Send` and `Sync`, or a `String`; map another error to a `String` first"
)]
pub trait ServerOutput: sealed::Sealed {}

impl ServerOutput for () {}
impl<E: Into<BoxError>> ServerOutput for Result<(), E> {}

mod sealed {
    use crate::drain::BoxError;

    pub trait Sealed {
        fn into_result(self) -> Result<(), BoxError>;
    }

    impl Sealed for () {
        fn into_result(self) -> Result<(), BoxError> {
            Ok(())
        }
    }

    impl<E: Into<BoxError>> Sealed for Result<(), E> {
        fn into_result(self) -> Result<(), BoxError> {
            self.map_err(Into::into)
        }
    }
}

/// Waits until the server and its watched connections have ended. An accept loop may return before them.
pub(super) async fn serve<S>(server: S, drain: &Drain, end: &ServerEnd)
where
    S: Future<Output: ServerOutput>,
{
    if let Err(error) = sealed::Sealed::into_result(server.await) {
        event!(error, "server failed: {error}");
        *lock(&end.error) = Some(error);
    }
    if drain.open_connections() > 0 {
        drain.begin_closing();
        drain.no_connection_open().await;
    }
}

pin_project! {
    /// A server. It may end in any stage of the sequence.
    pub(super) struct Server<'a, S> {
        #[pin]
        future: Option<S>,
        // Shared with the conditions that wait for it.
        end: &'a ServerEnd,
    }
}

/// When a server ended, and its error.
#[derive(Default)]
pub(super) struct ServerEnd {
    at: OnceLock<Instant>,
    error: Mutex<Option<BoxError>>,
}

impl ServerEnd {
    pub(super) fn get(&self) -> Option<Instant> {
        self.at.get().copied()
    }

    /// Resolves when the server has ended. Only for conditions of [`Server::serve_until`], which polls them
    /// again after the server. Nothing else wakes this.
    pub(super) async fn reached(&self) {
        poll_fn(|_| self.get().map_or(Poll::Pending, |_| Poll::Ready(()))).await;
    }

    /// Returns the error of a server that has failed.
    pub(super) fn take_error(&self) -> Option<BoxError> {
        lock(&self.error).take()
    }
}

impl<'a, S: Future<Output = ()>> Server<'a, S> {
    pub(super) fn new(future: S, end: &'a ServerEnd) -> Self {
        Self {
            future: Some(future),
            end,
        }
    }

    /// Runs the server until `condition` resolves.
    ///
    /// The condition is polled before the server, because the server may use up the task's budget in each
    /// poll, and again after it. The server is polled at least once.
    pub(super) async fn serve_until<C: Future>(
        mut self: Pin<&mut Self>,
        condition: C,
    ) -> C::Output {
        let mut condition = pin!(condition);
        poll_fn(|cx| {
            let reached = condition.as_mut().poll(cx);
            self.as_mut().poll_server(cx);
            if reached.is_ready() {
                reached
            } else {
                condition.as_mut().poll(cx)
            }
        })
        .await
    }

    fn poll_server(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let Some(server) = this.future.as_mut().as_pin_mut() else {
            return;
        };
        if server.poll(cx).is_ready() {
            this.future.set(None);
            this.end.at.get_or_init(Instant::now);
        }
    }
}
