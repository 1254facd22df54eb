//! The shutdown sequence from outside: a server as a process of its own, one difficulty each, and how
//! it ends: what its clients get, what it says, and its exit code.

#![cfg(target_os = "linux")]
#![allow(missing_docs)]

mod process;

use std::io::{Read, Write};
use std::net::TcpStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal::{SIGINT, SIGTERM};

use process::{Process, answer, read_by_the_server};

const ENDLESS: &str = "3600";

fn server(env: &[(&str, &str)]) -> Process {
    Process::start("test_server", env)
}

fn send(mut stream: &TcpStream, what: &str) {
    stream.write_all(what.as_bytes()).unwrap();
}

/// A request, on a connection of its own.
fn get(server: &Process, path: &str) -> TcpStream {
    let stream = server.connect();
    send(
        &stream,
        &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"),
    );
    stream
}

/// A request whose handler runs.
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
fn what_is_in_flight_at_the_signal_is_answered() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = server(&[]);
        let stream = running(&mut server, "/draining");
        server.signal(signal);
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\ndone"), "{answer}");
        server.exit().with(0).said("in_flight_at_start: 1");
    }
}

#[test]
fn what_is_over_the_deadline_is_a_failure() {
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
    // The server accepts in order: with this one answered, it has the other.
    kept_alive(&server);
    server.signal(SIGTERM);
    assert_eq!(answer(stream), "");
    server.exit().with(0);
}

#[test]
fn half_a_head_is_waited_for_and_told_from_a_request() {
    let server = server(&[("TIMEOUT", "0.3")]);
    let stream = server.connect();
    send(&stream, "GET / HTTP/1.1\r\nHost: he");
    read_by_the_server(&stream);
    server.signal(SIGTERM);
    let exited = server.exit().with(1);
    exited.said("no request in flight, but connections still open");
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
    // Nothing has been read so far, and 64 MiB are more than the kernel keeps for it.
    server.logged("draining: ");
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
fn what_is_over_the_deadline_is_named_cancelled_and_answered() {
    let mut server = server(&[("TIMEOUT", "0.3"), ("TRACK", "1")]);
    let never = running(&mut server, "/never");
    let endless = running(&mut server, "/sse");
    // A reader that stops cannot be told: what hyper has in its buffer comes first.
    let _big = running(&mut server, "/big");
    server.signal(SIGTERM);
    let exited = server.exit().with(1);
    let named = &exited.log[exited.said("exit: drain timed out after ")];
    assert!(named.contains("GET /never (handler, "), "{named}");
    assert!(named.contains("GET /sse (body, "), "{named}");
    let refused = answer(never);
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("connection: close\r\n"), "{refused}");
    let cut = answer(endless);
    assert!(cut.contains("data: tick"), "{cut}");
    assert!(!cut.ends_with("0\r\n\r\n"), "it looks complete");
}

#[test]
fn a_newcomer_is_not_served_while_another_request_runs() {
    let mut server = server(&[("TIMEOUT", ENDLESS)]);
    // hyper lets the first head of a connection finish when it has begun; then it is the layer's.
    let begun = server.connect();
    send(&begun, "GET / HTTP/1.1\r\nHost: he");
    read_by_the_server(&begun);
    let kept_alive = kept_alive(&server);
    let running = running(&mut server, "/refused");
    server.signal(SIGTERM);
    server.logged("draining: ");

    // hyper closes a connection that is kept alive, when its task has been told of the drain; the layer
    // refuses who comes before that. A write that fails has met the closing.
    let _ = (&kept_alive).write_all(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n");
    send(&begun, "re\r\n\r\n");
    let newcomers = [answer(kept_alive), answer(begun)];
    assert!(!newcomers[1].is_empty());
    let refused: Vec<_> = newcomers.iter().filter(|it| !it.is_empty()).collect();
    for refused in &refused {
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        assert!(refused.contains("connection: close\r\n"), "{refused}");
        assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    }
    assert!(answer(running).ends_with("\r\n\r\ndone"));
    let exited = server.exit().with(0);
    exited.said(&format!("refused: {}", refused.len()));
}

#[test]
fn five_thousand_idle_connections_are_closed_within_a_second() {
    const EACH: usize = 2_500;
    // A file each here, and one in the server, which inherits the limit.
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let wanted = 2 * EACH as u64 + 200;
    assert!(
        hard >= wanted,
        "this takes {wanted} files, and {hard} may be open"
    );
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(wanted), hard).unwrap();
    // That second is the server's own deadline, and not this test's.
    let server = server(&[("TIMEOUT", "1")]);
    // In turn: an answer means that the server has accepted those before, so that none waits in a queue.
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
    server.logged("lame duck: ");
    let served = answer(get(&server, "/"));
    assert!(served.starts_with("HTTP/1.1 200 OK\r\n"), "{served}");
    assert!(served.contains("connection: close\r\n"), "{served}");
    let probe = answer(get(&server, "/readyz"));
    assert!(probe.starts_with("HTTP/1.1 503 "), "{probe}");
    let exited = server.exit().with(0);
    assert!(exited.said("lame duck: ") < exited.said("draining: "));
    assert!(exited.said("draining: ") < exited.said("drained: "));
}

#[test]
fn an_interrupt_has_no_lame_duck() {
    let server = server(&[("LAME_DUCK", ENDLESS)]);
    server.signal(SIGINT);
    let exited = server.exit().with(0);
    assert!(!exited.log.iter().any(|line| line.contains("lame duck")));
}

#[test]
fn a_second_signal_ends_the_lame_duck_and_the_drain() {
    let lame_duck = server(&[("LAME_DUCK", ENDLESS)]);
    let mut draining = server(&[("TIMEOUT", ENDLESS)]);
    let _stream = running(&mut draining, "/never");
    for (mut server, begins) in [(lame_duck, "lame duck: "), (draining, "draining: ")] {
        server.signal(SIGTERM);
        server.logged(begins);
        server.signal(SIGTERM);
        server.exit().with(1).said("forced to stop");
    }
}
