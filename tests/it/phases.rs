//! The phases, and which calls change them.

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
