//! The conditions that the sequence waits for are futures. These combine them.

use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

/// Waits for the first of two futures. Polls `a` first.
pub(super) async fn first<T>(a: impl Future<Output = T>, b: impl Future<Output = T>) -> T {
    let (mut a, mut b) = (pin!(a), pin!(b));
    poll_fn(|cx| match a.as_mut().poll(cx) {
        Poll::Pending => b.as_mut().poll(cx),
        ready => ready,
    })
    .await
}

/// Waits for `condition`, and meanwhile polls `aside`, which never ends.
pub(super) async fn beside<T>(
    aside: Pin<&mut impl Future<Output = Infallible>>,
    condition: impl Future<Output = T>,
) -> T {
    first(condition, async { match aside.await {} }).await
}

/// Polls a future once.
pub(super) async fn is_ready(mut future: Pin<&mut impl Future>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

/// Waits until `at`. `None` means forever.
pub(super) async fn reached(at: Option<Instant>) {
    match at {
        // Timers have a resolution of a millisecond. A time that has passed needs none.
        Some(at) if at <= Instant::now() => {}
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Returns the earlier of two times. `None` is never.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}
