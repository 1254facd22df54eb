//! The shutdown sequence from outside: a server process, with one difficulty per test. Checks responses, logs
//! and exit codes.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use crate::process::{PATIENCE, Process, answer, more_files, read_by_the_server};

const ENDLESS: &str = "3600";

fn server(env: &[(&str, &str)]) -> Process {
    Process::start("test_server", env)
}

fn send(mut stream: &TcpStream, what: &str) {
    stream.write_all(what.as_bytes()).unwrap();
}

/// Sends a request on a new connection.
fn get(server: &Process, path: &str) -> TcpStream {
    let stream = server.connect();
    send(
        &stream,
        &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"),
    );
    stream
}

/// A request whose handler is running.
fn running(server: &mut Process, path: &str) -> TcpStream {
    let stream = get(server, path);
    server.logged(&format!("runs {path}"));
    stream
}

/// A request that is answered, on a connection that is kept alive.
fn kept_alive(server: &Process) -> TcpStream {
    let mut stream = get(server, "/");
    let mut seen = String::new();
    while !seen.ends_with("hello") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0].into());
    }
    assert!(seen.starts_with("HTTP/1.1 200 OK\r\n"), "{seen}");
    assert!(!seen.contains("connection: close"), "{seen}");
    stream
}

#[test]
fn requests_in_flight_at_the_signal_are_answered() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = server(&[]);
        let stream = running(&mut server, "/closing");
        server.signal(signal);
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
        server.exit().with(0).said("in_flight_at_close: 1");
    }
}

#[test]
fn a_request_over_the_deadline_is_a_failure() {
    let mut server = server(&[("TIMEOUT", "0.3")]);
    let _stream = running(&mut server, "/never");
    server.signal(SIGTERM);
    server.exit().with(1).said("1 still in flight");
}

#[test]
fn an_idle_connection_is_closed_at_once() {
    let server = server(&[("TIMEOUT", ENDLESS)]);
    let stream = kept_alive(&server);
    server.signal(SIGTERM);
    assert_eq!(answer(stream), "");
    server.exit().with(0);
}

#[test]
fn a_connection_that_never_sent_a_byte_is_closed_at_once() {
    let server = server(&[("TIMEOUT", ENDLESS)]);
    let stream = server.connect();
    // The server accepts in order: once this request is answered, it has accepted the other connection.
    kept_alive(&server);
    server.signal(SIGTERM);
    assert_eq!(answer(stream), "");
    server.exit().with(0);
}

#[test]
fn half_a_head_is_waited_for_and_is_no_request() {
    let server = server(&[("TIMEOUT", ENDLESS), ("FLUSH", "0.3")]);
    let stream = server.connect();
    send(&stream, "GET / HTTP/1.1\r\nHost: he");
    read_by_the_server(&stream);
    server.signal(SIGTERM);
    let exited = server.exit().with(0);
    let warning = &exited.log[exited.said("connections were still open: abandoned")];
    assert!(warning.ends_with(" connections=1"), "{warning}");
    assert_eq!(answer(stream), "");
}

#[test]
fn a_chunked_response_goes_on_across_the_signal() {
    let mut server = server(&[]);
    let stream = running(&mut server, "/chunks");
    server.signal(SIGTERM);
    let answer = answer(stream);
    assert!(answer.contains("transfer-encoding: chunked"), "{answer}");
    let body = "\r\n\r\n6\r\nfirst,\r\n4\r\nlast\r\n0\r\n\r\n";
    assert!(answer.ends_with(body), "{answer}");
    server.exit().with(0);
}

#[test]
fn a_slow_reader_gets_all_of_it() {
    let mut server = server(&[("TIMEOUT", ENDLESS)]);
    let stream = running(&mut server, "/big");
    server.signal(SIGTERM);
    // Nothing has been read so far, and 64 MiB are more than the kernel buffers.
    server.logged("closing ");
    let answer = answer(stream);
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 64 << 20);
    server.exit().with(0);
}

