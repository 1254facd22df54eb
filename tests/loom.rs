//! Model checks of the gate's counting core: every interleaving that loom can distinguish.
//!
//! The code under test is the library's own `src/gate/raw.rs`, compiled here with loom's atomics instead
//! of std's. So this is an ordinary test binary, without a `--cfg`.

#![allow(dead_code, missing_docs)]

mod sync {
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../src/gate/raw.rs"]
mod raw;

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use raw::{Entered, GateWord, Generation, Shard, State};

/// A gate, built as in the library.
struct Gate {
    shards: Vec<Shard<()>>,
    word: GateWord,
}

fn open(shards: usize) -> (Arc<Gate>, Generation) {
    let gate = Gate {
        shards: (0..shards).map(|_| Shard::new(())).collect(),
        word: GateWord::new(),
    };
    let generation = gate.word.open(&gate.shards).expect("the first generation");
    (Arc::new(gate), generation)
}

impl Gate {
    fn shard(&self, index: usize) -> &Shard<()> {
        &self.shards[index]
    }

    fn state(&self) -> State {
        self.word.state()
    }

    fn close(&self) -> usize {
        self.word.close(&self.shards)
    }

    fn set_lame_duck(&self, lame_duck: bool) -> bool {
        self.word.set_lame_duck(&self.shards, lame_duck)
    }

    fn start_closing(&self) -> bool {
        self.word.start_closing(&self.shards)
    }

    fn in_flight(&self) -> usize {
        raw::in_flight(&self.shards)
    }
}

/// Leaves. Returns true if that made the gate idle.
fn leave(gate: &Gate, shard: usize) -> bool {
    gate.shard(shard).leave() && gate.word.shard_became_idle()
}

#[test]
fn a_request_that_enters_during_a_close_is_refused_or_waited_for() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(1).enter(generation);
            // While a count is held, the gate is not idle, whatever the closer has done.
            assert!(!entered || !other.state().is_idle());
            entered
        });
        let in_flight = gate.close();
        for shard in &gate.shards {
            assert!(!shard.enter(generation), "entered after close had returned");
            assert_eq!(shard.enter_slow(generation), None);
        }
        let entered = enterer.join().unwrap();
        assert_eq!(in_flight, usize::from(entered));
        assert_eq!(gate.state().is_idle(), !entered);
        if entered {
            assert!(leave(&gate, 1), "the last to leave makes the gate idle");
        }
        assert!(gate.state().is_idle());
    });
}

#[test]
fn a_request_in_a_lame_duck_notices_it_and_is_bound_by_a_close() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(1).enter(generation);
            entered || other.shard(1).enter_slow(generation).is_some()
        });
        assert!(gate.set_lame_duck(true));
        assert!(!gate.shard(0).enter(generation), "unnoticed");
        assert_eq!(gate.shard(0).enter_slow(generation), Some(Entered::Leaving));
        assert!(gate.shard(0).is_leaving());
        assert!(!leave(&gate, 0), "idle although not closed");
        let in_flight = gate.close();
        assert_eq!(gate.shard(1).enter_slow(generation), None);
        let entered = enterer.join().unwrap();
        assert_eq!(in_flight, usize::from(entered));
        assert_eq!(gate.state().is_idle(), !entered);
        assert_eq!(entered, entered && leave(&gate, 1));
    });
}

#[test]
fn a_lame_duck_that_is_left_has_no_effect() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let shard = other.shard(0);
            let entered = shard.enter(generation) || shard.enter_slow(generation).is_some();
            assert!(entered, "refused by an open gate");
        });
        assert!(gate.set_lame_duck(true));
        assert!(gate.set_lame_duck(false));
        assert!(gate.shard(0).enter(generation));
        enterer.join().unwrap();
        assert_eq!(gate.in_flight(), 2);
    });
}

#[test]
fn a_lame_duck_is_left_or_committed_and_never_both() {
    loom::model(|| {
        let (gate, _) = open(1);
        assert!(gate.set_lame_duck(true));
        let other = gate.clone();
        let resume = thread::spawn(move || other.set_lame_duck(false));
        gate.word.commit();
        let lame_duck = gate.state().is_lame_duck();
        let resumed = resume.join().unwrap();
        assert_eq!(lame_duck, !resumed, "left after it was committed");
        assert_eq!(gate.state().is_lame_duck(), !resumed);
        assert!(!gate.set_lame_duck(false));
    });
}

