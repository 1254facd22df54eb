//! The stages in order, and their figures in the report.

use std::future::{pending, ready};
use std::io;

use tokio_test::{assert_pending, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;

#[tokio::test(start_paused = true)]
async fn from_the_signal_to_the_report() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let ((on, terminate), (server, end)) = (signal(), server());
    let shutdown = Shutdown::new(&drain, on)
        .lame_duck(5 * SECOND)
        .closing(SECOND);
    let mut run = task::spawn(shutdown.run(|_| server));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Serving);

    terminate.send(Signal::Terminate).unwrap();
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(4 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(SECOND).await;
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
    drop(drain.try_acquire().expect("closing serves"));

    advance(SECOND).await;
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Draining);
    advance(SECOND).await;
    drop(permit);
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Drained);
    advance(SECOND).await;
    for _ in 0..2 {
        drain.try_acquire().unwrap_err();
    }
    end.send(Ok(())).unwrap();
    assert!(run.is_woken());
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.signal(), Some(Signal::Terminate));
    assert_eq!(report.lame_duck(), 5 * SECOND);
    assert_eq!(report.in_flight_at_close(), 1);
    assert_eq!(report.refused(), 2, "until the server had ended");
    assert_eq!(report.drained_after(), 2 * SECOND, "from the close");
    assert_eq!(report.ended_after(), Some(3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_as_soon_as_the_server_has_ended() {
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let (server, end) = server();
    let shutdown = Shutdown::new(&drain, ready(())).closing(60 * SECOND);
    let mut run = task::spawn(shutdown.timeout(90 * SECOND).run(|_| server));
    assert_pending!(run.poll());
    advance(2 * SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
    end.send(Ok(())).unwrap();
    assert!(run.is_woken());
    assert_pending!(run.poll());
    assert_eq!(
        drain.phase(),
        Phase::Draining,
        "permits are still waited for"
    );
    advance(SECOND).await;
    drop(permit);
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.ended_after(), Some(2 * SECOND));
    assert_eq!(report.drained_after(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn closing_lasts_for_its_maximum_if_the_server_goes_on() {
    for (closing, timeout, lasts) in [(3, 10, 3), (10, 3, 3), (0, 10, 0)] {
        let drain = Drain::new();
        let _permit = drain.try_acquire().unwrap();
        let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt));
        let shutdown = shutdown.closing(closing * SECOND).timeout(timeout * SECOND);
        let mut run = task::spawn(shutdown.run(|_| endless()));
        assert_pending!(run.poll());
        let start = Instant::now();
        while drain.phase() == Phase::Closing {
            advance(SECOND / 10).await;
            let _ = run.poll();
        }
        assert_eq!(start.elapsed(), lasts * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_of_closing_is_five_seconds() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(())).flush(10 * SECOND);
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    advance(5 * SECOND - SECOND / 100).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
    advance(SECOND / 100).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Drained);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_skips_the_lame_duck() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).lame_duck(5 * SECOND);
    assert_pending!(task::spawn(shutdown.run(|_| endless())).poll());
    assert_eq!(drain.phase(), Phase::Closing);
}

#[tokio::test(start_paused = true)]
async fn there_is_no_lame_duck_by_default() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate));
    let shutdown = shutdown.min_failed_probes(3).quiet_period(SECOND);
    assert_pending!(task::spawn(shutdown.run(|_| endless())).poll());
    assert_eq!(drain.phase(), Phase::Closing);
}

#[tokio::test(start_paused = true)]
async fn a_trigger_without_a_value_is_a_terminate() {
    let drain = Drain::new();
    let token = tokio_util::sync::CancellationToken::new();
    let shutdown = Shutdown::new(&drain, token.cancelled()).lame_duck(SECOND);
    let mut run = task::spawn(shutdown.run(idle));
    assert_pending!(run.poll());
    token.cancel();
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(SECOND).await;
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.signal(), Some(Signal::Terminate));
}

#[tokio::test(start_paused = true)]
async fn another_handle_may_close_or_drain() {
    for step in [Drain::close, Drain::start_draining] {
        let drain = Drain::new();
        let permit = drain.try_acquire().unwrap();
        let shutdown = Shutdown::new(&drain, pending::<Signal>()).timeout(5 * SECOND);
        let mut run = task::spawn(shutdown.run(idle));
        assert_pending!(run.poll());
        step(&drain);
        assert!(run.is_woken());
        assert_pending!(run.poll());
        advance(3 * SECOND).await;
        drop(permit);
        assert!(run.is_woken());
        let report = assert_ready_ok!(run.poll());
        assert_eq!((report.signal(), report.in_flight_at_close()), (None, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn the_lame_duck_is_not_in_the_timeout() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(10 * SECOND);
    let mut run = task::spawn(
        shutdown
            .timeout(5 * SECOND)
            .run(|_| until_drained(drain.clone())),
    );
    assert_eq!(time_to_end(&mut run).await, 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_status_says_how_long_each_phase_can_last() {
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(10 * SECOND);
    let shutdown = shutdown.closing(2 * SECOND).timeout(5 * SECOND);
    let mut run = task::spawn(shutdown.run(|_| endless()));
    for (phase, left) in [
        (Phase::LameDuck, 10),
        (Phase::Closing, 2),
        (Phase::Draining, 3),
    ] {
        assert_pending!(run.poll());
        assert_eq!(drain.phase(), phase);
        assert_eq!(drain.status().time_left(), Some(left * SECOND));
        advance(SECOND).await;
        assert_eq!(drain.status().time_left(), Some((left - 1) * SECOND));
        advance((left - 1) * SECOND).await;
    }
}

/// Uses up the task's budget in each poll, and wakes itself at once.
async fn greedy() -> io::Result<()> {
    std::future::poll_fn(|cx| {
        while std::pin::pin!(tokio::task::consume_budget())
            .poll(cx)
            .is_ready()
        {}
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await
}

/// On a real clock: a paused one only advances when every task is idle.
#[tokio::test]
async fn a_server_that_uses_up_its_budget_starves_nothing() {
    let millisecond = SECOND / 1_000;
    // The trigger, the timers of each stage, ...
    let drain = Drain::new();
    let trigger = tokio::time::sleep(millisecond);
    let shutdown = Shutdown::new(&drain, trigger).lame_duck(millisecond);
    let shutdown = shutdown.closing(millisecond).timeout(2 * millisecond);
    let report = tokio::spawn(shutdown.run(|_| greedy())).await.unwrap();
    assert_eq!(report.unwrap().ended_after(), None);
    // ... and the force future.
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, ready(())).timeout(3_600 * SECOND);
    let shutdown = shutdown.force_on(tokio::time::sleep(millisecond));
    let outcome = tokio::spawn(shutdown.run(|_| greedy())).await.unwrap();
    assert!(matches!(outcome, Err(ShutdownError::Forced(_))));
}
