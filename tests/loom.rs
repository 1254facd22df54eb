//! Model checks of the gate's counting core, by every interleaving that loom can tell apart.
//!
//! The file under test is the library's own `src/gate/raw.rs`, compiled here against loom's atomics
//! in place of std's; so this is an ordinary test binary, without a `--cfg`.

#![allow(dead_code, missing_docs)]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../src/gate/raw.rs"]
mod raw;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use raw::{Generation, Outcome, RawGate};

fn open(shards: usize) -> (Arc<RawGate>, Generation) {
    let gate = RawGate::new(shards);
    let generation = gate.open().expect("the first generation");
    (Arc::new(gate), generation)
}

/// Leaves, and counts the shard off if that is owed; true if that made the gate idle.
fn leave(gate: &RawGate, shard: usize) -> bool {
    gate.shard(shard).leave() && gate.count_off() == Outcome::Idle
}

#[test]
fn whoever_enters_against_a_close_is_refused_or_waited_for() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(1).enter(generation);
            // Inside: the gate cannot be idle, whatever the closer has done.
            assert!(!entered || !other.status().is_idle());
            entered
        });
        let in_flight = gate.close();
        assert!(
            !gate.shard(0).enter(generation),
            "entered after close had returned"
        );
        assert!(
            !gate.shard(1).enter(generation),
            "entered after close had returned"
        );
        let entered = enterer.join().unwrap();
        assert_eq!(in_flight, usize::from(entered));
        assert_eq!(gate.status().is_idle(), !entered);
        if entered {
            assert!(leave(&gate, 1), "the last to leave announces");
        }
        assert!(gate.status().is_idle());
    });
}

#[test]
fn whoever_enters_under_notice_is_told_and_no_less_bound_by_a_close() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(1).enter(generation);
            entered || other.shard(1).enter_noticed(generation).is_some()
        });
        gate.set_notice(true);
        assert!(!gate.shard(0).enter(generation), "not told");
        assert_eq!(gate.shard(0).enter_noticed(generation), Some(true));
        assert!(!leave(&gate, 0), "idle though nobody has closed it");
        let in_flight = gate.close();
        assert_eq!(gate.shard(1).enter_noticed(generation), None);
        let entered = enterer.join().unwrap();
        assert_eq!(in_flight, usize::from(entered));
        assert_eq!(gate.status().is_idle(), !entered);
        assert_eq!(entered, entered && leave(&gate, 1));
    });
}

#[test]
fn a_notice_taken_back_leaves_no_trace() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(0).enter(generation)
                || other.shard(0).enter_noticed(generation).is_some();
            assert!(entered, "refused by an open gate");
        });
        gate.set_notice(true);
        gate.set_notice(false);
        assert!(gate.shard(0).enter(generation));
        enterer.join().unwrap();
        assert_eq!(gate.in_flight(), 2);
    });
}

#[test]
fn the_last_leave_against_a_close_is_announced_by_one_of_them() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(0).enter(generation));
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        gate.close();
        // The closer always wakes those who wait; the leaver must if the closer came first.
        let idle_at_close = gate.status().is_idle();
        let announced = leaver.join().unwrap();
        assert!(gate.status().is_idle());
        assert!(idle_at_close || announced);
    });
}

#[test]
fn two_last_leaves_on_two_shards_are_announced_once() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(0).enter(generation));
        assert!(gate.shard(1).enter(generation));
        assert_eq!(gate.close(), 2);
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        let mine = leave(&gate, 1);
        let theirs = leaver.join().unwrap();
        assert!(mine ^ theirs, "announced by both or by none");
        assert!(gate.status().is_idle());
    });
}

#[test]
fn a_clone_against_the_last_leave_keeps_the_gate_busy() {
    loom::model(|| {
        let (gate, generation) = open(1);
        assert!(gate.shard(0).enter(generation));
        // Two are inside; one clones itself while the other leaves and the gate closes.
        gate.shard(0).enter_again();
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        gate.close();
        gate.shard(0).enter_again();
        let first = leave(&gate, 0);
        let theirs = leaver.join().unwrap();
        assert!(!first && !theirs, "idle while the clone was inside");
        assert!(!gate.status().is_idle());
        assert!(leave(&gate, 0));
        assert_eq!(gate.in_flight(), 0);
    });
}

#[test]
fn two_closers_share_the_work_and_both_find_it_done() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(1).enter(generation));
        let other = gate.clone();
        let closer = thread::spawn(move || {
            let counted = other.close();
            assert!(other.status().is_closed());
            assert!(!other.shard(0).enter(generation));
            counted
        });
        let mine = gate.close();
        assert!(gate.status().is_closed());
        assert!(!gate.shard(1).enter(generation));
        assert_eq!(
            mine + closer.join().unwrap(),
            1,
            "counted twice or not at all"
        );
        assert!(!gate.status().is_idle());
        assert!(leave(&gate, 1));
        assert!(gate.status().is_idle());
    });
}

#[test]
fn notice_against_a_close_never_reopens() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let duck = thread::spawn(move || {
            other.set_notice(true);
            other.set_notice(false);
        });
        gate.close();
        assert!(gate.status().is_closed() && gate.status().is_idle());
        duck.join().unwrap();
        assert!(gate.status().is_closed() && gate.status().is_idle());
        assert!(!gate.shard(0).enter(generation));
    });
}

#[test]
fn the_last_leave_and_the_last_handle_retire_the_gate_once() {
    loom::model(|| {
        let (gate, generation) = open(1);
        assert!(gate.shard(0).enter(generation));
        gate.close();
        let other = gate.clone();
        let leaver = thread::spawn(move || {
            assert!(other.shard(0).leave());
            other.count_off()
        });
        let mine = gate.detach();
        let theirs = leaver.join().unwrap();
        let retired = [mine, theirs]
            .iter()
            .filter(|&&it| it == Outcome::Retired)
            .count();
        assert_eq!(retired, 1, "{mine:?} {theirs:?}");
    });
}

#[test]
fn a_service_left_over_from_the_last_generation_never_enters_the_next() {
    loom::model(|| {
        let (gate, old) = open(1);
        gate.close();
        assert_eq!(gate.detach(), Outcome::Retired);
        let other = gate.clone();
        let stale = thread::spawn(move || {
            let entered = other.shard(0).enter(old);
            other.shard(0).refuse(old);
            entered
        });
        let new = gate.open().expect("a next generation");
        assert!(gate.shard(0).enter(new));
        assert!(!stale.join().unwrap());
        assert_eq!((gate.in_flight(), gate.refused()), (1, 0));
    });
}

#[test]
fn what_was_done_inside_is_seen_by_whoever_sees_the_gate_idle() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let work = Arc::new((UnsafeCell::new(0), UnsafeCell::new(0)));
        assert!(gate.shard(0).enter(generation));
        assert!(gate.shard(1).enter(generation));
        let (gate2, work2) = (gate.clone(), work.clone());
        let leaver = thread::spawn(move || {
            work2.0.with_mut(touch);
            leave(&gate2, 0);
        });
        work.1.with_mut(touch);
        leave(&gate, 1);
        gate.close();
        if gate.status().is_idle() {
            // loom fails here if anything could still be written at the same time.
            work.0.with(touch);
            work.1.with(touch);
        }
        leaver.join().unwrap();
    });
}

/// loom checks that a cell may be reached; what is in it does not matter, so nothing is read.
fn touch<T>(_: T) {}
