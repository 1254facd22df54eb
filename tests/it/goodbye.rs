//! `goodbye`: long-lived work ends one by one, on a paused clock.

use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep};
use tokio_test::task::{self, Spawn};
use tokio_test::{assert_pending, assert_ready};
use tower_drain::{Drain, Goodbye, Phase, Reached, Shutdown, ShutdownReport, Signal};

use crate::support::panicking_waker;

const LAME_DUCK: Duration = Duration::from_secs(100);

/// Asserts that `times` lie between `from` and `to`, and that no tenth of that has more than a fifth of them.
#[track_caller]
pub(crate) fn assert_spread(times: &[Duration], from: Duration, to: Duration) {
    let tenth = (to - from) / 10;
    for n in 0..10 {
        let of_this =
            |time: &&Duration| (from + tenth * n..=from + tenth * (n + 1)).contains(*time);
        let count = times.iter().filter(of_this).count();
        assert!(count > 0, "none in the tenth {n}");
        assert!(count <= times.len() / 5, "{count} in the tenth {n}");
    }
    let (first, last) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    // A timer fires up to a millisecond late.
    assert!(
        *first >= from && *last <= to + Duration::from_millis(1),
        "{first:?} to {last:?}"
    );
}

/// Tasks that wait for their goodbye.
struct Work(Vec<JoinHandle<Instant>>);

impl Work {
    fn start(drain: &Drain, count: usize) -> Self {
        let wait = |goodbye: Goodbye| async {
            goodbye.await;
            Instant::now()
        };
        Self(
            (0..count)
                .map(|_| tokio::spawn(wait(drain.goodbye())))
                .collect(),
        )
    }

    fn left(&self) -> usize {
        self.0.iter().filter(|task| !task.is_finished()).count()
    }

    /// Returns when each ended, since `start`.
    async fn ends_since(self, start: Instant) -> Vec<Duration> {
        let ends = join_all(self.0).await;
        ends.into_iter().map(|at| at.unwrap() - start).collect()
    }
}

fn shutdown(drain: &Drain) -> Shutdown<impl Future<Output = Signal> + use<>> {
    Shutdown::new(drain, async { Signal::Terminate }).lame_duck(LAME_DUCK)
}

async fn serve(closing: Reached) -> io::Result<()> {
    closing.await;
    Ok(())
}

fn run<O>(shutdown: Shutdown<O>) -> JoinHandle<ShutdownReport>
where
    O: Future<Output = Signal> + Send + 'static,
{
    tokio::spawn(async { shutdown.run(serve).await.unwrap() })
}

#[tokio::test(start_paused = true)]
async fn it_comes_in_the_second_half_of_the_lame_duck() {
    let drain = Drain::new();
    let work = Work::start(&drain, 1_000);
    let start = Instant::now();
    let run = run(shutdown(&drain));
    assert_spread(&work.ends_since(start).await, LAME_DUCK / 2, LAME_DUCK);
    assert_eq!(run.await.unwrap().lame_duck(), LAME_DUCK);
}

