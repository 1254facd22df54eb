//! Who is woken by a change, whatever the wakers do.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use http::Request;
use tokio_test::{assert_pending, assert_ready, task};
use tower::limit::ConcurrencyLimit;
use tower::{Layer, ServiceExt};
use tower_drain::{Drain, Phase};

use crate::support::{Body, Hello, panicking_waker, spin_until};

#[test]
fn a_waker_that_panics_leaves_no_other_task_asleep() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let panics = panicking_waker();
    let mut first = drain.closing();
    let cx = &mut Context::from_waker(&panics);
    assert!(Pin::new(&mut first).poll(cx).is_pending());
    let mut others: Vec<_> = (0..100).map(|_| task::spawn(drain.closing())).collect();
    let mut drained = task::spawn(drain.drained());
    for other in &mut others {
        assert_pending!(other.poll());
    }
    assert_pending!(drained.poll());
    assert!(drain.close(), "a panic of another task goes no further");
    assert_eq!(drain.phase(), Phase::Closing);
    for other in &mut others {
        assert!(other.is_woken());
        assert_ready!(other.poll());
    }
    // Later changes wake as before.
    drain.start_draining();
    drop(permit);
    assert!(drained.is_woken());
    assert_ready!(drained.poll());
}

#[test]
fn a_change_wakes_those_whom_it_concerns() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut closing = task::spawn(drain.closing());
    let mut drained = task::spawn(drain.drained());
    assert_pending!(closing.poll());
    assert_pending!(drained.poll());
    drain.lame_duck();
    drain.record_failed_probe();
    assert!(!closing.is_woken() && !drained.is_woken());
    drain.close();
    assert!(closing.is_woken() && !drained.is_woken());
    drain.start_draining();
    drop(permit);
    assert!(drained.is_woken());
}

#[test]
fn a_wait_that_is_polled_with_another_waker_wakes_the_last_one() {
    let drain = Drain::new();
    let mut closing = drain.closing();
    let mut first = task::spawn(());
    first.enter(|cx, _| assert_pending!(Pin::new(&mut closing).poll(cx)));
    let mut second = task::spawn(closing);
    assert_pending!(second.poll());
    drain.close();
    assert!(!first.is_woken());
    assert!(second.is_woken());
}

/// Polls on this thread while another one makes the change, with varying delays between the two.
#[test]
fn a_change_during_the_first_poll_is_not_lost() {
    const TURNS: usize = 20_000;
    let drains: Vec<_> = (0..TURNS).map(|_| Drain::new()).collect();
    let (started, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wait_for = |count: &AtomicUsize, turn| {
        spin_until(|| count.load(Ordering::Acquire) >= turn);
    };
    let mut lost = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            for (turn, drain) in drains.iter().enumerate() {
                wait_for(&started, turn + 1);
                for _ in 0..turn % 16 {
                    std::hint::spin_loop();
                }
                drain.close();
                done.store(turn + 1, Ordering::Release);
            }
        });
        for (turn, drain) in drains.iter().enumerate() {
            let mut closing = task::spawn(drain.closing());
            started.store(turn + 1, Ordering::Release);
            let is_ready = closing.poll().is_ready();
            wait_for(&done, turn + 1);
            lost += usize::from(!is_ready && !closing.is_woken());
        }
    });
    assert_eq!(lost, 0);
}

/// Without that, the process would abort.
#[test]
fn a_permit_that_is_dropped_while_its_task_unwinds_may_wake_a_waker_that_panics() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let panics = panicking_waker();
    let mut drained = drain.drained();
    assert!(
        Pin::new(&mut drained)
            .poll(&mut Context::from_waker(&panics))
            .is_pending()
    );
    drain.start_draining();
    let handler = std::panic::AssertUnwindSafe(move || {
        let _permit = permit;
        panic!("in a handler");
    });
    std::panic::catch_unwind(handler).unwrap_err();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// Uses the drain when it is woken and when it is dropped, as any task may.
struct Uses(Drain);

impl Uses {
    fn all(&self) {
        self.0.status();
        self.0.connections();
        self.0.requests();
        self.0.record_failed_probe();
        let mut other = task::spawn(self.0.drained());
        let _ = other.poll();
    }
}

impl Wake for Uses {
    fn wake(self: Arc<Self>) {
        self.all();
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        self.all();
    }
}

/// On a separate thread, because a failure is a deadlock.
#[test]
fn a_waker_may_use_the_drain() {
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let drain = Drain::new();
        let permit = drain.try_acquire().unwrap();
        let (_client, io) = tokio::io::duplex(1);
        let never = hyper::service::service_fn(|_| {
            std::future::pending::<Result<http::Response<String>, std::io::Error>>()
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(hyper_util::rt::TokioIo::new(io), never);
        let mut connection = Box::pin(drain.watch(connection));
        let mut waits = [Phase::LameDuck, Phase::Closing, Phase::Drained]
            .map(|phase| Box::pin(drain.reached(phase)));
        // Each with a waker of its own, which replaces the one before.
        for _ in 0..2 {
            let waker = Waker::from(Arc::new(Uses(drain.clone())));
            let cx = &mut Context::from_waker(&waker);
            assert!(connection.as_mut().poll(cx).is_pending());
            for wait in &mut waits {
                assert!(wait.as_mut().poll(cx).is_pending());
            }
        }
        drain.lame_duck();
        drain.close();
        assert_eq!(drain.close_connections(), 1);
        drain.start_draining();
        drop(permit);
        drop((connection, waits));
        done.send(drain.phase()).unwrap();
    });
    let ended = is_done.recv_timeout(std::time::Duration::from_secs(60));
    assert_eq!(ended, Ok(Phase::Drained));
}

/// Polls on this thread while another one starts draining.
#[test]
fn draining_during_a_poll_wakes_or_refuses() {
    let mut lost = 0;
    let (started, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let wait_for = |count: &AtomicUsize, turn| {
        spin_until(|| count.load(Ordering::Acquire) >= turn);
    };
    let drains: Vec<_> = (0..20_000).map(|_| Drain::new()).collect();
    let saturated = ConcurrencyLimit::new(Hello, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for (turn, drain) in drains.iter().enumerate() {
                wait_for(&started, turn + 1);
                for _ in 0..turn % 16 {
                    std::hint::spin_loop();
                }
                drain.start_draining();
                done.store(turn + 1, Ordering::Release);
            }
        });
        for (turn, drain) in drains.iter().enumerate() {
            let mut service = drain.layer().layer(saturated.clone());
            if turn % 3 == 0 {
                service = service.clone();
            }
            let mut ready = task::spawn(ServiceExt::<Request<Body>>::ready(&mut service));
            started.store(turn + 1, Ordering::Release);
            let is_ready = ready.poll().is_ready();
            wait_for(&done, turn + 1);
            // A clone may have been counted before.
            lost += usize::from(!is_ready && !ready.is_woken() && drain.in_flight() == 0);
        }
    });
    assert_eq!(lost, 0);
}
