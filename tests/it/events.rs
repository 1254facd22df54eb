//! The events of the feature `tracing`, as formatted by a subscriber.

use std::future::{pending, ready};
use std::io;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use http::Request;
use tokio::time::{advance, sleep};
use tower::{Layer, Service};
use tower_drain::{Drain, Reached, Shutdown, Signal};
use tracing::Level;
use tracing::subscriber::DefaultGuard;

use crate::support::{Body, Hello};

const SECOND: Duration = Duration::from_secs(1);

/// The lines of this thread, without their times.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn keep() -> (Self, DefaultGuard) {
        // One for the whole process: callsites cache what the subscribers of all threads want, and those of
        // other tests come and go.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| {
            let sink = tracing_subscriber::fmt().with_max_level(Level::DEBUG);
            tracing::subscriber::set_global_default(sink.with_writer(io::sink).finish()).unwrap();
        });
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

    /// The lines since the last call.
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
async fn each_phase_is_logged_once_and_progress_with_growing_pauses() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let permit = drain.try_acquire().unwrap();
    let server = async |closing: Reached| {
        closing.await;
        sleep(4 * SECOND + SECOND / 2).await;
        io::Result::Ok(())
    };
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate))
        .lame_duck(SECOND)
        .closing(SECOND + SECOND / 2)
        .timeout(9 * SECOND);
    let run = tokio::spawn(async move { shutdown.run(server).await });
    // Other waiters add nothing.
    let waits = [(); 3].map(|()| tokio::spawn(drain.drained()));
    // Drained 2.5 s after the close, and 1 s after draining started.
    sleep(3 * SECOND + SECOND / 2).await;
    drain.try_acquire().unwrap_err();
    drop(permit);
    run.await.unwrap().unwrap();
    for wait in waits {
        wait.await.unwrap();
    }
    let lines = lines.take();
    let lines: Vec<_> = lines
        .iter()
        .map(|line| line.strip_prefix("INFO tower_drain: ").unwrap_or(line))
        .collect();
    assert_eq!(
        lines,
        [
            "shutdown started signal=Terminate",
            "entering lame duck in_flight=1",
            "lame duck ended: maximum reached",
            "closing in_flight=1",
            "still closing in_flight=1 refused=0 since_close=1s time_left=8s",
            "draining in_flight=1",
            "still draining in_flight=1 refused=0 since_close=2s time_left=7s",
            "drained elapsed=1s in_flight_at_start=1 refused=1",
            "still closing connections in_flight=0 refused=1 since_close=4s time_left=5s",
            "shutdown finished lame_duck=1s drained_after=2.5s ended_after=4.5s in_flight_at_close=1 refused=1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_ends_early_says_so() {
    let (lines, _guard) = Lines::keep();
    let shutdown = Shutdown::new(&Drain::new(), ready(()))
        .lame_duck(10 * SECOND)
        .quiet_period(SECOND);
    shutdown
        .run(async |closing: Reached| closing.await)
        .await
        .unwrap();
    assert_eq!(lines.take()[2], "INFO tower_drain: lame duck ended early");
}

#[tokio::test(start_paused = true)]
async fn progress_counts_the_connections_that_are_watched() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let (_client, io) = tokio::io::duplex(1);
    let never =
        hyper::service::service_fn(|_| pending::<Result<http::Response<Body>, io::Error>>());
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(io), never);
    let _unpolled = drain.watch(connection);
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).timeout(2 * SECOND);
    shutdown
        .closing(SECOND / 2)
        .run(async |_| ())
        .await
        .unwrap();
    let progress =
        "still closing connections in_flight=0 connections=1 refused=0 since_close=1s time_left=1s";
    let lines = lines.take();
    assert!(
        lines.iter().any(|line| line.ends_with(progress)),
        "{lines:#?}"
    );
}

