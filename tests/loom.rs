//! Model checks of the gate's counting core: every interleaving that loom can distinguish.
//!
//! The code under test is the library's own `src/gate/word.rs`, compiled here with loom's atomics instead
//! of std's. So this is an ordinary test binary, without a `--cfg`.

#![allow(dead_code, missing_docs, unreachable_pub)]

mod sync {
    pub(crate) use loom::model;
    pub(crate) use loom::sync::atomic::{AtomicU64, Ordering};
}

#[path = "../src/gate/word.rs"]
mod word;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use word::{GateWord, Generation, Phase, Refused, Shard};

/// A gate, built as in the library. The lock of its history is loom's.
struct Gate {
    shards: Vec<Shard<()>>,
    word: GateWord,
    history: Mutex<()>,
}

fn open(shards: usize) -> (Arc<Gate>, Generation) {
    let gate = Gate {
        shards: (0..shards).map(|_| Shard::new(())).collect(),
        word: GateWord::new(),
        history: Mutex::new(()),
    };
    let generation = gate.word.open(&gate.shards).expect("the first generation");
    (Arc::new(gate), generation)
}

impl Gate {
    fn shard(&self, index: usize) -> &Shard<()> {
        &self.shards[index]
    }

    fn set_phase(&self, phase: Phase) {
        let _history = self.history.lock().unwrap();
        self.word.set_phase(&self.shards, phase);
    }

    fn start_draining(&self) -> usize {
        let _history = self.history.lock().unwrap();
        self.word.start_draining(&self.shards)
    }

    fn in_flight(&self) -> usize {
        word::in_flight(&self.shards)
    }
}

/// Leaves. Returns true if that drained the gate.
fn leave(gate: &Gate, shard: usize) -> bool {
    gate.shard(shard).leave() && gate.word.shard_became_idle()
}

#[test]
fn a_request_that_enters_when_draining_starts_is_refused_or_waited_for() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(1).enter(generation).is_some();
            // While a count is held, the gate is not drained.
            assert!(!entered || other.word.phase(generation) < Phase::Drained);
            entered
        });
        let in_flight = gate.start_draining();
        for shard in &gate.shards {
            let entered = shard.enter(generation);
            assert_eq!(entered, None, "entered after draining has started");
        }
        let entered = enterer.join().unwrap();
        assert_eq!(in_flight, usize::from(entered));
        let drained = gate.word.phase(generation) == Phase::Drained;
        assert_eq!(drained, !entered);
        if entered {
            assert!(leave(&gate, 1), "the last to leave drains the gate");
        }
        assert_eq!(gate.word.phase(generation), Phase::Drained);
    });
}

#[test]
fn a_request_after_a_change_of_phase_notices_it() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let other = gate.clone();
        let enterer = thread::spawn(move || other.shard(1).enter(generation));
        gate.set_phase(Phase::LameDuck);
        assert_eq!(gate.shard(0).enter(generation), Some(Phase::LameDuck));
        assert_eq!(gate.word.phase(generation), Phase::LameDuck);
        assert!(!leave(&gate, 0), "drained although not draining");
        gate.set_phase(Phase::Closing);
        assert_eq!(gate.shard(0).enter(generation), Some(Phase::Closing));
        assert_eq!(gate.word.phase(generation), Phase::Closing);
        assert!(!leave(&gate, 0));
        assert!(enterer.join().unwrap() <= Some(Phase::Closing));
        assert_eq!(gate.in_flight(), 1);
    });
}

#[test]
fn a_request_that_was_admitted_in_a_phase_reads_it_from_the_gate() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let admitted = other.shard(0).enter(generation).expect("an open gate");
            assert!(other.word.phase(generation) >= admitted);
        });
        gate.set_phase(Phase::LameDuck);
        enterer.join().unwrap();
    });
}

#[test]
fn a_lame_duck_that_is_left_has_no_effect() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let other = gate.clone();
        let enterer = thread::spawn(move || {
            let entered = other.shard(0).enter(generation);
            assert!(entered.is_some(), "refused by an open gate");
        });
        gate.set_phase(Phase::LameDuck);
        gate.set_phase(Phase::Serving);
        assert_eq!(gate.shard(0).enter(generation), Some(Phase::Serving));
        enterer.join().unwrap();
        assert_eq!(gate.in_flight(), 2);
    });
}

