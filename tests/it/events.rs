//! What the feature `tracing` tells, by a subscriber that keeps it.

use std::future::{pending, ready};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Request;
use tokio::time::{advance, sleep};
use tower::{Layer, Service};
use tower_drain::{Drain, Shutdown, Signal};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

use crate::support::{Body, Hello};

const SECOND: Duration = Duration::from_secs(1);

/// The lines of this thread, without their times.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn keep() -> (Self, DefaultGuard) {
        let lines = Self::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::DEBUG)
            .without_time()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (lines, tracing::subscriber::set_default(subscriber))
    }

    /// Those that have come since the last call.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_phase_is_told_once_and_progress_once_a_second() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let permit = drain.try_enter().unwrap();
    let closing = drain.clone();
    let server = async move {
        closing.draining().await;
        sleep(5 * SECOND).await;
        io::Result::Ok(())
    };
    let shutdown = Shutdown::new(&drain)
        .on(ready(Signal::Terminate))
        .force(pending())
        .lame_duck(SECOND)
        .timeout(9 * SECOND);
    let run = tokio::spawn(shutdown.run(server));
    // Whoever else waits adds nothing to it.
    let waits = [(); 3].map(|()| tokio::spawn(drain.drained()));
    // Drained after 2.5 s of draining, of which the lame duck is none.
    sleep(3 * SECOND + SECOND / 2).await;
    drain.try_enter().unwrap_err();
    drop(permit);
    run.await.unwrap().unwrap();
    for wait in waits {
        wait.await.unwrap();
    }
    let told = lines.take();
    let told: Vec<_> = told
        .iter()
        .map(|line| line.strip_prefix("INFO tower_drain: ").unwrap_or(line))
        .collect();
    assert_eq!(
        told,
        [
            "shutdown signal=Terminate",
            "lame duck: not ready any more, still serving in_flight=1",
            "draining: newcomers are refused in_flight=1",
            "still draining in_flight=1 refused=0 elapsed=1s time_left=8s",
            "still draining in_flight=1 refused=0 elapsed=2s time_left=7s",
            "drained: nothing is in flight elapsed=2.5s in_flight_at_start=1 refused=1",
            "still draining in_flight=0 refused=1 elapsed=3s time_left=6s",
            "still draining in_flight=0 refused=1 elapsed=4s time_left=5s",
            "shut down: nothing in flight, and the server has closed requests=2.5s server=5s",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_told_by_whoever_waited() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let _permit = drain.try_enter().unwrap();
    drain.drain(2 * SECOND).await.unwrap_err();
    let told = lines.take().pop().unwrap();
    assert!(told.starts_with("WARN"), "{told}");
    assert!(told.contains("1 still in flight elapsed="), "{told}");

    let shutdown = Shutdown::new(&drain).on(pending()).timeout(SECOND / 2);
    let run = shutdown.run(pending::<io::Result<()>>());
    run.await.unwrap_err();
    let told = lines.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("WARN"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn tracked_requests_are_named_in_progress_and_when_it_is_late() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let never = tower::service_fn(|_| pending::<Result<http::Response<Body>, ()>>());
    let mut service = drain.layer().track_requests().layer(never);
    let _stuck = service.call(Request::get("/stuck?secret").body(Body::default()).unwrap());
    let shutdown = Shutdown::new(&drain)
        .on(ready(Signal::Interrupt))
        .force(async {
            sleep(2 * SECOND).await;
            Signal::Interrupt
        });
    let run = shutdown.run(pending::<io::Result<()>>());
    run.await.unwrap_err();
    let told = lines.take().split_off(2);
    assert_eq!(
        told,
        [
            "INFO tower_drain: still draining in_flight=1 refused=0 elapsed=1s time_left=29s \
             oldest=GET /stuck (handler, 1.0s)",
            "WARN tower_drain: forced to stop elapsed=2s in_flight=1 \
             oldest=GET /stuck (handler, 2.0s)",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_taken_back_is_told() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    drain.lame_duck();
    drain.resume();
    drain.resume();
    advance(SECOND).await;
    let told = lines.take();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].contains("serving: ready again"), "{told:?}");
}

#[tokio::test]
async fn a_refusal_is_told_at_debug_and_without_its_query() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let mut service = drain.layer().layer(Hello);
    let mut ask = async || {
        let request = Request::post("/orders?token=secret");
        let request = request.body(Body::default()).unwrap();
        service.call(request).await.unwrap();
    };
    ask().await;
    drain.start();
    assert_eq!(lines.take().len(), 1, "only the draining");
    ask().await;
    assert_eq!(
        lines.take(),
        ["DEBUG tower_drain: refused a request: draining method=POST path=\"/orders\""]
    );
}
