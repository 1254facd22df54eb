//! The filter of a port that settles.

use super::*;

#[tokio::test(start_paused = true)]
async fn new_handshakes_get_no_answer_while_the_port_settles() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = listener(address);
        let _connection = used(&listener);
        let _run = terminate(&Drain::new(), &listener, endless());
        assert_silent(listener.local_addr().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn all_listeners_are_filtered() {
    let listeners = [local(), local()];
    let _connection = used(&listeners[0]);
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Terminate));
    let shutdown = shutdown.listener(&listeners[0]).unwrap();
    let mut run = task::spawn(shutdown.listener(&listeners[1]).unwrap().run(idle));
    assert_pending!(run.poll());
    for listener in &listeners {
        assert_silent(listener.local_addr().unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_open_is_not_affected() {
    use std::io::{Read, Write};

    let listener = local();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let _run = terminate(&Drain::new(), &listener, endless());
    let mut server = accept(&listener);
    client.write_all(b"asks").unwrap();
    let mut buffer = [0; 4];
    server.read_exact(&mut buffer).unwrap();
    server.write_all(b"said").unwrap();
    client.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"said");
}

/// The kernel of a client without an answer tries again.
#[tokio::test(start_paused = true)]
async fn a_client_without_an_answer_reaches_the_next_listener() {
    let listener = local();
    let run = terminate(&Drain::new(), &listener, endless());
    let client = connecting(listener.local_addr().unwrap());
    assert!(!is_connected(&client));
    drop(run);
    accept(&listener);
    assert!(is_connected(&client));
}

#[tokio::test(start_paused = true)]
async fn it_stays_until_the_server_has_ended() {
    let drain = Drain::new();
    let listener = local();
    let (server, end) = server();
    let mut run = terminate(&drain, &listener, server);
    until(&mut run, &drain, Phase::Closing).await;
    assert_silent(listener.local_addr().unwrap());
    end.send(Ok(())).unwrap();
    ends(&mut run).unwrap();
    assert_answered(&listener);
}

/// tonic keeps its listener until its last connection has ended.
#[tokio::test(start_paused = true)]
async fn it_stays_while_the_server_has_its_descriptor_open() {
    let drain = Drain::new();
    let listener = local();
    let _permit = drain.try_acquire().unwrap();
    let mut run = terminate(&drain, &listener, endless());
    until(&mut run, &drain, Phase::Closing).await;
    for _ in 0..20 {
        advance(SECOND).await;
        assert_pending!(run.poll());
    }
    assert_eq!(drain.phase(), Phase::Draining);
    assert_silent(listener.local_addr().unwrap());
}

#[tokio::test(start_paused = true)]
async fn it_stays_while_cancelled_requests_are_answered() {
    let drain = Drain::new();
    let listener = local();
    let _stuck = stuck(&drain);
    let shutdown = Shutdown::new(&drain, ready(Signal::Terminate)).timeout(SECOND);
    let mut run = task::spawn(shutdown.listener(&listener).unwrap().run(|_| endless()));
    until(&mut run, &drain, Phase::Closing).await;
    for _ in 0..17 {
        advance(SECOND / 10).await;
        assert_pending!(run.poll());
    }
    assert_silent(listener.local_addr().unwrap());
}

/// Other descriptors of the socket do not belong to the server.
#[tokio::test(start_paused = true)]
async fn it_goes_with_the_descriptor_of_the_server() {
    let drain = Drain::new();
    let listener = local();
    let other = listener.try_clone().unwrap();
    let mut run = terminate(&drain, &listener, endless());
    until(&mut run, &drain, Phase::Closing).await;
    assert_silent(other.local_addr().unwrap());
    drop(listener);
    // The number may belong to another socket by then.
    let _reused = local();
    assert_pending!(run.poll());
    assert_answered(&other);
}

/// The server may close it in a task of its own, which does not wake this one.
#[tokio::test(start_paused = true)]
async fn it_is_looked_at_each_millisecond() {
    let drain = Drain::new();
    let listener = local();
    let other = listener.try_clone().unwrap();
    let mut run = terminate(&drain, &listener, endless());
    until(&mut run, &drain, Phase::Closing).await;
    for (passed, interval) in [(0, 1), (98, 1)] {
        advance(passed * MILLISECOND).await;
        assert_pending!(run.poll());
        advance(interval * MILLISECOND).await;
        assert!(run.is_woken(), "after {passed} ms");
    }
    drop((listener, other));
}

#[tokio::test(start_paused = true)]
async fn it_goes_when_the_shutdown_is_dropped() {
    let listener = local();
    let run = terminate(&Drain::new(), &listener, endless());
    assert_silent(listener.local_addr().unwrap());
    drop(run);
    assert_answered(&listener);
}

#[tokio::test(start_paused = true)]
async fn a_port_whose_descriptors_are_closed_refuses() {
    let listener = local();
    let address = listener.local_addr().unwrap();
    let drain = Drain::new();
    let mut run = terminate(&drain, &listener, endless());
    drop(listener);
    until(&mut run, &drain, Phase::Closing).await;
    assert_pending!(run.poll());
    let refused = TcpStream::connect_timeout(&address, PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}