#[tokio::test(start_paused = true)]
async fn abandoned_connections_are_a_warning() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let mut service = drain.layer().layer(Hello);
    drop(service.call(Request::new(Body::default())).await.unwrap());
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).flush(SECOND / 2);
    shutdown.run(|_| pending::<io::Result<()>>()).await.unwrap();
    let lines = lines.take();
    let [.., warning, finished] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(
        warning,
        "WARN tower_drain: nothing in flight, but connections were still open: abandoned"
    );
    assert_eq!(
        finished,
        "INFO tower_drain: shutdown finished lame_duck=0ns drained_after=1s in_flight_at_close=0 refused=0"
    );
}

#[tokio::test(start_paused = true)]
async fn if_nothing_was_ever_counted_the_warning_asks_for_the_layer() {
    let (lines, _guard) = Lines::keep();
    // Its gate is used again.
    let earlier = Drain::new();
    let mut service = earlier.layer().layer(Hello);
    drop(service.call(Request::new(Body::default())).await.unwrap());
    earlier.start_draining();
    drop(earlier);
    let drain = Drain::new();
    // It is no request.
    drop(drain.try_acquire());
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt));
    shutdown.run(|_| pending::<io::Result<()>>()).await.unwrap();
    let warning = lines.take().into_iter().rev().nth(1).unwrap();
    let question = "abandoned. No request was ever counted: did none come, or is the layer not around the routes?";
    assert!(warning.ends_with(question), "{warning}");
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_port_tells_what_it_cannot_do_and_how_long_it_settles() {
    let (lines, _guard) = Lines::keep();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // So it cannot be removed.
    std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Terminate));
    let shutdown = shutdown.listener(&listener).unwrap();
    shutdown
        .run(async |closing: Reached| closing.await)
        .await
        .unwrap();
    let lines = lines.take();
    // On systems other than Linux for another reason.
    let unknown =
        "DEBUG tower_drain: the kernel cannot be asked about the port: fixed times apply error=";
    assert!(lines[0].starts_with(unknown), "{}", lines[0]);
    assert_eq!(
        lines[1..],
        [
            "INFO tower_drain: shutdown started signal=Terminate",
            "DEBUG tower_drain: no socket filter: new connections still arrive error=not TCP",
            "INFO tower_drain: settling the port settle=300ms",
            "INFO tower_drain: the port has settled elapsed=300ms",
            "INFO tower_drain: closing in_flight=0",
            "INFO tower_drain: draining in_flight=0",
            "INFO tower_drain: drained elapsed=0ns in_flight_at_start=0 refused=0",
            "INFO tower_drain: shutdown finished lame_duck=300ms drained_after=0ns ended_after=0ns \
             in_flight_at_close=0 refused=0",
        ]
    );
}

