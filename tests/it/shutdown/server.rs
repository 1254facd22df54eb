//! Servers that end by themselves, fail, or return nothing.

use std::error::Error;
use std::future::{pending, ready};

use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_by_itself_ends_the_shutdown() {
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, pending::<Signal>());
    let mut run = task::spawn(shutdown.run(|_| ready(io::Result::Ok(()))));
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.signal(), None);
    assert_eq!(report.ended_after(), Some(Duration::ZERO));
    assert_eq!(drain.phase(), Phase::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_server_may_return_nothing_or_any_error() {
    let drain = Drain::new();
    let shutdown = || Shutdown::new(&drain, pending::<()>());
    shutdown().run(|_| async {}).await.unwrap();
    shutdown()
        .run(|_| ready(Ok::<_, String>(())))
        .await
        .unwrap();
    shutdown()
        .run(|_| ready(Ok::<_, std::convert::Infallible>(())))
        .await
        .unwrap();
    let boxed: Result<(), Box<dyn Error + Send + Sync>> = Err("broken".into());
    let error = shutdown().run(|_| ready(boxed)).await.unwrap_err();
    assert_eq!(error.to_string(), "server failed: broken");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_work_that_the_server_has_left() {
    for fails in [false, true] {
        let drain = Drain::new();
        let permit = drain.try_acquire().unwrap();
        let (server, end) = server();
        let shutdown = Shutdown::new(&drain, pending::<Signal>()).lame_duck(SECOND);
        let mut run = task::spawn(shutdown.run(|_| server));
        assert_pending!(run.poll());
        let result = if fails {
            Err(io::Error::other("no more files"))
        } else {
            Ok(())
        };
        end.send(result).unwrap();
        assert_pending!(run.poll());
        assert_eq!(
            drain.phase(),
            Phase::Draining,
            "no lame duck, and no closing"
        );
        drop(permit);
        let outcome = assert_ready!(run.poll());
        if fails {
            let error = outcome.unwrap_err();
            assert_eq!(error.to_string(), "server failed: no more files");
            assert!(matches!(error, ShutdownError::Server(_)));
        } else {
            assert_eq!(outcome.unwrap().in_flight_at_close(), 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_takes_precedence_over_a_timeout() {
    let drain = Drain::new();
    let _job = drain.try_acquire().unwrap();
    let shutdown = Shutdown::new(&drain, pending::<Signal>()).timeout(SECOND);
    let run = shutdown.run(|_| async { Err(io::Error::other("torn")) });
    let error = run.await.unwrap_err();
    assert!(matches!(error, ShutdownError::Server(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_fails_during_the_lame_duck_ends_it() {
    let drain = Drain::new();
    let (server, end) = server();
    let shutdown = Shutdown::new(&drain, ready(())).lame_duck(SECOND);
    let mut run = task::spawn(shutdown.run(|_| server));
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    end.send(Err(io::Error::other("torn"))).unwrap();
    assert!(run.is_woken());
    let error = assert_ready_err!(run.poll());
    assert!(matches!(error, ShutdownError::Server(_)));
}

#[derive(Debug)]
struct Caused(io::Error);

impl std::fmt::Display for Caused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no port")
    }
}

impl Error for Caused {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn the_source_of_an_error_does_not_repeat_its_words() {
    let error = ShutdownError::Server("broken".into());
    assert_eq!(error.to_string(), "server failed: broken");
    assert!(error.source().is_none());
    let error = ShutdownError::Server(Box::new(Caused(io::Error::other("taken"))));
    assert_eq!(error.to_string(), "server failed: no port");
    assert_eq!(error.source().unwrap().to_string(), "taken");
}

#[tokio::test(start_paused = true)]
async fn an_error_converts_into_the_errors_that_main_returns() {
    let timed_out = async || {
        let drain = Drain::new();
        let _job = drain.try_acquire().unwrap();
        let shutdown = Shutdown::new(&drain, ready(())).timeout(SECOND);
        shutdown.run(idle).await.unwrap_err()
    };
    let io = io::Error::from(timed_out().await);
    assert_eq!(io.kind(), io::ErrorKind::TimedOut);
    assert_eq!(
        io.to_string(),
        "drain timed out: 1 still in flight after 1.0s"
    );
    let boxed: Box<dyn Error + Send + Sync> = timed_out().await.into();
    assert!(boxed.is::<ShutdownError>());

    // An I/O error of the server comes back as it was.
    let inner = io::Error::new(io::ErrorKind::AddrInUse, "taken");
    let io = io::Error::from(ShutdownError::Server(inner.into()));
    assert_eq!(
        (io.kind(), io.to_string()),
        (io::ErrorKind::AddrInUse, "taken".into())
    );
    let other = io::Error::from(ShutdownError::Server("broken".into()));
    assert_eq!(other.to_string(), "server failed: broken");
}
