//! Runs a measurement on several threads at the same time.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

/// The mean of what `run` measures on each of `threads` threads. It calls the closure that it gets when it is ready,
/// which waits for the others.
pub(crate) fn at_once(threads: usize, run: impl Fn(&dyn Fn()) -> Duration + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let run = || {
        run(&|| {
            barrier.wait();
        })
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(run)).collect();
        let own = run();
        let others = others
            .into_iter()
            .map(|other| other.join().expect("a bench thread panicked"));
        (own + others.sum::<Duration>()) / threads as u32
    })
}
