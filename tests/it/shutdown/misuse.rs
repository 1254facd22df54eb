//! Enormous and zero durations, concurrent calls, dropped futures, and no runtime.

use std::future::{pending, ready};

use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok};
use tower_drain::{Phase, Shutdown, ShutdownError};

use super::*;

#[tokio::test(start_paused = true)]
async fn enormous_durations_bound_nothing() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(()))
        .lame_duck(Duration::MAX)
        .quiet_period(Duration::MAX)
        .min_failed_probes(u32::MAX)
        .closing(Duration::MAX)
        .timeout(Duration::MAX);
    let (server, end) = server();
    let mut run = task::spawn(shutdown.run(|_| server));
    for (phase, step) in [
        (Phase::LameDuck, Drain::close as fn(&Drain) -> bool),
        (Phase::Closing, Drain::start_draining),
        (Phase::Draining, Drain::start_draining),
    ] {
        assert_pending!(run.poll());
        advance(1_000_000 * SECOND).await;
        assert_pending!(run.poll());
        assert_eq!(drain.phase(), phase);
        step(&drain);
    }
    drop(permit);
    end.send(Ok(())).unwrap();
    assert_ready_ok!(run.poll());
}

#[tokio::test(start_paused = true)]
async fn zero_durations_skip_what_they_bound() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(()))
        .lame_duck(Duration::ZERO)
        .quiet_period(Duration::ZERO)
        .min_failed_probes(0)
        .closing(Duration::ZERO)
        .timeout(Duration::ZERO);
    assert_ready_ok!(task::spawn(shutdown.run(idle)).poll());

    // No quiet period and no failed probes to wait for: the lame duck ends at once.
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(SECOND);
    let shutdown = shutdown.quiet_period(Duration::ZERO).min_failed_probes(0);
    assert_ready_ok!(task::spawn(shutdown.run(idle)).poll());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn close_and_start_draining_from_many_tasks() {
    for round in 0..50 {
        let drain = Drain::new();
        let (on, terminate) = signal();
        let shutdown = Shutdown::new(&drain, on).closing(SECOND / 1_000);
        let run = tokio::spawn(shutdown.run(idle));
        let mut tasks = Vec::new();
        for nth in 0..8 {
            let drain = drain.clone();
            tasks.push(tokio::spawn(async move {
                let mut permits = Vec::new();
                for _ in 0..(round + nth) % 7 {
                    permits.extend(drain.try_acquire());
                    tokio::task::yield_now().await;
                }
                let closed = u32::from(nth % 2 == 0 && drain.close());
                let drained = u32::from(nth % 2 == 1 && drain.start_draining());
                assert!(nth % 2 == 0 || drain.try_acquire().is_err());
                assert!(!drain.resume() && drain.phase() >= Phase::Closing);
                (closed, drained)
            }));
        }
        if round % 3 > 0 {
            // It may be over already.
            let _ = terminate.send(Signal::Terminate);
        }
        let mut changes = (0, 0);
        for task in tasks {
            let (closed, drained) = task.await.unwrap();
            changes = (changes.0 + closed, changes.1 + drained);
        }
        assert!(changes.0 <= 1 && changes.1 <= 1, "{changes:?}");
        run.await.unwrap().unwrap();
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Drained, 0));
        assert!(!drain.close() && !drain.start_draining() && !drain.lame_duck());
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_it_drops_the_server_and_keeps_the_phase() {
    for closing in [Duration::ZERO, SECOND] {
        let drain = Drain::new();
        let (server, end) = server();
        let shutdown = Shutdown::new(&drain, ready(())).closing(closing);
        let mut run = task::spawn(shutdown.run(|_| server));
        assert_pending!(run.poll());
        let phase = drain.phase();
        assert!(phase >= Phase::Closing);
        drop(run);
        assert!(end.is_closed());
        assert_eq!(drain.phase(), phase);
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_has_one_shutdown_at_a_time() {
    let drain = Drain::new();
    let mut first = task::spawn(Shutdown::new(&drain, pending::<()>()).run(idle));
    assert_pending!(first.poll());
    let second = Shutdown::new(&drain, ready(()));
    let second = second.run(|_| -> std::future::Ready<()> { panic!("the server is started") });
    let error = assert_ready_err!(task::spawn(second).poll());
    assert!(matches!(error, ShutdownError::DrainInUse));
    let words = "another shutdown of this drain is running";
    assert_eq!(
        (error.to_string(), format!("{error:?}")),
        (words.into(), words.into())
    );
    assert_eq!(io::Error::from(error).kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(
        drain.phase(),
        Phase::Serving,
        "the first one is not disturbed"
    );
    assert!(!first.is_woken());

    // Another may run after the first was dropped, and after that has ended.
    drop(first);
    for _ in 0..2 {
        let next = Shutdown::new(&drain, pending::<()>());
        let closed = drain.clone();
        next.run(async move |closing: Reached| {
            closed.close();
            closing.await;
        })
        .await
        .unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_is_dropped_takes_back_what_it_has_announced() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(10 * SECOND);
    let mut run = task::spawn(shutdown.run(idle));
    assert_pending!(run.poll());
    assert_eq!(drain.status().time_left(), Some(10 * SECOND));
    drop(run);
    assert_eq!(drain.phase(), Phase::LameDuck);
    assert_eq!(drain.status().time_left(), None);
}

#[test]
fn a_shutdown_may_be_made_outside_a_runtime() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(SECOND / 100);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(shutdown.run(idle)).unwrap();
}

#[test]
#[should_panic(expected = "there is no reactor running")]
fn polling_it_outside_a_runtime_panics_as_documented() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(SECOND);
    let _ = task::spawn(shutdown.run(idle)).poll();
}

#[cfg(unix)]
#[test]
#[should_panic(expected = "there is no reactor running")]
fn listening_for_signals_outside_a_runtime_panics_as_documented() {
    let _ = Shutdown::on_signal(&Drain::new());
}

#[cfg(windows)]
#[test]
fn listening_for_signals_needs_no_runtime_on_windows() {
    let _ = Shutdown::on_signal(&Drain::new());
}

#[cfg(windows)]
#[tokio::test(start_paused = true)]
async fn a_listener_does_nothing_on_windows() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Terminate));
    let shutdown = shutdown.listener(&listener).unwrap().settle(SECOND);
    let report = shutdown.run(idle).await.unwrap();
    assert_eq!(report.lame_duck(), Duration::ZERO);
}
