//! The cost that watching adds to a poll of a connection, in nanoseconds, on one thread and on two at once:
//! `cargo bench --bench connections`. Each thread polls its own idle HTTP/1 connection, as if a packet had
//! woken it, with the same waker each time. One drain watches all of them.

mod threads;

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::Body;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tower_drain::{BoxError, Drain};

use threads::at_once;

/// A client that sends nothing.
struct Idle;

impl Read for Idle {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl Write for Idle {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn hello(_: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Body::empty()))
}

fn connection() -> impl GracefulConnection<Error: Into<BoxError>> {
    http1::Builder::new().serve_connection(Idle, service_fn(hello))
}

/// Returns the time of so many polls of a connection.
fn poll<F: Future>(polls: u64, connect: impl Fn() -> F, wait_for_others: &dyn Fn()) -> Duration {
    let mut connection = pin!(connect());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(connection.as_mut().poll(cx).is_pending());
    wait_for_others();
    let start = Instant::now();
    for _ in 0..polls {
        let _ = black_box(connection.as_mut().poll(cx));
    }
    start.elapsed()
}

fn subject<F: Future>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    connect: impl Fn() -> F + Sync,
) {
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|polls| at_once(threads, |wait| poll(polls, &connect, wait)));
        });
    }
}

fn per_poll(c: &mut Criterion) {
    let mut group = c.benchmark_group("poll of a connection");
    let drain = Drain::new();
    let graceful = GracefulShutdown::new();
    subject(&mut group, "bare", connection);
    subject(&mut group, "watch", || drain.watch(connection()));
    subject(&mut group, "watch, spread_goodbye", || {
        drain.watch(connection()).spread_goodbye()
    });
    subject(&mut group, "GracefulShutdown", || {
        graceful.watch(connection())
    });
    group.finish();
}

criterion_group!(benches, per_poll);
criterion_main!(benches);