#[test]
fn a_reader_that_stops_is_a_failure_and_never_a_short_success() {
    let mut server = server(&[("TIMEOUT", "0.3")]);
    let stream = running(&mut server, "/big");
    server.signal(SIGTERM);
    server.exit().with(1).said("drain timed out");
    assert!(answer(stream).len() < 64 << 20);
}

#[test]
fn an_endless_stream_is_over_the_deadline() {
    let mut server = server(&[("TIMEOUT", "0.3")]);
    let stream = running(&mut server, "/sse");
    server.signal(SIGTERM);
    server.exit().with(1).said("1 still in flight");
    assert!(answer(stream).contains("data: tick"));
}

#[test]
fn requests_over_the_deadline_are_named_cancelled_and_answered() {
    let mut server = server(&[("TIMEOUT", "0.3"), ("TRACK", "1")]);
    let never = running(&mut server, "/never");
    let endless = running(&mut server, "/sse");
    // A client that does not read gets no answer: hyper's buffer comes first.
    let _big = running(&mut server, "/big");
    server.signal(SIGTERM);
    let exited = server.exit().with(1);
    let named = &exited.log[exited.said("exit: drain timed out")];
    assert!(named.contains("GET /never (handler, "), "{named}");
    assert!(named.contains("GET /sse (body, "), "{named}");
    let refused = answer(never);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("connection: close\r\n"), "{refused}");
    let cut = answer(endless);
    assert!(cut.contains("data: tick"), "{cut}");
    assert!(!cut.ends_with("0\r\n\r\n"), "it looks complete");
}

/// A request whose head is incomplete when the server is asked to close. hyper lets it finish.
fn begun(server: &Process) -> TcpStream {
    let stream = server.connect();
    send(&stream, "GET / HTTP/1.1\r\nHost: he");
    read_by_the_server(&stream);
    stream
}

#[test]
fn a_request_that_arrives_while_closing_is_served() {
    let mut server = server(&[("TIMEOUT", ENDLESS), ("CLOSING", ENDLESS)]);
    let begun = begun(&server);
    server.signal(SIGTERM);
    server.logged("closing ");
    send(&begun, "re\r\n\r\n");
    let served = answer(begun);
    assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
    assert!(served.contains("connection: close\r\n"), "{served}");
    server.exit().with(0).said("refused: 0");
}

#[test]
fn a_request_that_arrives_while_draining_is_refused() {
    let mut server = server(&[("TIMEOUT", ENDLESS), ("CLOSING", "0.05")]);
    let begun = begun(&server);
    let running = running(&mut server, "/refused");
    server.signal(SIGTERM);
    server.logged("draining ");
    send(&begun, "re\r\n\r\n");
    let refused = answer(begun);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("connection: close\r\n"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    assert!(refused.contains("cache-control: no-store\r\n"), "{refused}");
    assert!(answer(running).ends_with("\r\n\r\ndone"));
    server.exit().with(0).said("refused: 1");
}

#[test]
fn an_early_signal_takes_effect_when_the_server_runs() {
    for signal in [SIGTERM, SIGINT] {
        // The signal arrives during start-up, which takes longer than this test needs to send it.
        let server = server(&[("STARTUP", "0.3"), ("TIMEOUT", ENDLESS)]);
        server.signal(signal);
        let exited = server.exit().with(0);
        exited.said("shutdown started");
        exited.said("drained ");
    }
}

#[test]
fn a_signal_that_is_sent_twice_does_not_force() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = server(&[("TIMEOUT", ENDLESS)]);
        let stream = running(&mut server, "/closing");
        for _ in 0..2 {
            server.signal(signal);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(answer(stream).ends_with("\r\n\r\ndone"));
        server.exit().with(0);
    }
}

#[test]
fn a_second_terminate_never_forces() {
    let mut server = server(&[("TIMEOUT", "1"), ("CLOSING", "0")]);
    let _stream = running(&mut server, "/never");
    server.signal(SIGTERM);
    server.logged("draining ");
    server.signal(SIGTERM);
    server.exit().with(1).said("drain timed out");
}

