//! The port while it closes: new and existing connections. Over real sockets and on a paused clock. Tests
//! accept by hand.

#[cfg(all(target_os = "linux", not(tower_drain_other_unix)))]
mod linux;

use std::future::ready;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::task::Poll;
use std::thread;

use tokio_test::{assert_pending, assert_ready, assert_ready_ok};
use tower_drain::{Phase, Shutdown};

use super::*;

const MILLISECOND: Duration = Duration::from_millis(1);
/// No step takes longer, unless something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn listener(address: &str) -> TcpListener {
    let listener = TcpListener::bind(address).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

fn local() -> TcpListener {
    listener("127.0.0.1:0")
}

/// A connection whose first request has been read.
fn used(listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = accept(listener);
    client.write_all(b"asks").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
    (client, server)
}

/// A Unix socket, about which the kernel cannot be asked.
fn unix(folder: &tempfile::TempDir) -> (UnixListener, PathBuf) {
    let path = folder.path().join("socket");
    (UnixListener::bind(&path).unwrap(), path)
}

/// Polls until the shutdown has ended. The clock does not move.
#[track_caller]
fn ends<F: Future<Output = Outcome>>(run: &mut Spawn<F>) -> Outcome {
    let start = std::time::Instant::now();
    loop {
        if let Poll::Ready(outcome) = run.poll() {
            return outcome;
        }
        assert!(start.elapsed() < PATIENCE, "it does not end");
        thread::yield_now();
    }
}

/// A shutdown that has just started, of a server on this listener.
fn terminate<L: AsFd, S>(
    drain: &Drain,
    listener: &L,
    server: S,
) -> Spawn<impl Future<Output = Outcome> + use<L, S>>
where
    S: Future<Output = io::Result<()>>,
{
    let shutdown = Shutdown::new(drain, ready(Signal::Terminate));
    let shutdown = shutdown.listener(listener).unwrap().flush(Duration::ZERO);
    let mut run = task::spawn(shutdown.run(|_| server));
    assert_pending!(run.poll());
    assert!(drain.phase() >= Phase::LameDuck);
    run
}

/// Asserts that a new connection is answered, and accepts it.
#[track_caller]
fn assert_answered(listener: &TcpListener) {
    let address = listener.local_addr().unwrap();
    TcpStream::connect_timeout(&address, PATIENCE).expect("an answer");
    accept(listener);
}

