//! Random operations, compared with a plain model of a drain.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use http::{Request, Response};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio_test::task::{self, Spawn};
use tower::{Layer, Service};
use tower_drain::{Drain, DrainService, Permit, Phase, Reached};

use crate::support::{Body, get, hello};

#[derive(Clone, Debug)]
enum Action {
    Enter,
    /// Clones the permit at this place, if there is one.
    Clone(usize),
    Leave(usize),
    LeaveElsewhere(usize),
    /// A request arrives while the inner service is not ready.
    Arrive,
    /// The request at this place is served, or given up.
    Serve(usize),
    GiveUp(usize),
    LameDuck,
    Resume,
    Close,
    StartDraining,
    Wait(Phase),
    StopWaiting(usize),
    CloneHandle,
}

fn action() -> impl Strategy<Value = Action> {
    let phase = prop_oneof![
        Just(Phase::Serving),
        Just(Phase::LameDuck),
        Just(Phase::Closing),
        Just(Phase::Draining),
        Just(Phase::Drained),
    ];
    prop_oneof![
        8 => Just(Action::Enter),
        3 => any::<usize>().prop_map(Action::Clone),
        8 => any::<usize>().prop_map(Action::Leave),
        1 => any::<usize>().prop_map(Action::LeaveElsewhere),
        3 => Just(Action::Arrive),
        2 => any::<usize>().prop_map(Action::Serve),
        1 => any::<usize>().prop_map(Action::GiveUp),
        1 => Just(Action::LameDuck),
        1 => Just(Action::Resume),
        1 => Just(Action::Close),
        1 => Just(Action::StartDraining),
        3 => phase.prop_map(Action::Wait),
        1 => any::<usize>().prop_map(Action::StopWaiting),
        1 => Just(Action::CloneHandle),
    ]
}

/// The plain model: no shards, no atomics, no waking.
#[derive(Default)]
struct Model {
    lame_duck: bool,
    closing: bool,
    draining: bool,
    inside: usize,
    refused: u64,
}

impl Model {
    fn phase(&self) -> Phase {
        if self.draining {
            if self.inside == 0 {
                Phase::Drained
            } else {
                Phase::Draining
            }
        } else if self.closing {
            Phase::Closing
        } else if self.lame_duck {
            Phase::LameDuck
        } else {
            Phase::Serving
        }
    }
}

/// Ready when the test lets it be.
#[derive(Clone)]
struct Limited(Arc<AtomicBool>);

impl Service<Request<Body>> for Limited {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if self.0.load(Ordering::Relaxed) {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        std::future::ready(Ok(hello()))
    }
}

fn poll_ready(service: &mut DrainService<Limited>) -> Poll<Result<(), Infallible>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
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
        let ready = Arc::new(AtomicBool::new(false));
        let service = drain.layer().layer(Limited(ready.clone()));
        let mut arrived = Vec::new();
        for action in actions {
            match action {
                Action::Enter => match drain.try_acquire() {
                    Ok(permit) => {
                        prop_assert!(!model.draining);
                        permits.push(permit);
                        model.inside += 1;
                    }
                    Err(_) => {
                        prop_assert!(model.draining);
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
                Action::Arrive => {
                    let mut request = service.clone();
                    ready.store(false, Ordering::Relaxed);
                    let waits = poll_ready(&mut request).is_pending();
                    prop_assert_eq!(waits, !model.draining);
                    if waits {
                        arrived.push(request);
                        model.inside += 1;
                    } else {
                        let refused = request.call(get("/")).now_or_never().unwrap().unwrap();
                        prop_assert_eq!(refused.status(), 503);
                        model.refused += 1;
                    }
                }
                Action::Serve(place) => {
                    if let Some(mut request) = take(&mut arrived, place) {
                        ready.store(true, Ordering::Relaxed);
                        prop_assert!(poll_ready(&mut request).is_ready());
                        let served = request.call(get("/")).now_or_never().unwrap().unwrap();
                        prop_assert_eq!(served.status(), 200);
                        prop_assert_eq!(drain.in_flight(), model.inside);
                        model.inside -= 1;
                    }
                }
                Action::GiveUp(place) => model.inside -= usize::from(take(&mut arrived, place).is_some()),
                Action::LameDuck => {
                    let changes = model.phase() == Phase::Serving;
                    prop_assert_eq!(drain.lame_duck(), changes);
                    model.lame_duck |= changes;
                }
                Action::Resume => {
                    let changes = model.phase() == Phase::LameDuck;
                    prop_assert_eq!(drain.resume(), changes);
                    model.lame_duck &= !changes;
                }
                Action::Close => {
                    let changes = model.phase() < Phase::Closing;
                    prop_assert_eq!(drain.close(), changes);
                    model.closing |= changes;
                }
                Action::StartDraining => {
                    prop_assert_eq!(drain.start_draining(), !model.draining);
                    model.draining = true;
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