#[cfg(target_os = "linux")]
#[cfg(not(tower_drain_other_unix))]
#[tokio::test]
async fn an_idle_port_logs_neither_a_lame_duck_nor_settling() {
    let (lines, _guard) = Lines::keep();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Terminate));
    let shutdown = shutdown.listener(&listener).unwrap();
    let server = async |closing: Reached| {
        closing.await;
        drop(listener);
    };
    shutdown.run(server).await.unwrap();
    let lines = lines.take();
    let started = "INFO tower_drain: shutdown started signal=Terminate";
    assert_eq!(
        lines[..2],
        [started, "INFO tower_drain: closing in_flight=0"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_long_shutdown_is_not_silent_for_more_than_half_a_minute() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).timeout(100 * SECOND);
    shutdown.run(async |_| ()).await.unwrap_err();
    let lines = lines.take();
    let since_close = lines.iter().filter_map(|line| {
        let (_, after) = line.split_once("since_close=")?;
        after.split_whitespace().next()
    });
    let since_close: Vec<_> = since_close.collect();
    assert_eq!(
        since_close,
        ["1s", "2s", "4s", "8s", "16s", "32s", "62s", "92s"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_warning() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let _permit = drain.try_acquire().unwrap();
    drain.drain(2 * SECOND).await.unwrap_err();
    let line = lines.take().pop().unwrap();
    assert_eq!(
        line,
        "WARN tower_drain: drain timed out in_flight=1 elapsed=2s"
    );

    let shutdown = Shutdown::new(&drain, pending::<()>()).timeout(SECOND / 2);
    shutdown
        .run(async |_| io::Result::Ok(()))
        .await
        .unwrap_err();
    let lines = lines.take();
    let [closed, started, warning] = &lines[..] else {
        panic!("{lines:?}");
    };
    let closed_already = "the drain is closed already: the server is asked to close at once";
    assert_eq!(closed, &format!("WARN tower_drain: {closed_already}"));
    assert_eq!(started, "INFO tower_drain: shutdown started");
    assert!(warning.starts_with("WARN"), "{warning}");
}

#[tokio::test(start_paused = true)]
async fn tracked_requests_are_named_in_progress_and_warnings() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let never = tower::service_fn(|_| pending::<Result<http::Response<Body>, ()>>());
    let mut service = drain.layer().track_requests().layer(never);
    let _stuck = service.call(Request::get("/stuck?secret").body(Body::default()).unwrap());
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt))
        .closing(SECOND / 2)
        .force_on(sleep(2 * SECOND));
    let run = shutdown.run(async |_| pending::<io::Result<()>>().await);
    run.await.unwrap_err();
    let lines = lines.take().split_off(3);
    assert_eq!(
        lines,
        [
            "INFO tower_drain: still draining in_flight=1 refused=0 since_close=1s time_left=29s \
             oldest=GET /stuck (handler, 1.0s)",
            "WARN tower_drain: forced to stop in_flight=1 elapsed=2s \
             oldest=GET /stuck (handler, 2.0s)",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_is_an_error() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, pending::<()>());
    let server = async |_| Err(io::Error::other("no port"));
    shutdown.run(server).await.unwrap_err();
    let lines = lines.take();
    // Logged at once, before the wait for requests in flight.
    assert_eq!(lines[0], "ERROR tower_drain: server failed: no port");
    let last = lines.last().unwrap();
    assert!(last.contains("shutdown finished"), "{last}");
}

#[tokio::test(start_paused = true)]
async fn a_lame_duck_that_is_left_is_logged() {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    drain.lame_duck();
    drain.resume();
    drain.resume();
    advance(SECOND).await;
    assert_eq!(
        lines.take(),
        [
            "INFO tower_drain: entering lame duck in_flight=0",
            "INFO tower_drain: serving again in_flight=0",
        ]
    );
}

/// Returns the log line of one refusal.
async fn refused(request: Request<Body>) -> String {
    let (lines, _guard) = Lines::keep();
    let drain = Drain::new();
    let mut service = drain.layer().layer(Hello);
    drain.start_draining();
    assert_eq!(lines.take().len(), 1, "the change of phase");
    service.call(request).await.unwrap();
    lines.take().join("\n")
}

#[tokio::test]
async fn a_refusal_is_logged_at_debug_without_its_query() {
    let request = Request::post("/orders?token=secret").body(Body::default());
    assert_eq!(
        refused(request.unwrap()).await,
        "DEBUG tower_drain: request refused method=POST path=/orders"
    );
    let request = Request::connect("user:secret@example.com:443").body(Body::default());
    assert_eq!(
        refused(request.unwrap()).await,
        "DEBUG tower_drain: request refused method=CONNECT path=example.com:443"
    );
}

#[tokio::test]
async fn client_text_is_truncated_and_escaped_in_the_log() {
    let request = Request::builder()
        .method("M".repeat(300_000).as_str())
        .uri(format!("/\u{202e}\u{9b}31m\u{200b}{}", "x".repeat(60_000)))
        .body(Body::default());
    let line = refused(request.unwrap()).await;
    assert!(line.len() < 300, "{} bytes", line.len());
    assert!(line.is_ascii(), "{line}");
    assert!(
        line.contains(r"path=/\u{202e}\u{9b}31m\u{200b}xxx"),
        "{line}"
    );
}
