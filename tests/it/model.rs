//! Random operations, against a plain model of what a drain is.

use proptest::collection::vec;
use proptest::prelude::*;
use tokio_test::task::{self, Spawn};
use tower_drain::{Drain, Permit, Phase, Reached};

#[derive(Clone, Debug)]
enum Action {
    Enter,
    /// Of the permit at this place, if there is any.
    Clone(usize),
    Leave(usize),
    LeaveElsewhere(usize),
    LameDuck,
    Resume,
    Start,
    Wait(Phase),
    StopWaiting(usize),
    CloneHandle,
}

fn action() -> impl Strategy<Value = Action> {
    let phase = prop_oneof![
        Just(Phase::Serving),
        Just(Phase::LameDuck),
        Just(Phase::Draining),
        Just(Phase::Drained),
    ];
    prop_oneof![
        8 => Just(Action::Enter),
        3 => any::<usize>().prop_map(Action::Clone),
        8 => any::<usize>().prop_map(Action::Leave),
        1 => any::<usize>().prop_map(Action::LeaveElsewhere),
        1 => Just(Action::LameDuck),
        1 => Just(Action::Resume),
        1 => Just(Action::Start),
        3 => phase.prop_map(Action::Wait),
        1 => any::<usize>().prop_map(Action::StopWaiting),
        1 => Just(Action::CloneHandle),
    ]
}

/// The plain model: no shards, no atomics, no waking.
#[derive(Default)]
struct Model {
    duck: bool,
    closed: bool,
    inside: usize,
    refused: u64,
}

impl Model {
    fn phase(&self) -> Phase {
        match (self.closed, self.duck, self.inside) {
            (true, _, 0) => Phase::Drained,
            (true, _, _) => Phase::Draining,
            (false, true, _) => Phase::LameDuck,
            (false, false, _) => Phase::Serving,
        }
    }
}

fn take<T>(from: &mut Vec<T>, place: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(place % from.len()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_drain_does_what_the_model_does(actions in vec(action(), 1..200)) {
        let mut model = Model::default();
        let mut drain = Drain::new();
        let mut permits: Vec<Permit> = Vec::new();
        let mut waits: Vec<(Phase, Spawn<Reached>)> = Vec::new();
        for action in actions {
            match action {
                Action::Enter => match drain.try_enter() {
                    Ok(permit) => {
                        prop_assert!(!model.closed);
                        permits.push(permit);
                        model.inside += 1;
                    }
                    Err(_) => {
                        prop_assert!(model.closed);
                        model.refused += 1;
                    }
                },
                Action::Clone(place) => {
                    if let Some(permit) = permits.get(place % permits.len().max(1)) {
                        permits.push(permit.clone());
                        model.inside += 1;
                    }
                }
                Action::Leave(place) => model.inside -= usize::from(take(&mut permits, place).is_some()),
                Action::LeaveElsewhere(place) => {
                    if let Some(permit) = take(&mut permits, place) {
                        std::thread::spawn(move || drop(permit)).join().unwrap();
                        model.inside -= 1;
                    }
                }
                Action::LameDuck => {
                    prop_assert_eq!(drain.lame_duck(), model.phase() == Phase::Serving);
                    model.duck |= !model.closed;
                }
                Action::Resume => {
                    prop_assert_eq!(drain.resume(), model.phase() == Phase::LameDuck);
                    model.duck &= model.closed;
                }
                Action::Start => {
                    prop_assert_eq!(drain.start(), !model.closed);
                    model.closed = true;
                }
                Action::Wait(phase) => {
                    let mut wait = task::spawn(drain.reached(phase));
                    let ready = wait.poll().is_ready();
                    prop_assert_eq!(ready, model.phase() >= phase);
                    if !ready {
                        waits.push((phase, wait));
                    }
                }
                Action::StopWaiting(place) => drop(take(&mut waits, place)),
                Action::CloneHandle => drain = drain.clone(),
            }
            prop_assert_eq!(drain.phase(), model.phase());
            prop_assert_eq!(drain.in_flight(), model.inside);
            prop_assert_eq!(drain.refused(), model.refused);
            for (phase, wait) in &mut waits {
                // Polled only if woken, as a runtime would.
                let ready = wait.is_woken() && wait.poll().is_ready();
                prop_assert_eq!(ready, model.phase() >= *phase, "{:?} in {:?}", phase, model.phase());
            }
            waits.retain(|(phase, _)| model.phase() < *phase);
        }
    }
}
