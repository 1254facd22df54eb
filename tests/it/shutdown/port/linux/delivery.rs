//! The end of a shutdown is delivery: the peers' kernels have what they were sent.

use std::net::Shutdown as Direction;
use std::os::fd::OwnedFd;

use super::others::{OtherProcess, shared_port};
use super::*;

/// A server has sent more than its client takes, and has closed the connection.
fn undelivered(listener: &TcpListener) -> TcpStream {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // The rest stays with the server's kernel.
    client.set_recv_buffer_size(1 << 16).unwrap();
    client
        .connect(&listener.local_addr().unwrap().into())
        .unwrap();
    let client = TcpStream::from(client);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut server = accept(listener);
    server.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    while server.write(&chunk).is_ok() {}
    client
}

fn read_to_end(mut client: TcpStream) {
    std::io::copy(&mut client, &mut std::io::sink()).unwrap();
}

/// A shutdown whose server has ended.
async fn ended<L: AsFd>(listener: &L) -> Spawn<impl Future<Output = Outcome> + use<L>> {
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Interrupt)).listener(listener);
    let mut run = task::spawn(shutdown.unwrap().run(idle));
    assert_pending!(run.poll());
    answered(&mut run);
    run
}

/// Lets time pass until it ends, and returns how much.
async fn time_to_end<F: Future<Output = Outcome>>(
    run: &mut Spawn<F>,
) -> (Duration, ShutdownReport) {
    let start = Instant::now();
    loop {
        if let Poll::Ready(outcome) = run.poll() {
            return (start.elapsed(), outcome.unwrap());
        }
        assert!(start.elapsed() < 100 * SECOND, "it never ends");
        // For the kernel's answer.
        thread::sleep(MILLISECOND);
        advance(10 * MILLISECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_waited_for() {
    let listener = local();
    let client = undelivered(&listener);
    let mut run = ended(&listener).await;
    advance(4 * SECOND).await;
    assert_pending!(run.poll());
    answered(&mut run);
    read_to_end(client);
    let (took, report) = time_to_end(&mut run).await;
    assert!(took < SECOND, "{took:?}");
    assert_eq!(report.ended_after(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_asleep_costs_flush_and_no_error() {
    let listener = local();
    let _client = undelivered(&listener);
    let mut run = ended(&listener).await;
    let (took, report) = time_to_end(&mut run).await;
    assert!((5 * SECOND..6 * SECOND).contains(&took), "{took:?}");
    assert_eq!(report.ended_after(), Some(Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_now_and_then_is_waited_for() {
    let listener = local();
    let mut client = undelivered(&listener);
    let mut run = ended(&listener).await;
    // Enough for the kernel to announce a larger window.
    let mut part = vec![0; 1 << 19];
    for _ in 0..3 {
        advance(4 * SECOND).await;
        assert_pending!(run.poll());
        answered(&mut run);
        client.read_exact(&mut part).unwrap();
        // Until more has arrived.
        client.peek(&mut [0]).unwrap();
        advance(SECOND / 2).await;
        assert_pending!(run.poll());
        answered(&mut run);
    }
    read_to_end(client);
    time_to_end(&mut run).await;
}

/// The end of the stream is no byte that somebody waits for.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_stream_alone_is_not_waited_for() {
    let listener = local();
    let (client, server) = used(&listener);
    client.shutdown(Direction::Write).unwrap();
    drop(server);
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Interrupt)).listener(&listener);
    let mut run = task::spawn(shutdown.unwrap().run(idle));
    ends(&mut run).unwrap();
}

#[tokio::test(start_paused = true)]
async fn force_ends_it() {
    let drain = Drain::new();
    let listener = local();
    let _client = undelivered(&listener);
    let (force, forced) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, ready(Signal::Interrupt)).force_on(forced);
    let mut run = task::spawn(shutdown.listener(&listener).unwrap().run(idle));
    assert_pending!(run.poll());
    answered(&mut run);
    force.send(()).unwrap();
    let outcome = assert_ready!(run.poll());
    assert!(matches!(outcome, Err(ShutdownError::Forced(left)) if left.in_flight() == 0));
}

#[tokio::test(start_paused = true)]
async fn the_timeout_bounds_it() {
    let listener = local();
    let _client = undelivered(&listener);
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Interrupt)).listener(&listener);
    let shutdown = shutdown.unwrap().flush(Duration::MAX).timeout(10 * SECOND);
    let mut run = task::spawn(shutdown.run(idle));
    let (took, _) = time_to_end(&mut run).await;
    assert!((10 * SECOND..11 * SECOND).contains(&took), "{took:?}");
}

/// Another process that listens on the port may always be busy.
#[tokio::test(start_paused = true)]
async fn the_connections_of_others_are_not_waited_for() {
    let (ours, theirs, (_client, server)) = shared_port();
    server.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    while (&server).write(&chunk).is_ok() {}
    let _others = [OwnedFd::from(theirs), OwnedFd::from(server)].map(OtherProcess::with);
    let shutdown = Shutdown::new(&Drain::new(), ready(Signal::Interrupt)).listener(&ours);
    let mut run = task::spawn(shutdown.unwrap().run(idle));
    ends(&mut run).unwrap();
}
