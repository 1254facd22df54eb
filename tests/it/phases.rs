//! The phases, and which calls change them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::thread;

use tokio_test::{assert_pending, assert_ready, task};
use tower_drain::{Drain, Phase};

#[test]
fn a_new_drain_serves() {
    let drain = Drain::new();
    assert_eq!(drain.phase(), Phase::Serving);
    assert!(drain.is_ready());
    assert_eq!((drain.in_flight(), drain.refused()), (0, 0));
}

#[test]
fn the_phases_step_by_step() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    assert!(drain.lame_duck());
    assert_eq!(drain.phase(), Phase::LameDuck);
    assert!(!drain.is_ready());
    assert!(drain.close());
    assert_eq!(drain.phase(), Phase::Closing);
    assert!(drain.try_acquire().is_ok());
    assert!(drain.start_draining());
    assert_eq!(drain.phase(), Phase::Draining);
    drop(permit);
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn each_change_is_made_by_one_call() {
    let drain = Drain::new();
    assert!(!drain.resume());
    assert!(drain.lame_duck());
    assert!(!drain.lame_duck());
    assert!(drain.resume());
    assert_eq!(drain.phase(), Phase::Serving);
    assert!(drain.close());
    assert!(!drain.close());
    assert!(!drain.lame_duck());
    assert!(!drain.resume());
    assert!(drain.start_draining());
    assert!(!drain.start_draining());
    assert!(!drain.close());
}

#[test]
fn closing_follows_a_lame_duck_and_is_final() {
    let drain = Drain::new();
    drain.lame_duck();
    assert!(drain.close());
    assert!(!drain.resume());
    assert_eq!(drain.phase(), Phase::Closing);
}

#[test]
fn a_phase_that_is_skipped_is_reached_all_the_same() {
    let drain = Drain::new();
    let mut closing = task::spawn(drain.closing());
    assert_pending!(closing.poll());
    drain.start_draining();
    assert!(closing.is_woken());
    assert_ready!(closing.poll());
}

#[test]
fn a_clone_of_a_wait_is_independent() {
    let drain = Drain::new();
    let closing = drain.closing();
    let mut clone = task::spawn(closing.clone());
    let mut closing = task::spawn(closing);
    assert_pending!(closing.poll());
    assert_pending!(clone.poll());
    drop(closing);
    drain.close();
    assert!(clone.is_woken());
    assert_ready!(clone.poll());
}

#[test]
fn with_nothing_in_flight_draining_goes_straight_to_drained() {
    let drain = Drain::new();
    assert!(drain.start_draining());
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn draining_is_final() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    drain.start_draining();
    assert!(!drain.lame_duck());
    assert!(!drain.resume());
    assert_eq!(drain.phase(), Phase::Draining);
}

#[test]
fn a_lame_duck_serves() {
    let drain = Drain::new();
    drain.lame_duck();
    assert!(drain.try_acquire().is_ok());
}

#[test]
fn try_acquire_fails_from_draining_on_and_is_counted() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    drain.start_draining();
    let error = drain.try_acquire().unwrap_err();
    assert_eq!(
        error.to_string(),
        "draining has started, nothing new is admitted"
    );
    drop(permit);
    assert!(drain.try_acquire().is_err());
    assert_eq!((drain.in_flight(), drain.refused()), (0, 2));
}

#[test]
fn a_clone_of_a_permit_keeps_the_drain_waiting_too() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    drain.start_draining();
    let clone = permit.clone();
    assert_eq!(drain.in_flight(), 2);
    drop(permit);
    assert_eq!(drain.phase(), Phase::Draining);
    drop(clone);
    assert_eq!(drain.phase(), Phase::Drained);
}

#[test]
fn a_permit_may_leave_on_another_thread() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    drain.start_draining();
    std::thread::spawn(move || drop(permit)).join().unwrap();
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
}

#[test]
fn reached_resolves_at_its_phase_or_a_later_one() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut duck = task::spawn(drain.reached(Phase::LameDuck));
    let mut closing = task::spawn(drain.closing());
    let mut draining = task::spawn(drain.draining());
    let mut drained = task::spawn(drain.drained());
    assert_ready!(task::spawn(drain.reached(Phase::Serving)).poll());
    assert_pending!(duck.poll());
    assert_pending!(closing.poll());
    assert_pending!(draining.poll());
    assert_pending!(drained.poll());

    drain.lame_duck();
    assert!(duck.is_woken());
    assert_ready!(duck.poll());
    assert_pending!(closing.poll());

    drain.close();
    assert!(closing.is_woken());
    assert_ready!(closing.poll());
    assert_pending!(draining.poll());

    drain.start_draining();
    assert!(draining.is_woken());
    assert_ready!(draining.poll());
    assert_pending!(drained.poll());

    drop(permit);
    assert!(drained.is_woken());
    assert_ready!(drained.poll());
    assert_ready!(task::spawn(drain.draining()).poll(), "made after the fact");
}

#[test]
fn a_change_between_creation_and_first_poll_is_not_lost() {
    let drain = Drain::new();
    let mut draining = task::spawn(drain.draining());
    drain.start_draining();
    assert_ready!(draining.poll());
}

#[test]
fn dropped_waiters_do_not_consume_the_wake_up() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let mut waiters: Vec<_> = (0..100).map(|_| task::spawn(drain.drained())).collect();
    for waiter in &mut waiters {
        assert_pending!(waiter.poll());
    }
    drain.start_draining();
    let mut nth = 0;
    waiters.retain(|_| {
        nth += 1;
        nth % 2 == 0
    });
    drop(permit);
    for waiter in &mut waiters {
        assert!(waiter.is_woken());
        assert_ready!(waiter.poll());
    }
}

#[test]
fn debug_shows_the_state() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    drain.start_draining();
    assert_eq!(
        format!("{drain:?}"),
        "Drain { phase: Draining, in_flight: 1, refused: 0 }"
    );
}

/// A task whose waker panics.
struct Panics;

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        panic!("in a waker");
    }
}

#[test]
fn a_waker_that_panics_leaves_no_other_task_asleep() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let panics = Waker::from(Arc::new(Panics));
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
        while count.load(Ordering::Acquire) < turn {
            thread::yield_now();
        }
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
    let panics = Waker::from(Arc::new(Panics));
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
