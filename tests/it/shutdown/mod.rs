//! The shutdown sequence, step by step on a paused clock, with servers that a test ends by hand.

mod expiry;
mod flush;
mod force;
mod lame_duck;
mod misuse;
#[cfg(unix)]
mod port;
mod sequence;
mod server;

use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, advance};
use tokio_test::assert_pending;
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service};
use tower_drain::{Drain, Reached, ResponseBody, ShutdownError, ShutdownReport, Signal};

use crate::support::{Body, get};

const SECOND: Duration = Duration::from_secs(1);

type Outcome = Result<ShutdownReport, ShutdownError>;
type EndServer = oneshot::Sender<io::Result<()>>;
type SendSignal = oneshot::Sender<Signal>;

/// A server that ends when the test says so, with the test's result.
fn server() -> (impl Future<Output = io::Result<()>>, EndServer) {
    let (end, ended) = oneshot::channel();
    (async { ended.await.unwrap() }, end)
}

/// A signal that the test sends.
fn signal() -> (impl Future<Output = Signal>, SendSignal) {
    let (send, sent) = oneshot::channel();
    (async { sent.await.unwrap() }, send)
}

/// A server without connections: it ends when it is asked to close.
async fn idle(closing: Reached) -> io::Result<()> {
    closing.await;
    Ok(())
}

/// A server that ends once nothing is in flight.
async fn until_drained(drain: Drain) -> io::Result<()> {
    drain.drained().await;
    Ok(())
}

/// A server that ignores `closing`.
async fn endless() -> io::Result<()> {
    pending().await
}

/// Lets time pass until `run` ends, in steps that skip no timer, and returns how much has passed.
async fn time_to_end<F: Future<Output: std::fmt::Debug>>(run: &mut Spawn<F>) -> Duration {
    let start = Instant::now();
    while run.poll().is_pending() {
        assert!(start.elapsed() < 100 * SECOND, "it never ends");
        advance(SECOND / 10).await;
    }
    start.elapsed()
}

/// A tracked request whose handler never responds.
fn stuck(
    drain: &Drain,
) -> Spawn<impl Future<Output = Result<http::Response<ResponseBody<Body>>, ()>> + use<>> {
    let inner = tower::service_fn(|_| pending::<Result<http::Response<Body>, ()>>());
    let mut service = drain.layer().track_requests().layer(inner);
    let mut response = task::spawn(service.call(get("/stuck")));
    assert_pending!(response.poll());
    response
}