#[test]
fn an_arrival_in_a_lame_duck_is_recorded_after_the_times_of_earlier_ones_are_cleared() {
    loom::model(|| {
        let (gate, generation) = open(1);
        gate.shard(0).record_arrival(5);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let shard = other.shard(0);
            if !shard.enter(generation) && shard.enter_slow(generation) == Some(Entered::Leaving) {
                shard.record_arrival(9);
                return true;
            }
            false
        });
        gate.set_lame_duck(true);
        let recorded = enterer.join().unwrap();
        assert_eq!(raw::last_arrival(&gate.shards), recorded.then_some(9));
    });
}

#[test]
fn closing_serves_until_the_gate_is_closed_and_is_started_once() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let closer = thread::spawn(move || {
            let started = other.start_closing();
            (started, other.close())
        });
        let entered =
            gate.shard(0).enter(generation) || gate.shard(0).enter_slow(generation).is_some();
        let started = gate.start_closing();
        let (theirs, in_flight) = closer.join().unwrap();
        assert!(!(started && theirs), "started twice");
        assert!(started || theirs, "started by neither");
        assert_eq!(in_flight, usize::from(entered));
        assert!(gate.state().is_closed());
    });
}

#[test]
fn the_last_leave_during_a_close_is_noticed_by_one_of_them() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(0).enter(generation));
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        gate.close();
        // The closer always wakes the waiters. The leaver must if the closer was first.
        let idle_at_close = gate.state().is_idle();
        let made_idle = leaver.join().unwrap();
        assert!(gate.state().is_idle());
        assert!(idle_at_close || made_idle);
    });
}

#[test]
fn two_last_leaves_on_two_shards_make_the_gate_idle_once() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(0).enter(generation));
        assert!(gate.shard(1).enter(generation));
        assert_eq!(gate.close(), 2);
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        let mine = leave(&gate, 1);
        let theirs = leaver.join().unwrap();
        assert!(mine ^ theirs, "both or neither");
        assert!(gate.state().is_idle());
    });
}

#[test]
fn a_clone_during_the_last_leave_keeps_the_gate_busy() {
    loom::model(|| {
        let (gate, generation) = open(1);
        assert!(gate.shard(0).enter(generation));
        // Two counts: one is cloned while the other is released and the gate is closed.
        gate.shard(0).enter_again();
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        gate.close();
        gate.shard(0).enter_again();
        let first = leave(&gate, 0);
        let theirs = leaver.join().unwrap();
        assert!(!first && !theirs, "idle while the clone was held");
        assert!(!gate.state().is_idle());
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
            assert!(other.state().is_closed());
            assert!(!other.shard(0).enter(generation));
            counted
        });
        let mine = gate.close();
        assert!(gate.state().is_closed());
        assert!(!gate.shard(1).enter(generation));
        assert_eq!(
            mine + closer.join().unwrap(),
            1,
            "counted twice or not at all"
        );
        assert!(!gate.state().is_idle());
        assert!(leave(&gate, 1));
        assert!(gate.state().is_idle());
    });
}

#[test]
fn a_lame_duck_during_a_close_never_reopens() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let lame_duck = thread::spawn(move || {
            other.set_lame_duck(true);
            other.set_lame_duck(false);
            other.start_closing();
        });
        gate.close();
        assert!(gate.state().is_closed() && gate.state().is_idle());
        lame_duck.join().unwrap();
        assert!(gate.state().is_closed() && gate.state().is_idle());
        assert!(!gate.shard(0).enter(generation));
        assert_eq!(gate.shard(0).enter_slow(generation), None);
    });
}

#[test]
fn a_service_of_the_last_generation_never_enters_the_next() {
    loom::model(|| {
        let (gate, old) = open(1);
        gate.close();
        assert!(gate.state().is_idle());
        let other = gate.clone();
        let stale = thread::spawn(move || {
            let shard = other.shard(0);
            let entered = shard.enter(old) || shard.enter_slow(old).is_some();
            shard.refuse(old);
            entered
        });
        let new = gate.word.open(&gate.shards).expect("a next generation");
        assert!(gate.state().is_of(new) && !gate.state().is_of(old));
        assert!(gate.shard(0).enter(new));
        assert!(!stale.join().unwrap());
        assert_eq!((gate.in_flight(), raw::refused(&gate.shards)), (1, 0));
    });
}

#[test]
fn a_thread_that_sees_the_gate_idle_sees_the_work_under_its_counts() {
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
        if gate.state().is_idle() {
            // loom fails here if the work could still be going on.
            work.0.with(touch);
            work.1.with(touch);
        }
        leaver.join().unwrap();
    });
}

/// loom checks that a cell may be accessed. Its contents do not matter.
fn touch<T>(_: T) {}