#[tokio::test(start_paused = true)]
async fn each_call_and_each_clone_has_its_own() {
    let drain = Drain::new();
    let original = drain.goodbye();
    let wait = |goodbye: Goodbye| async move {
        goodbye.await;
        Instant::now()
    };
    let clones = (0..1_000).map(|_| tokio::spawn(wait(original.clone())));
    let work = Work(clones.collect());
    let start = Instant::now();
    let run = run(shutdown(&drain));
    assert_spread(&work.ends_since(start).await, LAME_DUCK / 2, LAME_DUCK);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_that_begins_late_has_a_time_in_what_is_left() {
    let drain = Drain::new();
    let start = Instant::now();
    let run = run(shutdown(&drain));
    sleep(LAME_DUCK / 4).await;
    let early = Work::start(&drain, 1_000);
    sleep(LAME_DUCK / 2).await;
    let late = Work::start(&drain, 1_000);
    assert_spread(&early.ends_since(start).await, LAME_DUCK / 2, LAME_DUCK);
    assert_spread(&late.ends_since(start).await, LAME_DUCK * 3 / 4, LAME_DUCK);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_has_no_goodbyes_until_a_shutdown_knows_its_end() {
    let drain = Drain::new();
    let work = Work::start(&drain, 1_000);
    let start = Instant::now();
    drain.lame_duck();
    sleep(LAME_DUCK * 3 / 4).await;
    assert_eq!(work.left(), 1_000);
    // More than half of it has passed, and is not made up for.
    let run = run(shutdown(&drain));
    assert_spread(&work.ends_since(start).await, LAME_DUCK * 3 / 4, LAME_DUCK);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_endless_lame_duck_has_no_goodbyes() {
    let drain = Drain::new();
    let work = Work::start(&drain, 10);
    let run = run(shutdown(&drain).lame_duck(Duration::MAX));
    sleep(LAME_DUCK).await;
    assert_eq!(work.left(), 10);
    let start = Instant::now();
    drain.close();
    assert_eq!(work.ends_since(start).await, [Duration::ZERO; 10]);
    run.await.unwrap();
}

#[test]
fn without_a_shutdown_it_comes_with_closing() {
    let change: [fn(&Drain) -> bool; 2] = [Drain::close, Drain::start_draining];
    for change in change {
        let drain = Drain::new();
        let mut goodbyes: Vec<_> = (0..1_000).map(|_| task::spawn(drain.goodbye())).collect();
        for goodbye in &mut goodbyes {
            assert_pending!(goodbye.poll());
        }
        drain.lame_duck();
        assert!(goodbyes.iter().all(|goodbye| !goodbye.is_woken()));
        change(&drain);
        for goodbye in &mut goodbyes {
            assert!(goodbye.is_woken());
            assert_ready!(goodbye.poll());
        }
        assert_ready!(task::spawn(drain.goodbye()).poll());
    }
}

#[test]
fn after_resume_it_waits_again() {
    let drain = Drain::new();
    let mut goodbye = task::spawn(drain.goodbye());
    for _ in 0..2 {
        drain.lame_duck();
        assert_pending!(goodbye.poll());
        drain.resume();
        assert_pending!(goodbye.poll());
    }
    drain.close();
    assert_ready!(goodbye.poll());
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_ends_early_leaves_the_rest_to_closing() {
    let drain = Drain::new();
    let work = Work::start(&drain, 1_000);
    let start = Instant::now();
    let run = run(shutdown(&drain).min_failed_probes(1));
    sleep(LAME_DUCK * 3 / 4).await;
    let left = work.left();
    assert!((300..700).contains(&left), "{left}");
    drain.record_failed_probe();
    let ends = work.ends_since(start).await;
    let early = ends.iter().filter(|end| **end < LAME_DUCK * 3 / 4).count();
    assert_eq!(early, 1_000 - left);
    // Some at a time.
    let last = *ends.iter().max().unwrap() - LAME_DUCK * 3 / 4;
    assert!(last <= Duration::from_millis(10), "{last:?}");
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn on_an_interrupt_it_comes_with_closing() {
    let drain = Drain::new();
    let work = Work::start(&drain, 1_000);
    let (send, sent) = oneshot::channel();
    let on = async { sent.await.unwrap() };
    let run = run(Shutdown::new(&drain, on).lame_duck(LAME_DUCK));
    sleep(LAME_DUCK).await;
    assert_eq!(work.left(), 1_000);
    let start = Instant::now();
    send.send(Signal::Interrupt).unwrap();
    let ends = work.ends_since(start).await;
    assert!(*ends.iter().max().unwrap() <= Duration::from_millis(10));
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_was_dropped_says_no_more_goodbyes_until_another_runs() {
    let drain = Drain::new();
    let start = Instant::now();
    let first = run(shutdown(&drain));
    let work = Work::start(&drain, 1_000);
    sleep(LAME_DUCK * 3 / 4).await;
    first.abort();
    sleep(LAME_DUCK).await;
    let left = work.left();
    assert!((300..700).contains(&left), "{left}");
    // Its lame duck counts from the beginning of the first one's.
    let second = run(shutdown(&drain).lame_duck(2 * LAME_DUCK));
    let ends = work.ends_since(start).await;
    let late: Vec<_> = ends.into_iter().filter(|end| *end > LAME_DUCK).collect();
    assert_eq!(late.len(), left);
    // What it passes first has ended before.
    assert!(*late.iter().min().unwrap() >= LAME_DUCK * 7 / 4);
    assert!(*late.iter().max().unwrap() <= LAME_DUCK * 2 + Duration::from_millis(10));
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn work_after_a_shutdown_that_was_dropped_has_the_whole_time_of_the_next() {
    let drain = Drain::new();
    let start = Instant::now();
    let first = run(shutdown(&drain));
    sleep(LAME_DUCK * 99 / 100).await;
    first.abort();
    sleep(LAME_DUCK / 100).await;
    let work = Work::start(&drain, 1_000);
    let second = run(shutdown(&drain).lame_duck(3 * LAME_DUCK));
    let ends = work.ends_since(start).await;
    assert_spread(&ends, LAME_DUCK * 3 / 2, LAME_DUCK * 3);
    second.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_says_some_at_a_time_while_closing_and_draining() {
    let drain = Drain::new();
    let mut goodbyes: Vec<_> = (0..1_000).map(|_| task::spawn(drain.goodbye())).collect();
    for goodbye in &mut goodbyes {
        assert_pending!(goodbye.poll());
    }
    let woken = |goodbyes: &[Spawn<Goodbye>]| goodbyes.iter().filter(|one| one.is_woken()).count();
    let permit = drain.try_acquire().unwrap();
    // The server ends at once.
    let mut run = task::spawn(Shutdown::new(&drain, async { Signal::Terminate }).run(serve));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining);
    assert!(
        (1..=512).contains(&woken(&goodbyes)),
        "{}",
        woken(&goodbyes)
    );
    while woken(&goodbyes) < 1_000 {
        let before = woken(&goodbyes);
        advance(Duration::from_millis(2)).await;
        assert_pending!(run.poll());
        let more = woken(&goodbyes) - before;
        assert!((1..=256).contains(&more), "{more}");
    }
    drop(permit);
    assert_ready!(run.poll()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_while_closing_leaves_nothing_asleep() {
    let drain = Drain::new();
    let work = Work::start(&drain, 10_000);
    // Each polls once.
    tokio::task::yield_now().await;
    {
        let shutdown = Shutdown::new(&drain, async { Signal::Terminate });
        let mut run = task::spawn(shutdown.run(|_| pending::<io::Result<()>>()));
        assert_pending!(run.poll());
        assert_eq!(drain.phase(), Phase::Closing);
    }
    let start = Instant::now();
    assert_eq!(work.ends_since(start).await.last(), Some(&Duration::ZERO));
}

#[test]
fn a_goodbye_that_was_said_is_not_missed_if_the_task_has_moved() {
    let drain = Drain::new();
    let mut goodbye = drain.goodbye();
    assert_pending!(task::spawn(&mut goodbye).poll());
    drain.close();
    assert_ready!(task::spawn(&mut goodbye).poll());
    assert_ready!(task::spawn(&mut goodbye).poll(), "polled again");
}

#[test]
fn it_wakes_the_task_that_polled_last_and_none_that_has_dropped_it() {
    let drain = Drain::new();
    let mut moved = Box::pin(drain.goodbye());
    let mut first = task::spawn(());
    first.enter(|cx, _| assert_pending!(moved.as_mut().poll(cx)));
    let mut second = task::spawn(());
    second.enter(|cx, _| assert_pending!(moved.as_mut().poll(cx)));
    let mut third = task::spawn(());
    let mut dropped = Box::pin(drain.goodbye());
    third.enter(|cx, _| assert_pending!(dropped.as_mut().poll(cx)));
    drop(dropped);
    drain.close();
    assert!(!first.is_woken() && second.is_woken() && !third.is_woken());
}

#[test]
fn a_waker_that_panics_leaves_no_other_task_asleep() {
    let drain = Drain::new();
    let panics = panicking_waker();
    let cx = &mut Context::from_waker(&panics);
    let mut panicking: Vec<_> = (0..10).map(|_| drain.goodbye()).collect();
    let mut others: Vec<_> = (0..10).map(|_| task::spawn(drain.goodbye())).collect();
    for (goodbye, other) in panicking.iter_mut().zip(&mut others) {
        assert!(Pin::new(goodbye).poll(cx).is_pending());
        assert_pending!(other.poll());
    }
    assert!(drain.close());
    assert!(others.iter().all(|other| other.is_woken()));
}

/// The next drain uses the same memory.
#[tokio::test(start_paused = true)]
async fn a_new_drain_begins_anew() {
    for _ in 0..10 {
        let drain = Drain::new();
        let work = Work::start(&drain, 100);
        drain.lame_duck();
        sleep(LAME_DUCK).await;
        assert_eq!(work.left(), 100);
        let start = Instant::now();
        let run = run(shutdown(&drain).lame_duck(2 * LAME_DUCK));
        let ends = work.ends_since(start).await;
        assert!(*ends.iter().max().unwrap() > LAME_DUCK * 3 / 4);
        run.await.unwrap();
    }
}
