//! What a hundred thousand goodbyes cost: memory, the time to end all of them at once, and how long the runtime keeps other
//! tasks waiting while a shutdown says them. A table: `cargo bench --bench goodbye`.

use std::alloc::System;
use std::future::Future;
use std::hint::black_box;
use std::io;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;
use tower_drain::{Drain, Shutdown};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const GOODBYES: usize = 100_000;

fn row(what: &str, figure: impl std::fmt::Display) {
    println!("{what:<76} {figure:>8}");
}

/// Memory and time, without a runtime.
fn alone() {
    let drain = Drain::new();
    let mut goodbyes: Vec<_> = (0..GOODBYES).map(|_| drain.goodbye()).collect();
    let cx = &mut Context::from_waker(Waker::noop());
    let region = Region::new(ALLOCATOR);
    let start = Instant::now();
    for goodbye in &mut goodbyes {
        assert!(Pin::new(goodbye).poll(cx).is_pending());
    }
    let elapsed = start.elapsed();
    let change = region.change();
    let allocated = (change.bytes_allocated - change.bytes_deallocated) / GOODBYES;
    row("size of a goodbye, in bytes", size_of_val(&goodbyes[0]));
    row("allocated for each that waits, in bytes", allocated);
    row(
        "first poll of each",
        format!("{:?}", elapsed / GOODBYES as u32),
    );
    let start = Instant::now();
    drain.close();
    row(
        "close(), which wakes all of them",
        format!("{:.1?}", start.elapsed()),
    );
    black_box(goodbyes);
}

/// Returns the longest time between two ticks of a task that ticks each millisecond, until the shutdown has ended.
async fn longest_pause(lame_duck: Duration) -> Duration {
    let drain = Drain::new();
    for _ in 0..GOODBYES {
        let (goodbye, permit) = (drain.goodbye(), drain.try_acquire());
        tokio::spawn(async move {
            goodbye.await;
            drop(permit);
        });
    }
    // All of them wait.
    sleep(Duration::from_millis(500)).await;
    let shutdown = Shutdown::new(&drain, async {}).lame_duck(lame_duck);
    let run = shutdown.run(async |closing| closing.await);
    let mut run = tokio::spawn(run);
    let mut longest = Duration::ZERO;
    let mut last = Instant::now();
    loop {
        tokio::select! {
            biased;
            ended = &mut run => {
                ended.expect("it does not panic").expect("nothing is late");
                return longest;
            }
            () = sleep(Duration::from_millis(1)) => {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
        }
    }
}

/// The least of several runs: a pause of the machine's is not the runtime's.
fn least(runs: usize, runtime: impl Fn() -> io::Result<Runtime>, lame_duck: Duration) -> Duration {
    let runs = (0..runs).map(|_| {
        let runtime = runtime().expect("threads start");
        runtime.block_on(async {
            tokio::spawn(longest_pause(lame_duck))
                .await
                .expect("no panic")
        })
    });
    runs.min().expect("there are some")
}

fn main() {
    // Only whether it runs.
    let is_test = std::env::args().any(|arg| arg == "--test");
    let runs = if is_test { 1 } else { 3 };
    println!("{GOODBYES} goodbyes");
    alone();
    for (name, builder) in [
        ("one thread", Builder::new_current_thread as fn() -> Builder),
        ("two threads", Builder::new_multi_thread),
    ] {
        let runtime = || builder().worker_threads(2).enable_time().build();
        for (when, lame_duck) in [("a lame duck of 3 s", 3), ("no lame duck", 0)] {
            let pause = least(runs, runtime, Duration::from_secs(lame_duck));
            let what = format!("longest pause of a task that ticks each ms, {name}, {when}");
            row(&what, format!("{pause:.1?}"));
        }
    }
}
