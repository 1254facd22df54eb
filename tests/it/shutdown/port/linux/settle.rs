//! A port settles by what the kernel knows about its connections.

use std::os::fd::OwnedFd;

use super::others::{OtherProcess, shared_port};
use super::*;

#[tokio::test(start_paused = true)]
async fn an_idle_port_closes_at_once() {
    let drain = Drain::new();
    let listeners = [local(), listener("[::1]:0"), listener("[::]:0")];
    let mut shutdown = Shutdown::new(&drain, ready(Signal::Terminate));
    for listener in &listeners {
        shutdown = shutdown.listener(listener).unwrap();
    }
    let mut run = task::spawn(shutdown.run(idle));
    let report = ends(&mut run).unwrap();
    assert_eq!(report.lame_duck(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_client_of_any_family_gets_its_time() {
    for (address, client) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("[::1]:0", "::1"),
        ("[::]:0", "::1"),
        // Listed among the sockets of the other family.
        ("[::]:0", "127.0.0.1"),
    ] {
        let drain = Drain::new();
        let listener = listener(address);
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect((client, port)).unwrap();
        client.write_all(b"asks").unwrap();
        let mut server = accept(&listener);
        server.read_exact(&mut [0; 4]).unwrap();
        let mut run = terminate(&drain, &listener, endless());
        answered(&mut run);
        advance(299 * MILLISECOND).await;
        assert_pending!(run.poll());
        assert_eq!(drain.phase(), Phase::LameDuck);
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_begins_while_the_port_settles_ends_with_closing() {
    let drain = Drain::new();
    let listener = local();
    let _connection = used(&listener);
    let mut early = task::spawn(drain.goodbye());
    assert_pending!(early.poll());
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate)).lame_duck(SECOND);
    let shutdown = shutdown.listener(&listener).unwrap();
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    advance(SECOND).await;
    assert_pending!(run.poll());
    answered(&mut run);
    assert!(early.is_woken(), "the lame duck has ended");
    let mut late = task::spawn(drain.goodbye());
    assert_pending!(late.poll());
    advance(299 * MILLISECOND).await;
    assert_pending!(run.poll());
    assert_eq!(drain.phase(), Phase::LameDuck);
    assert_pending!(late.poll());
    advance(SECOND).await;
    until(&mut run, &drain, Phase::Closing).await;
    assert!(late.is_woken());
}

/// Of several, one has a connection.
#[tokio::test(start_paused = true)]
async fn all_listeners_settle() {
    let drain = Drain::new();
    let listeners = [local(), local()];
    let connection = used(&listeners[1]);
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate));
    let shutdown = shutdown.listener(&listeners[0]).unwrap();
    let shutdown = shutdown.listener(&listeners[1]).unwrap();
    let mut run = task::spawn(shutdown.run(|_| endless()));
    assert_pending!(run.poll());
    answered(&mut run);
    assert_eq!(drain.phase(), Phase::LameDuck);
    // Once it has ended, there is nothing to wait for.
    drop(connection);
    advance(299 * MILLISECOND).await;
    until(&mut run, &drain, Phase::Closing).await;
}

/// More arrives on a connection while the port settles, and `settle` passes.
async fn more_arrives<F>(run: &mut Spawn<F>, client: &mut TcpStream)
where
    F: Future<Output = Outcome>,
{
    answered(run);
    client.write_all(b"more").unwrap();
    advance(300 * MILLISECOND).await;
    assert_pending!(run.poll());
    answered(run);
}

#[tokio::test(start_paused = true)]
async fn what_has_arrived_is_read_first() {
    let drain = Drain::new();
    let listener = local();
    let (mut client, mut server) = used(&listener);
    let mut run = terminate(&drain, &listener, endless());
    more_arrives(&mut run, &mut client).await;
    advance(500 * MILLISECOND).await;
    assert_pending!(run.poll());
    answered(&mut run);
    assert_eq!(drain.phase(), Phase::LameDuck);
    server.read_exact(&mut [0; 4]).unwrap();
    advance(499 * MILLISECOND).await;
    until(&mut run, &drain, Phase::Closing).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_gets_a_second() {
    let drain = Drain::new();
    let listener = local();
    let (mut client, _server) = used(&listener);
    let mut run = terminate(&drain, &listener, endless());
    more_arrives(&mut run, &mut client).await;
    advance(999 * MILLISECOND).await;
    assert_pending!(run.poll());
    answered(&mut run);
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(MILLISECOND).await;
    // The next question is due later.
    advance(SECOND).await;
    until(&mut run, &drain, Phase::Closing).await;
}

/// Another process may never read what it gets.
#[tokio::test(start_paused = true)]
async fn a_stranger_on_the_port_delays_it_by_a_second() {
    let drain = Drain::new();
    let (listener, strangers, (mut client, server)) = shared_port();
    client.write_all(b"unread").unwrap();
    let _others = [OwnedFd::from(strangers), OwnedFd::from(server)].map(OtherProcess::with);
    let mut run = terminate(&drain, &listener, endless());
    answered(&mut run);
    advance(300 * MILLISECOND).await;
    assert_pending!(run.poll());
    answered(&mut run);
    assert_eq!(drain.phase(), Phase::LameDuck);
    advance(SECOND).await;
    until(&mut run, &drain, Phase::Closing).await;
}