#[test]
fn five_thousand_idle_connections_are_closed_within_a_second() {
    const EACH: usize = 2_500;
    // One each here and one in the server.
    more_files(2 * EACH as u64 + 200);
    // The second is the server's deadline, not this test's.
    let server = server(&[("TIMEOUT", "1")]);
    // One after the other: a response means that the server has accepted the earlier connections.
    let idle: Vec<_> = (0..EACH)
        .map(|_| (server.connect(), kept_alive(&server)))
        .collect();
    server.signal(SIGTERM);
    server.exit().with(0);
    drop(idle);
}

#[test]
fn a_lame_duck_serves_until_the_balancer_has_noticed() {
    let mut server = server(&[("LAME_DUCK", ENDLESS), ("QUIET", "0.1")]);
    server.signal(SIGTERM);
    server.logged("entering lame duck");
    let served = answer(get(&server, "/"));
    assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
    assert!(served.contains("connection: close\r\n"), "{served}");
    let probe = answer(get(&server, "/readyz"));
    assert!(probe.starts_with("HTTP/1.1 503 "), "{probe}");
    let exited = server.exit().with(0);
    assert!(exited.said("entering lame duck") < exited.said("closing "));
    assert!(exited.said("closing ") < exited.said("draining "));
    assert!(exited.said("draining ") < exited.said("drained "));
}

#[test]
fn a_port_that_settles_answers_no_new_connection_until_the_server_has_ended() {
    let mut server = server(&[("SETTLE", "0.5")]);
    let address = server.address;
    // Without a connection, the port settles at once.
    let _idle = server.connect();
    server.signal(SIGTERM);
    server.logged("settling the port");
    // The kernel tries again after a second.
    let refused = TcpStream::connect_timeout(&address, PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.exit().with(0);
}

/// The filter would be on the supervisor's socket too.
#[test]
fn a_socket_that_systemd_has_passed_gets_no_filter() {
    let systemd = [("SETTLE", ENDLESS)];
    // systemfd sets no process, and may begin with another descriptor.
    let systemfd = [systemd[0], ("LISTEN_PID", ""), ("LISTEN_FDS_FIRST_FD", "7")];
    for env in [&systemd[..], &systemfd] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut server = Process::start_with_socket("test_server", &socket, env);
        // Without a connection, the port settles at once.
        let _idle = server.connect();
        server.signal(SIGTERM);
        // Logged once the filter would be attached.
        server.logged("settling the port");
        let served = answer(get(&server, "/"));
        assert!(served.contains("connection: close\r\n"), "{served}");
    }
}

#[test]
fn silent_connections_do_not_fail_a_shutdown_with_flush() {
    let mut server = server(&[("FLUSH", "0.2"), ("CLOSING", "0.2"), ("TIMEOUT", ENDLESS)]);
    let half_a_head = server.connect();
    send(&half_a_head, "GET / HTTP/1.1\r\nHost:");
    let half_a_preface = server.connect();
    send(&half_a_preface, "PRI * HTTP/2.0\r\n");
    for stream in [&half_a_head, &half_a_preface] {
        read_by_the_server(stream);
    }
    server.signal(SIGTERM);
    server.logged("connections were still open: abandoned");
    server.exit().with(0).said("ended_after: None");
}

#[test]
fn an_interrupt_has_no_lame_duck() {
    let server = server(&[("LAME_DUCK", ENDLESS)]);
    server.signal(SIGINT);
    let exited = server.exit().with(0);
    assert!(!exited.log.iter().any(|line| line.contains("lame duck")));
}

#[test]
fn a_later_interrupt_ends_the_lame_duck_and_the_drain() {
    let lame_duck = server(&[("LAME_DUCK", ENDLESS)]);
    let mut draining = server(&[("TIMEOUT", ENDLESS), ("CLOSING", "0.2")]);
    let _stream = running(&mut draining, "/never");
    for (mut server, begins, closing) in [
        (lame_duck, "entering lame duck", false),
        (draining, "draining ", true),
    ] {
        server.signal(SIGTERM);
        server.logged(begins);
        if !closing {
            // An interrupt within 100 ms of the first signal counts as the same signal.
            std::thread::sleep(std::time::Duration::from_millis(150));
        }
        server.signal(SIGINT);
        server.exit().with(1).said("forced to stop");
    }
}