fn accept(listener: &TcpListener) -> TcpStream {
    let start = std::time::Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(start.elapsed() < PATIENCE, "nothing to accept");
        thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_is_asked_to_close_after_the_port_has_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, _) = unix(&folder);
    let drain = Drain::new();
    let mut run = terminate(&drain, &listener, endless());
    advance(299 * MILLISECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(MILLISECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
    advance(SECOND).await;
    let report = assert_ready_ok!(run.poll());
    assert_eq!(report.lame_duck(), 300 * MILLISECOND);
}

#[tokio::test(start_paused = true)]
async fn it_settles_after_the_lame_duck() {
    let drain = Drain::new();
    let listener = local();
    let _connection = used(&listener);
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate))
        .listener(&listener)
        .unwrap()
        .lame_duck(2 * SECOND)
        .settle(SECOND);
    let mut run = task::spawn(shutdown.run(idle));
    assert_pending!(run.poll());
    advance(SECOND).await;
    assert_pending!(run.poll());
    assert_answered(&listener);
    advance(SECOND).await;
    assert_pending!(run.poll());
    #[cfg(all(target_os = "linux", not(tower_drain_other_unix)))]
    linux::assert_silent(listener.local_addr().unwrap());
    advance(SECOND).await;
    assert_eq!(ends(&mut run).unwrap().lame_duck(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_does_not_wait_for_it() {
    let drain = Drain::new();
    let listener = local();
    let _connection = used(&listener);
    let _waits = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).listener(&listener);
    let mut run = task::spawn(shutdown.unwrap().run(idle));
    assert_eq!(ends(&mut run).unwrap().lame_duck(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn waiting_connections_are_accepted_before_the_server_is_asked_to_close() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = unix(&folder);
    let _client = UnixStream::connect(path).unwrap();
    let drain = Drain::new();
    let mut run = terminate(&drain, &listener, endless());
    for _ in 0..9 {
        advance(100 * MILLISECOND).await;
        assert_pending!(run.poll());
    }
    assert_eq!(drain.phase(), Phase::LameDuck, "one is in the queue");
    listener.accept().unwrap();
    advance(5 * MILLISECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_accept_gets_one_second() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = unix(&folder);
    let _client = UnixStream::connect(path).unwrap();
    let drain = Drain::new();
    let mut run = terminate(&drain, &listener, endless());
    advance(300 * MILLISECOND).await;
    assert_pending!(run.poll());
    advance(999 * MILLISECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(5 * MILLISECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
}

#[tokio::test(start_paused = true)]
async fn force_ends_it_at_once() {
    let drain = Drain::new();
    let (force, forced) = oneshot::channel::<()>();
    let listener = local();
    // Without a connection, the port settles as soon as the kernel has answered.
    let _connection = used(&listener);
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate))
        .listener(&listener)
        .unwrap()
        .force_on(forced)
        .settle(Duration::MAX);
    let mut run = task::spawn(shutdown.run(idle));
    assert_pending!(run.poll());
    force.send(()).unwrap();
    let outcome = assert_ready!(run.poll());
    assert!(matches!(outcome, Err(ShutdownError::Forced(_))));
    assert_answered(&listener);
}

#[tokio::test(start_paused = true)]
async fn it_is_left_alone_once_something_else_has_closed_the_drain() {
    let drain = Drain::new();
    let listener = local();
    let _connection = used(&listener);
    let shutdown = Shutdown::new(&drain, pending::<()>()).listener(&listener);
    let mut run = task::spawn(shutdown.unwrap().run(idle));
    assert_pending!(run.poll());
    drain.close();
    assert_eq!(ends(&mut run).unwrap().lame_duck(), Duration::ZERO);
    // While it settles, too.
    let drain = Drain::new();
    let mut run = terminate(&drain, &listener, until_drained(drain.clone()));
    drain.start_draining();
    ends(&mut run).unwrap();
    // And if the server has ended.
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, pending::<()>()).listener(&listener);
    let mut run = task::spawn(shutdown.unwrap().run(|_| ready(())));
    ends(&mut run).unwrap();
}

/// As Go does. A client that comes later gets an error at once, instead of a connection that is reset.
#[tokio::test(start_paused = true)]
async fn the_path_of_a_unix_socket_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = unix(&folder);
    let _waits = UnixStream::connect(&path).unwrap();
    let _run = terminate(&Drain::new(), &listener, endless());
    let error = UnixStream::connect(&path).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    listener.accept().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_path_that_somebody_else_has_taken_over_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = unix(&folder);
    let drain = Drain::new();
    let (on, send) = signal();
    let shutdown = Shutdown::new(&drain, on).listener(&listener).unwrap();
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    std::fs::remove_file(&path).unwrap();
    let next = UnixListener::bind(&path).unwrap();
    send.send(Signal::Terminate).unwrap();
    assert_pending!(run.poll());
    let _client = UnixStream::connect(&path).unwrap();
    next.accept().unwrap();
    // It may also be gone.
    let (on, send) = signal();
    let shutdown = Shutdown::new(&Drain::new(), on).listener(&next).unwrap();
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    std::fs::remove_file(&path).unwrap();
    send.send(Signal::Terminate).unwrap();
    assert_pending!(run.poll());
}

/// Without a filter, a duplicate would make the kernel accept connections for a server that has ended.
#[tokio::test(start_paused = true)]
async fn a_port_without_a_filter_closes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, path) = unix(&folder);
    // Not removed, because it is not this path to which the socket was bound.
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    let drain = Drain::new();
    let mut run = terminate(&drain, &listener, endless());
    UnixStream::connect(&elsewhere).unwrap();
    drop(listener);
    advance(300 * MILLISECOND).await;
    assert_pending!(run.poll());
    advance(SECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::Closing);
    UnixStream::connect(&elsewhere).unwrap_err();
}

#[test]
fn a_descriptor_that_does_not_listen_is_an_error() {
    let listener = local();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = tempfile::tempfile().unwrap();
    let refused = |descriptor: std::os::fd::BorrowedFd<'_>| {
        let shutdown = Shutdown::new(&Drain::new(), pending::<()>());
        shutdown.listener(&descriptor).unwrap_err()
    };
    assert_eq!(
        refused(datagrams.as_fd()).kind(),
        io::ErrorKind::InvalidInput
    );
    refused(file.as_fd());
    if cfg!(all(target_os = "linux", not(tower_drain_other_unix))) {
        let error = refused(client.as_fd());
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "not a stream socket that listens");
    }
}