#[test]
fn the_last_leave_when_draining_starts_is_noticed_by_one_of_them() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(0).enter(generation).is_some());
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        gate.start_draining();
        // This thread always wakes the waiters. The leaver must if this thread was first.
        let drained = gate.word.phase(generation) == Phase::Drained;
        let made_idle = leaver.join().unwrap();
        assert_eq!(gate.word.phase(generation), Phase::Drained);
        assert!(drained || made_idle);
    });
}

#[test]
fn two_last_leaves_on_two_shards_drain_the_gate_once() {
    loom::model(|| {
        let (gate, generation) = open(2);
        assert!(gate.shard(0).enter(generation).is_some());
        assert!(gate.shard(1).enter(generation).is_some());
        assert_eq!(gate.start_draining(), 2);
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        let mine = leave(&gate, 1);
        let theirs = leaver.join().unwrap();
        assert!(mine ^ theirs, "both or neither");
        assert_eq!(gate.word.phase(generation), Phase::Drained);
    });
}

#[test]
fn a_clone_during_the_last_leave_keeps_the_gate_busy() {
    loom::model(|| {
        let (gate, generation) = open(1);
        assert!(gate.shard(0).enter(generation).is_some());
        // Two counts: one is cloned while the other is released and draining starts.
        gate.shard(0).enter_again();
        let other = gate.clone();
        let leaver = thread::spawn(move || leave(&other, 0));
        gate.start_draining();
        gate.shard(0).enter_again();
        let first = leave(&gate, 0);
        let theirs = leaver.join().unwrap();
        assert!(!first && !theirs, "drained while the clone was held");
        assert_eq!(gate.word.phase(generation), Phase::Draining);
        assert!(leave(&gate, 0));
        assert_eq!(gate.in_flight(), 0);
    });
}

#[test]
fn the_generation_of_a_request_that_is_refused_late_counts() {
    loom::model(|| {
        let (gate, generation) = open(1);
        let refused = Arc::new(Refused::default());
        refused.open(generation);
        let other = refused.clone();
        let refuser = thread::spawn(move || other.add(generation));
        refused.add(generation);
        refuser.join().unwrap();
        assert_eq!(refused.get(), 2);
        gate.start_draining();
        let new = gate.word.open(&gate.shards).expect("a next generation");
        let other = refused.clone();
        let stale = thread::spawn(move || other.add(generation));
        refused.open(new);
        stale.join().unwrap();
        assert_eq!(refused.get(), 0);
    });
}

#[test]
fn a_service_of_the_last_generation_never_enters_the_next() {
    loom::model(|| {
        let (gate, old) = open(1);
        gate.start_draining();
        assert_eq!(gate.word.phase(old), Phase::Drained);
        let other = gate.clone();
        let stale = thread::spawn(move || {
            // Drained for good, whatever the next generation does.
            assert_eq!(other.word.phase(old), Phase::Drained);
            other.shard(0).enter(old)
        });
        let new = gate.word.open(&gate.shards).expect("a next generation");
        assert!(gate.word.is_of(new) && !gate.word.is_of(old));
        assert_eq!(gate.shard(0).enter(new), Some(Phase::Serving));
        assert_eq!(stale.join().unwrap(), None);
        assert_eq!(gate.in_flight(), 1);
    });
}

#[test]
fn a_thread_that_sees_the_gate_drained_sees_the_work_under_its_counts() {
    loom::model(|| {
        let (gate, generation) = open(2);
        let work = Arc::new((UnsafeCell::new(0), UnsafeCell::new(0)));
        assert!(gate.shard(0).enter(generation).is_some());
        assert!(gate.shard(1).enter(generation).is_some());
        let (gate2, work2) = (gate.clone(), work.clone());
        let leaver = thread::spawn(move || {
            work2.0.with_mut(touch);
            leave(&gate2, 0);
        });
        work.1.with_mut(touch);
        leave(&gate, 1);
        gate.start_draining();
        if gate.word.phase(generation) == Phase::Drained {
            // loom fails here if the work could still be going on.
            work.0.with(touch);
            work.1.with(touch);
        }
        leaver.join().unwrap();
    });
}

/// loom checks that a cell may be accessed. Its contents do not matter.
fn touch<T>(_: T) {}
