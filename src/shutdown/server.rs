//! Polls a server beside what the sequence waits for.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::OnceLock;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::drain::BoxError;

/// Output of a server: `Result<(), E>` for any error, or `()`.
///
/// Cannot be implemented outside this crate.
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

pin_project! {
    /// A server that runs until it ends, which may be in any stage of the sequence.
    pub(super) struct Server<'a, S> {
        #[pin]
        future: Option<S>,
        result: Option<Result<(), BoxError>>,
        // Shared with the conditions that wait for it.
        ended: &'a ServerEnd,
    }
}

/// When a server has ended.
#[derive(Default)]
pub(super) struct ServerEnd(OnceLock<Instant>);

impl ServerEnd {
    pub(super) fn get(&self) -> Option<Instant> {
        self.0.get().copied()
    }

    /// Resolves when the server has ended. Only for conditions of [`Server::serve_until`], which polls them
    /// again after the server. Nothing else wakes this.
    pub(super) async fn reached(&self) {
        poll_fn(|_| self.get().map_or(Poll::Pending, |_| Poll::Ready(()))).await;
    }
}

impl<'a, S> Server<'a, S>
where
    S: Future<Output: ServerOutput>,
{
    pub(super) fn new(future: S, ended: &'a ServerEnd) -> Self {
        Self {
            future: Some(future),
            result: None,
            ended,
        }
    }

    /// Runs the server until `condition` resolves.
    ///
    /// The condition is polled before the server, which may use up the task's budget in each poll, and
    /// again after it. The server is polled at least once.
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
        if let Poll::Ready(output) = server.poll(cx) {
            this.future.set(None);
            *this.result = Some(sealed::Sealed::into_result(output));
            this.ended.0.get_or_init(Instant::now);
        }
    }

    /// Returns the error of a server that has failed.
    pub(super) fn take_error(self: Pin<&mut Self>) -> Option<BoxError> {
        self.project().result.take()?.err()
    }
}
